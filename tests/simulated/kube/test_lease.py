import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.simulated.apiserver import faults
from tests.simulated.apiserver.faults import Fault
from tests.simulated.kube.clusters import Pair, pair

from pgbouncer_operator import naming
from pgbouncer_operator.engine.leader import Elector, Lease, LeaseConflict, LeaseLost, LeaseTiming
from pgbouncer_operator.kube.lease import KubeLeaseStore
from pgbouncer_operator.kube.resources import LEASES

QUICK = LeaseTiming(duration=1.0, renew_deadline=0.6, retry=0.1, request=0.3)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Pair]:
    async with pair(tmp_path) as pair_:
        yield pair_


def store(world: Pair) -> KubeLeaseStore:
    return KubeLeaseStore(world.kube, "default", naming.LEASE_NAME, lambda: datetime(2026, 11, 21, 2, 0, tzinfo=UTC))


def elector(world: Pair, identity: str) -> Elector:
    return Elector(store(world), identity, random=lambda: 0.5, timing=QUICK)


def holder(world: Pair) -> str:
    found = world.api.find(LEASES, "default")
    return str(found[0]["spec"]["holderIdentity"]) if found else ""


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        await asyncio.sleep(0.01)


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_lease_reads_as_kubectl_and_other_electors_expect(world: Pair) -> None:
    leases = store(world)
    assert await leases.get() is None
    created = await leases.create(Lease("a", 15))
    assert created == await leases.get()
    assert world.api.get(LEASES, "default", naming.LEASE_NAME)["spec"] == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-11-21T02:00:00.000000Z",
        "renewTime": "2026-11-21T02:00:00.000000Z",
        "leaseTransitions": 0,
    }


async def test_who_writes_second_has_lost(world: Pair) -> None:
    ours, theirs = store(world), store(world)
    lease = await ours.create(Lease("a", 15))
    with pytest.raises(LeaseConflict):
        await theirs.create(Lease("b", 15))
    world.api.edit(LEASES, ("default", naming.LEASE_NAME), lambda body: body["spec"].update(holderIdentity="b"))
    with pytest.raises(LeaseConflict):
        await ours.update(lease)
    assert holder(world) == "b"


async def test_a_stopping_leader_hands_over_through_the_api(world: Pair) -> None:
    first = asyncio.create_task(elector(world, "a").run(forever))
    await until(lambda: holder(world) == "a")
    second = asyncio.create_task(elector(world, "b").run(forever))
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    await until(lambda: holder(world) == "b")
    second.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await second
    assert holder(world) == ""


async def test_a_leader_outlives_a_lost_answer_and_a_lost_renewal(world: Pair) -> None:
    leading = asyncio.create_task(elector(world, "a").run(forever))
    await until(lambda: holder(world) == "a")
    lost = world.api.faults.add(Fault(faults.DropAfter(), verb="update", plural="leases"))
    await until(lambda: lost.times == 0)
    refused = world.api.faults.add(Fault(faults.Answer(500), verb="update", plural="leases"))
    await until(lambda: refused.times == 0)
    renewals = len(world.api.writes)
    await until(lambda: len(world.api.writes) > renewals + 2)
    assert not leading.done()
    leading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await leading


async def test_a_silent_leader_is_replaced(world: Pair) -> None:
    await store(world).create(Lease("dead", 1.0))
    heir = asyncio.create_task(elector(world, "b").run(forever))
    await until(lambda: holder(world) == "b")
    heir.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await heir


async def test_a_leader_ends_when_the_clusters_data_was_restored_from_a_backup(world: Pair) -> None:
    """It has caches that would take no change until the versions have caught up; a new process has none."""
    leases = KubeLeaseStore(world.kube, "default", naming.LEASE_NAME, lambda: datetime.now(UTC))
    leader = Elector(leases, "a", random=lambda: 0.5, timing=LeaseTiming(retry=0.1))
    leading = asyncio.create_task(leader.run(forever))
    await until(leader.leads)
    world.api.storage.version += 1000
    version = world.api.get(LEASES, "default", naming.LEASE_NAME)["metadata"]["resourceVersion"]
    await until(lambda: world.api.get(LEASES, "default", naming.LEASE_NAME)["metadata"]["resourceVersion"] != version)
    world.api.storage.version -= 900
    world.api.edit(LEASES, ("default", naming.LEASE_NAME), lambda body: body["metadata"].update(labels={"is": "old"}))
    with pytest.raises(LeaseLost, match="was restored"):
        await asyncio.wait_for(leading, 10)
    assert await store(world).get() is not None, "a new process reads it"
