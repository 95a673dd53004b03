import asyncio

import pytest
from tests.unit.engine.virtual_time import now, run

from pgbouncer_operator.engine.workqueue import Lane, QueueShutDown, WorkQueue


async def drained(queue: WorkQueue[str]) -> list[str]:
    keys = []
    while len(queue):
        key = await queue.get()
        keys.append(key)
        queue.done(key)
    return keys


async def nothing_comes(queue: WorkQueue[str]) -> bool:
    """Whether the queue hands out no key for an hour."""
    try:
        async with asyncio.timeout(3600):
            await queue.get()
    except TimeoutError:
        return True
    return False


def test_a_key_added_many_times_is_worked_on_once() -> None:
    async def scenario() -> list[str]:
        queue = WorkQueue[str]()
        for key in ("a", "b", "a", "a"):
            queue.add(key)
        return await drained(queue)

    assert run(scenario()) == ["a", "b"]


def test_a_key_is_never_handed_out_twice_at_once_and_a_change_meanwhile_is_not_lost() -> None:
    async def scenario() -> None:
        queue = WorkQueue[str]()
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        queue.add("a")
        assert len(queue) == 0
        queue.done("a")
        assert await drained(queue) == ["a"]
        assert await nothing_comes(queue)

    run(scenario())


def test_the_earliest_of_several_delays_counts() -> None:
    async def scenario() -> None:
        queue = WorkQueue[str]()
        queue.add_after("a", 30)
        queue.add_after("a", 5)
        queue.add_after("a", 60)
        assert await queue.get() == "a"
        assert now() == 5
        queue.done("a")
        assert await nothing_comes(queue)

    run(scenario())


def test_a_key_added_now_does_not_wait_for_its_delay() -> None:
    async def scenario() -> None:
        queue = WorkQueue[str]()
        queue.add_after("a", 30)
        queue.add("a")
        assert await queue.get() == "a"
        assert now() == 0

    run(scenario())


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_delay_of_nothing_is_now(seconds: float) -> None:
    async def scenario() -> None:
        queue = WorkQueue[str]()
        queue.add_after("a", seconds)
        assert len(queue) == 1

    run(scenario())


def test_user_changes_go_before_the_resync() -> None:
    async def scenario() -> list[str]:
        queue = WorkQueue[str]()
        queue.add("resync", Lane.RESYNC)
        queue.add("user", Lane.USER)
        return await drained(queue)

    assert run(scenario()) == ["user", "resync"]


def test_a_user_change_moves_a_waiting_resync_up_and_does_not_double_it() -> None:
    async def scenario() -> list[str]:
        queue = WorkQueue[str]()
        queue.add("other", Lane.USER)
        queue.add("x", Lane.RESYNC)
        queue.add("y", Lane.RESYNC)
        queue.add("y", Lane.USER)
        return await drained(queue)

    assert run(scenario()) == ["other", "y", "x"]


def test_a_storm_of_user_changes_does_not_starve_the_resync() -> None:
    async def scenario() -> int:
        queue = WorkQueue[str](aging=5.0)
        queue.add("resync", Lane.RESYNC)
        for turn in range(100):
            queue.add(f"user-{turn}")
            queue.add(f"more-{turn}")
            key = await queue.get()
            queue.done(key)
            if key == "resync":
                return turn
            await asyncio.sleep(1)
        raise AssertionError("starved")

    assert run(scenario()) == 5


def test_a_key_that_failed_in_the_resync_lane_stays_in_its_lane_while_worked_on() -> None:
    async def scenario() -> list[str]:
        queue = WorkQueue[str]()
        queue.add("a", Lane.RESYNC)
        await queue.get()
        queue.add("a", Lane.RESYNC)
        queue.add("b", Lane.USER)
        queue.done("a")
        return await drained(queue)

    assert run(scenario()) == ["b", "a"]


def test_every_waiting_worker_gets_one_of_the_keys() -> None:
    async def scenario() -> set[str]:
        queue = WorkQueue[str]()
        workers = [asyncio.create_task(queue.get()) for _ in range(3)]
        await asyncio.sleep(1)
        for key in ("a", "b", "c"):
            queue.add(key)
        return set(await asyncio.gather(*workers))

    assert run(scenario()) == {"a", "b", "c"}


def test_a_cancelled_worker_takes_no_key_with_it() -> None:
    async def scenario() -> str:
        queue = WorkQueue[str]()
        first = asyncio.create_task(queue.get())
        second = asyncio.create_task(queue.get())
        await asyncio.sleep(1)
        queue.add("a")  # wakes the first …
        first.cancel()  # … which is cancelled before it runs
        return await second

    assert run(scenario()) == "a"


def test_after_shutdown_the_rest_is_handed_out_and_waiters_are_told() -> None:
    async def scenario() -> None:
        queue = WorkQueue[str]()
        idle = asyncio.create_task(WorkQueue[str].get(queue))
        await asyncio.sleep(1)
        queue.add("a")
        assert await idle == "a"
        queue.add("b")
        queue.add_after("c", 10)
        waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
        await asyncio.sleep(0)
        queue.shut_down()
        queue.add("d")
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert results[0] == "b"
        assert [type(result) for result in results[1:]] == [QueueShutDown, QueueShutDown]
        await asyncio.sleep(11)
        with pytest.raises(QueueShutDown):
            await queue.get()

    run(scenario())
