import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from tests.unit.engine.virtual_time import now, run

from pgbouncer_operator.engine.leader import Elector, Lease, LeaseConflict, LeaseLost, LeaseTiming


class Leases:
    """A lease in memory with compare and swap; `broken` may raise, hang, or fail after the write."""

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.version = 0
        self.before: Callable[[], Awaitable[None]] | None = None
        self.after: Callable[[], Awaitable[None]] | None = None

    async def get(self) -> Lease | None:
        if self.before:
            await self.before()
        return self.lease

    async def create(self, lease: Lease) -> Lease:
        if self.before:
            await self.before()
        if self.lease is not None:
            raise LeaseConflict("exists")
        return await self._write(lease)

    async def update(self, lease: Lease) -> Lease:
        if self.before:
            await self.before()
        if self.lease is None or lease.version != self.lease.version:
            raise LeaseConflict("changed")
        return await self._write(lease)

    async def _write(self, lease: Lease) -> Lease:
        self.version += 1
        self.lease = replace(lease, version=str(self.version))
        if self.after:
            await self.after()
        return self.lease


async def refuse() -> None:
    raise OSError("no route to the API")


async def hang() -> None:
    await asyncio.Event().wait()


def elector(store: Leases, identity: str = "a") -> Elector:
    return Elector(store, identity, random=lambda: 1.0, timing=LeaseTiming())


class Reign:
    """What a leader did: when it began and when it had ended."""

    def __init__(self, goodbye: float = 0.0) -> None:
        self.goodbye = goodbye
        self.began: float | None = None
        self.ended: float | None = None

    async def __call__(self) -> None:
        self.began = now()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(self.goodbye)
            self.ended = now()


def test_the_first_candidate_leads_at_once_and_the_second_waits() -> None:
    async def scenario() -> None:
        store, first, second = Leases(), Reign(), Reign()
        one = asyncio.create_task(elector(store, "a").run(first))
        await asyncio.sleep(1)
        two = asyncio.create_task(elector(store, "b").run(second))
        await asyncio.sleep(3600)
        assert (first.began, second.began) == (0, None)
        assert store.lease is not None
        assert (store.lease.holder, store.lease.duration, store.lease.transitions) == ("a", 15, 0)
        for task in (one, two):
            task.cancel()
        await asyncio.gather(one, two, return_exceptions=True)

    run(scenario())


def test_a_leader_that_stops_hands_over_within_two_seconds_and_only_after_its_work_has_ended() -> None:
    async def scenario() -> None:
        store, first, second = Leases(), Reign(goodbye=20.0), Reign()
        one = asyncio.create_task(elector(store, "a").run(first))
        two = asyncio.create_task(elector(store, "b").run(second))
        await asyncio.sleep(60)
        one.cancel()
        await asyncio.sleep(30)
        assert first.ended == 80, "its twenty seconds of clearing up were covered by renewals"
        assert second.began is not None
        assert 80 <= second.began <= 82
        assert store.lease is not None
        assert (store.lease.holder, store.lease.transitions) == ("b", 1)
        two.cancel()
        await asyncio.gather(one, two, return_exceptions=True)

    run(scenario())


def test_a_leader_that_falls_silent_is_replaced_after_the_lease_has_run_out_by_the_watchers_clock() -> None:
    async def scenario() -> float:
        store = Leases()
        store.lease = Lease("dead", 15, 3, "7")
        heir = Reign()
        task = asyncio.create_task(elector(store, "b").run(heir))
        await asyncio.sleep(60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert heir.began is not None
        return heir.began

    assert 15 <= run(scenario()) <= 17


@pytest.mark.parametrize("fault", [refuse, hang])
def test_a_leader_cut_off_from_the_api_stops_before_anybody_else_may_start(
    fault: Callable[[], Awaitable[None]],
) -> None:
    async def scenario() -> None:
        ours, theirs = Leases(), Leases()
        reign, heir = Reign(), Reign()
        leading = asyncio.create_task(elector(ours, "a").run(reign))
        await asyncio.sleep(60)
        cut = now()
        ours.before = fault
        theirs.lease, theirs.version = ours.lease, ours.version
        other = asyncio.create_task(elector(theirs, "b").run(heir))
        with pytest.raises(LeaseLost):
            await leading
        await asyncio.sleep(60)
        assert reign.ended is not None
        assert heir.began is not None
        assert reign.ended <= cut + 10
        assert reign.ended < heir.began
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)

    run(scenario())


def test_a_short_outage_does_not_cost_the_lease() -> None:
    async def scenario() -> None:
        store, reign = Leases(), Reign()
        task = asyncio.create_task(elector(store).run(reign))
        await asyncio.sleep(60)
        store.before = refuse
        await asyncio.sleep(6)
        store.before = None
        await asyncio.sleep(60)
        assert reign.ended is None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(scenario())


def test_a_renewal_that_was_done_but_not_answered_is_recognised() -> None:
    async def scenario() -> None:
        store, reign = Leases(), Reign()
        task = asyncio.create_task(elector(store).run(reign))
        await asyncio.sleep(30)
        store.after = refuse
        await asyncio.sleep(3)
        store.after = None
        await asyncio.sleep(60)
        assert reign.ended is None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert store.lease is not None
        assert store.lease.holder == ""

    run(scenario())


def test_a_leader_whose_lease_was_taken_stops_at_its_next_renewal() -> None:
    async def scenario() -> None:
        store, reign = Leases(), Reign()
        task = asyncio.create_task(elector(store).run(reign))
        await asyncio.sleep(60)
        assert store.lease is not None
        store.lease = replace(store.lease, holder="usurper", version="99")
        with pytest.raises(LeaseLost, match="usurper"):
            await task
        assert now() <= 62.1
        assert store.lease.holder == "usurper"

    run(scenario())


def test_a_lease_that_only_a_third_party_touched_is_kept() -> None:
    async def scenario() -> None:
        store, reign = Leases(), Reign()
        task = asyncio.create_task(elector(store).run(reign))
        await asyncio.sleep(60)
        assert store.lease is not None
        store.version += 10
        store.lease = replace(store.lease, version=str(store.version))
        await asyncio.sleep(60)
        assert reign.ended is None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(scenario())


def test_two_candidates_that_start_together_get_one_leader() -> None:
    async def scenario() -> None:
        store, first, second = Leases(), Reign(), Reign()

        async def yielding() -> None:
            await asyncio.sleep(0)

        store.before = yielding
        tasks = [asyncio.create_task(elector(store, name).run(reign)) for name, reign in (("a", first), ("b", second))]
        await asyncio.sleep(60)
        assert sorted([first.began is None, second.began is None]) == [False, True]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(scenario())


def test_an_error_of_the_leaders_work_ends_the_reign_and_gives_the_lease_back() -> None:
    async def scenario() -> None:
        store = Leases()

        async def lead() -> None:
            await asyncio.sleep(5)
            raise RuntimeError("broken")

        with pytest.raises(RuntimeError, match="broken"):
            await elector(store).run(lead)
        assert store.lease is not None
        assert store.lease.holder == ""

    run(scenario())


def test_leadership_ends_by_the_clock_even_if_nobody_noticed() -> None:
    async def scenario() -> None:
        candidate = elector(Leases())
        assert not candidate.leads()
        await candidate.acquire()
        await asyncio.sleep(9.9)
        assert candidate.leads()
        await asyncio.sleep(0.1)
        assert not candidate.leads()

    run(scenario())
