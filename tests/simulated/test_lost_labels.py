"""Objects of a pool that lose the label by which the operator watches them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.simulated.operators import Cluster, cluster, pool

from pgbouncer_operator import naming
from pgbouncer_operator.kube.resources import CONFIG_MAPS, CONNECTION_POOLS, DEPLOYMENTS, SERVICES

MOST = 20


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, monkeypatch) as made:
        yield made


def held(world: Cluster) -> int:
    """The server connections that the pool's pods may hold."""
    return sum(agent.cap for agent in world.agents.of("default", "shop"))


async def test_objects_of_a_pool_that_lose_their_label_have_it_back_and_changes_arrive(world: Cluster) -> None:
    kinds = (CONFIG_MAPS, SERVICES, DEPLOYMENTS)
    async with world.operator():
        world.api.create(pool(serverConnections={"max": MOST}))
        await world.until_ready("shop")
        found = [(kind, each["metadata"]["name"]) for kind in kinds for each in world.api.find(kind)]
        ours = [(kind, name) for kind, name in found if name.startswith("shop")]
        assert len(ours) == 4
        for kind, name in ours:
            world.api.edit(
                kind, ("default", name), lambda body: body["metadata"]["labels"].pop(naming.LABEL_POOL, None)
            )
        world.api.edit(
            CONNECTION_POOLS, ("default", "shop"), lambda body: body["spec"]["serverConnections"].update(max=MOST + 10)
        )
        await world.until(lambda: held(world) == MOST + 10, "the change arrives")

        def labelled() -> bool:
            labels = [world.api.get(kind, "default", name)["metadata"]["labels"] for kind, name in ours]
            return {each.get(naming.LABEL_POOL) for each in labels} == {"shop"}

        await world.until(labelled, "each has its label")
