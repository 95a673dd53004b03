"""A pod that loses the pool's label gives back what it can, and its successor serves with that."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.simulated.agents import Agent
from tests.simulated.operators import Cluster, cluster, highest, pool
from tests.simulated.test_lost_pods import SHORT, entry, held, unlabel

from pgbouncer_operator import naming
from pgbouncer_operator.kube.resources import PODS
from pgbouncer_operator.reconcile.intervals import Intervals


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, monkeypatch) as made:
        made.intervals = Intervals(sessions=SHORT)
        yield made


async def serves(world: Cluster, most: int, replicas: int = 1) -> None:
    world.api.create(pool(serverConnections={"max": most}, replicas=replicas))
    await world.until_ready("shop")
    await world.until(lambda: held(world) == most, "all is given")


async def until_told_to_shrink(world: Cluster, orphan: Agent) -> None:
    def shrunk() -> bool:
        return (entry(world, orphan.uid) or {}).get("cap") == 1 and orphan.cap == 1

    await world.until(shrunk, "it is at the floor")


def labelled(world: Cluster, pod: Agent, name: str | None) -> None:
    """Give the pod this label; none for None."""

    def edit(body: dict[str, dict[str, dict[str, str]]]) -> None:
        body["metadata"]["labels"].pop(naming.LABEL_POOL, None)
        body["metadata"]["labels"] |= {naming.LABEL_POOL: name} if name else {}

    world.api.edit(PODS, pod.key, edit)


async def test_the_only_pod_that_loses_its_label_gives_back_and_its_successor_serves(world: Cluster) -> None:
    most = 2
    async with world.operator():
        await serves(world, most)
        orphan = unlabel(world)
        async with highest(lambda: held(world) + orphan.cap) as seen:
            await world.until(lambda: held(world) == most - 1 and world.ready("shop"), "its successor has the rest")
    async with world.operator(identity="second"):
        await world.until(lambda: world.leader() == "second", "the second one leads")
        async with highest(lambda: held(world) + orphan.cap) as later:
            await world.settled(1.0)
            assert (orphan.cap, held(world), world.ready("shop")) == (1, most - 1, True)
            labelled(world, orphan, "shop")
            await world.until(lambda: "gone" not in (entry(world, orphan.uid) or {"gone": 1}), "it is the pool's again")
            labelled(world, orphan, None)
            await until_told_to_shrink(world, orphan)
        world.api.delete(PODS, orphan.key, gracePeriodSeconds=0)
        await world.until(lambda: entry(world, orphan.uid) is None and held(world) == most, "the other has all")
    assert max(seen + later) <= most


async def test_a_pod_without_its_label_gives_back_no_connection_of_a_transaction_and_nobody_else_gets_it(
    world: Cluster,
) -> None:
    async with world.operator():
        await serves(world, 2)
        orphan = unlabel(world)
        orphan.busy = 2
        await until_told_to_shrink(world, orphan)
        await world.settled(1.0)
        assert held(world) == 0
        orphan.busy = 1
        await world.until(lambda: held(world) == 1 and world.ready("shop"), "its successor has the rest")


async def test_another_pod_at_the_address_of_a_pod_without_its_label_gives_nothing_back(world: Cluster) -> None:
    async with world.operator():
        await serves(world, 2)
        orphan = world.agents.of("default", "shop")[0]
        address = world.api.get(PODS, *orphan.key)["status"]["podIP"]
        world.agents._by_ip[address] = replace(orphan, uid="stranger", seq=10**6, cap=1)
        unlabel(world)
        await until_told_to_shrink(world, orphan)
        await world.settled(1.0)
        assert held(world) == 0
        world.agents._by_ip[address] = orphan
        await world.until(lambda: held(world) == 1 and world.ready("shop"), "its successor has the rest")


async def test_a_pod_without_its_label_keeps_the_floor_and_its_successor_waits_until_it_is_gone(world: Cluster) -> None:
    async with world.operator():
        await serves(world, 1)
        orphan = unlabel(world)
        await world.until(lambda: (entry(world, orphan.uid) or {}).get("gone"), "it is missed")
        await world.settled(1.0)
        assert (orphan.cap, held(world)) == (1, 0)
        world.api.delete(PODS, orphan.key, gracePeriodSeconds=0)
        await world.until(lambda: held(world) == 1 and world.ready("shop"), "its successor serves")
