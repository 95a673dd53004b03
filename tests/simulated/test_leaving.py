"""All pods of a pool leave at once, and their clients stay until the drain closes them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.simulated.agents import Agent
from tests.simulated.operators import Cluster, cluster, highest, pool

from pgbouncer_operator import naming
from pgbouncer_operator.kube.resources import CONFIG_MAPS, DEPLOYMENTS, PODS

MOST = 10


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, monkeypatch) as made:
        yield made


def everybody(world: Cluster) -> list[Agent]:
    """The agents of all pods that exist, those that drain included."""
    return [each for each in world.agents.by_uid.values() if world.api.storage.exists(PODS.plural, each.key)]


def held(world: Cluster) -> int:
    """What all pods may hold by their own reports."""
    return sum(each.cap for each in everybody(world))


def fill(agents: list[Agent]) -> None:
    """Clients that never leave use every server connection."""
    for agent in agents:
        agent.busy = agent.clients = agent.cap


async def serving(world: Cluster, replicas: int) -> list[Agent]:
    """A pool whose pods hold all of MOST, with clients that never leave, on nodes where pods drain for long."""
    world.api.create(pool(serverConnections={"max": MOST}, replicas=replicas))
    await world.until_ready("shop")
    await world.until(lambda: held(world) == MOST, "all is given")
    world.agents.node.gone_at_once = False
    leaving = everybody(world)
    fill(leaving)
    return leaving


async def successors_serve(world: Cluster, leaving: list[Agent], replicas: int) -> None:
    """Wait until as many new pods hold a grant, while every old one drains on."""
    old = {each.uid for each in leaving}

    def serve() -> bool:
        return sum(each.cap > 0 for each in everybody(world) if each.uid not in old) == replicas

    await world.until(serve, "successors hold grants")
    assert old <= {each.uid for each in everybody(world)}, "no old pod has gone: nothing came from its end"
    await world.until_ready("shop")


@pytest.mark.parametrize("replicas", [1, 2, 3])
async def test_successors_serve_while_all_pods_of_the_pool_drain(world: Cluster, replicas: int) -> None:
    async with world.operator():
        leaving = await serving(world, replicas)
        async with highest(lambda: held(world)) as most:
            for each in leaving:
                world.api.delete(PODS, each.key)
            await successors_serve(world, leaving, replicas)
        assert most == [MOST]


@pytest.mark.parametrize("replicas", [1, 3])
async def test_a_deleted_deployment_is_made_again_while_its_pods_drain(world: Cluster, replicas: int) -> None:
    async with world.operator():
        leaving = await serving(world, replicas)
        async with highest(lambda: held(world)) as most:
            world.api.delete(DEPLOYMENTS, ("default", naming.deployment("shop")))
            for each in leaving:
                if world.api.storage.exists(PODS.plural, each.key):
                    world.api.delete(PODS, each.key)
            await world.until(lambda: world.exists(DEPLOYMENTS, naming.deployment("shop")), "the Deployment is back")
            await successors_serve(world, leaving, replicas)
        assert most == [MOST]


async def test_a_pod_that_leaves_before_it_has_read_its_last_grant_hands_over_all_the_same(world: Cluster) -> None:
    async with world.operator():
        leaving = await serving(world, 2)
        first, last = leaving
        last.silent = True  # the kubelet brings it nothing any more, and its figures are not there yet
        world.api.delete(PODS, first.key)

        def lowered() -> bool:
            text = world.api.get(CONFIG_MAPS, "default", naming.grants_config_map("shop"))["data"][naming.GRANTS_KEY]
            return bool(json.loads(text)["pods"][last.uid]["seq"] > last.seq)

        await world.until(lowered, "the ledger has a lower grant for the pod that stays")
        world.api.delete(PODS, last.key)
        last.silent = False
        await successors_serve(world, leaving, 2)
        await world.until(lambda: held(world) == MOST, "successors have all that both have handed over")
        assert sum(each.cap for each in leaving) == 4
