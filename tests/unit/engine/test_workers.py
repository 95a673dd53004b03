import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest
from tests.unit.engine.virtual_time import now, run

from pgbouncer_operator.engine.ratelimit import Backoff
from pgbouncer_operator.engine.workers import WorkerOptions, Workers
from pgbouncer_operator.engine.workqueue import WorkQueue


class Throttled(Exception):
    pass


async def worked(
    reconcile: Callable[[str], Awaitable[float | None]], keys: str, options: WorkerOptions, seconds: float
) -> WorkQueue[str]:
    queue = WorkQueue[str]()
    workers = Workers(queue, reconcile, Backoff[str](random=lambda: 1.0), options)
    for key in keys:
        queue.add(key)
    running = asyncio.create_task(workers.run())
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return queue


def test_different_keys_run_together_and_one_key_never_twice_at_once() -> None:
    active: list[str] = []
    most = 0

    async def scenario() -> None:
        queue = WorkQueue[str]()

        async def reconcile(key: str) -> None:
            nonlocal most
            assert key not in active
            active.append(key)
            most = max(most, len(active))
            queue.add(key)  # a change while it is worked on
            await asyncio.sleep(1)
            active.remove(key)

        workers = Workers(queue, reconcile, Backoff[str](random=lambda: 1.0), WorkerOptions(count=3))
        for key in "ab":
            queue.add(key)
        running = asyncio.create_task(workers.run())
        await asyncio.sleep(5.5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run(scenario())
    assert most == 2


def test_a_key_comes_back_when_its_reconcile_asked_for_it() -> None:
    times: list[float] = []

    async def reconcile(_: str) -> float | None:
        times.append(now())
        return 10.0 if len(times) < 3 else None

    run(worked(reconcile, "a", WorkerOptions(), seconds=100))
    assert times == [0, 10, 20]


def test_a_failing_key_backs_off_and_a_success_resets_it() -> None:
    times: list[float] = []

    async def reconcile(_: str) -> float | None:
        times.append(now())
        if len(times) in (1, 2, 3, 5):
            raise ValueError("not yet")
        return 1.0 if len(times) == 4 else None

    run(worked(reconcile, "a", WorkerOptions(), seconds=100))
    assert times == [0, 0.25, 0.75, 1.75, 2.75, 3.0]


def test_a_server_that_asks_for_a_pause_gets_it_from_everybody() -> None:
    times: dict[str, list[float]] = {"a": [], "b": []}

    async def reconcile(key: str) -> None:
        times[key].append(now())
        if key == "a" and len(times["a"]) == 1:
            raise Throttled

    options = WorkerOptions(count=1, pause_for=lambda error: 7.0 if isinstance(error, Throttled) else None)
    run(worked(reconcile, "ab", options, seconds=100))
    assert times == {"a": [0, 7], "b": [7]}


def test_a_reconcile_that_hangs_is_ended_and_tried_again() -> None:
    starts: list[float] = []

    async def reconcile(_: str) -> None:
        starts.append(now())
        if len(starts) == 1:
            await asyncio.Event().wait()

    run(worked(reconcile, "a", WorkerOptions(timeout=30), seconds=100))
    assert starts == [0, 30.25]


def test_every_reconcile_is_reported_with_its_duration_and_error() -> None:
    seen: list[tuple[object, float, str]] = []

    async def reconcile(key: str) -> None:
        await asyncio.sleep(2)
        if key == "b":
            raise ValueError(key)

    options = WorkerOptions(count=1, finished=lambda key, seconds, error: seen.append((key, seconds, repr(error))))
    run(worked(reconcile, "ab", options, seconds=4.1))
    assert seen == [("a", 2, "None"), ("b", 2, "ValueError('b')")]


def test_an_expected_error_is_logged_without_a_trace_and_another_with_one(caplog: pytest.LogCaptureFixture) -> None:
    async def reconcile(key: str) -> None:
        raise Throttled if key == "a" else ValueError("surprise")

    run(worked(reconcile, "ab", WorkerOptions(expected=(Throttled,)), seconds=0.1))
    traces = {record.levelno: record.exc_info is not None for record in caplog.records}
    assert traces == {logging.WARNING: False, logging.ERROR: True}


def test_workers_end_when_the_queue_is_shut_down_and_worked_off() -> None:
    done: list[str] = []

    async def reconcile(key: str) -> None:
        await asyncio.sleep(1)
        done.append(key)

    async def scenario() -> None:
        queue = WorkQueue[str]()
        for key in "abc":
            queue.add(key)
        queue.shut_down()
        await Workers(queue, reconcile, Backoff[str](random=lambda: 1.0), WorkerOptions(count=2)).run()

    run(scenario())
    assert sorted(done) == ["a", "b", "c"]


def test_the_longest_running_reconcile_is_known() -> None:
    async def scenario() -> tuple[float, float]:
        queue = WorkQueue[str]()

        async def reconcile(_: str) -> None:
            await asyncio.sleep(10)

        workers = Workers(queue, reconcile, Backoff[str](random=lambda: 1.0), WorkerOptions())
        idle = workers.busiest()
        queue.add("a")
        running = asyncio.create_task(workers.run())
        await asyncio.sleep(4)
        queue.add("b")
        await asyncio.sleep(4)
        busiest = workers.busiest()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return idle, busiest

    assert run(scenario()) == (0, 8)
