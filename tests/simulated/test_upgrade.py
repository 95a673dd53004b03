"""What a newer operator does with the pods of an older one, and what it leaves to the user."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.simulated.operators import Cluster, cluster, pool

from pgbouncer_operator import naming
from pgbouncer_operator.kube.resources import CONNECTION_POOLS, DEPLOYMENTS

KEY = ("default", naming.deployment("shop"))
RESTARTED = "kubectl.kubernetes.io/restartedAt"


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, monkeypatch) as made:
        yield made


def image(world: Cluster) -> str:
    return str(world.api.get(DEPLOYMENTS, *KEY)["spec"]["template"]["spec"]["containers"][0]["image"])


def pods(world: Cluster) -> set[str]:
    return {agent.uid for agent in world.agents.of("default", "shop")}


def respecify(world: Cluster, **spec: Any) -> None:
    def edit(body: Any) -> None:
        body["spec"] |= spec
        body["metadata"]["generation"] += 1

    world.api.edit(CONNECTION_POOLS, ("default", "shop"), edit)


async def test_a_newer_operator_says_what_it_has_and_the_next_roll_brings_it(
    world: Cluster, unused_tcp_port_factory: Callable[[], int]
) -> None:
    async with world.operator(unused_tcp_port_factory()):
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
    before = pods(world)
    async with world.operator(unused_tcp_port_factory(), identity="second", pool_image="pool:2"):
        await world.until(
            lambda: world.condition("shop", "UpdateAvailable").get("status") == "True", "the update is told"
        )
        await world.settled()
        assert "image pool:2 instead of pool:1" in world.condition("shop", "UpdateAvailable")["message"]
        assert world.ready("shop")
        assert (pods(world), image(world)) == (before, "pool:1")
        respecify(world, pod={"priorityClassName": "high"})
        await world.until(lambda: image(world) == "pool:2", "the roll brings the image")
        await world.until(
            lambda: world.condition("shop", "UpdateAvailable")["status"] == "False", "nothing is left to bring"
        )
        await world.until_ready("shop")
        assert not before & pods(world)


async def test_a_newer_operator_rolls_the_pods_where_the_user_lets_it(
    world: Cluster, unused_tcp_port_factory: Callable[[], int]
) -> None:
    async with world.operator(unused_tcp_port_factory()):
        world.api.create(pool(upgradePolicy="Automatic"))
        await world.until_ready("shop")
        await world.settled()
    before = pods(world)
    async with world.operator(unused_tcp_port_factory(), identity="second", pool_image="pool:2"):
        await world.until(lambda: image(world) == "pool:2", "the roll begins")
        await world.until(lambda: not before & pods(world), "every pod is a new one")
        await world.until(
            lambda: world.pool("shop")["status"].get("lastChange", {}).get("what") == "image", "the roll is told"
        )
        await world.until_ready("shop")
        await world.settled()
        assert world.pool("shop")["status"]["lastChange"]["how"] == "Roll"
        assert world.condition("shop", "UpdateAvailable")["status"] == "False"


async def test_a_restart_that_a_user_asked_for_happens_and_is_not_taken_back(
    world: Cluster, unused_tcp_port: int
) -> None:
    def restart(body: Any) -> None:
        body["spec"]["template"]["metadata"]["annotations"][RESTARTED] = "2026-01-01T00:00:00Z"

    async with world.operator(unused_tcp_port):
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
        before = pods(world)
        world.api.edit(DEPLOYMENTS, KEY, restart)
        await world.until(lambda: not before & pods(world), "every pod is a new one")
        await world.until_ready("shop")
        restarted = pods(world)
        respecify(world, replicas=3)
        await world.until(lambda: len(pods(world)) == 3, "a third pod")
        await world.settled()
        assert restarted <= pods(world)
        respecify(world, pod={"priorityClassName": "high"})
        await world.until(lambda: not restarted & pods(world), "rolled for another reason")
        assert RESTARTED in world.api.get(DEPLOYMENTS, *KEY)["spec"]["template"]["metadata"]["annotations"]
