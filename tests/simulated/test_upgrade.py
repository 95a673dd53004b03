"""What a newer operator does with the pods of an older one, and what it leaves to the user."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.simulated.operators import Cluster, cluster, pool

from pgbouncer_operator import naming
from pgbouncer_operator.kube.resources import CONNECTION_POOLS, DEPLOYMENTS, PODS
from pgbouncer_operator.reconcile.rollout.template import AT_ONCE
from pgbouncer_operator.resources import deployment
from pgbouncer_operator.resources.template_version import VERSION

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


async def test_a_newer_operator_says_what_it_has_and_the_next_roll_brings_it(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
    before = pods(world)
    async with world.operator(identity="second", pool_image="pool:2"):
        await world.until(
            lambda: world.condition("shop", "UpdateAvailable").get("status") == "True", "the update is told"
        )
        await world.settled()
        assert "image pool:2 instead of pool:1" in world.condition("shop", "UpdateAvailable")["message"]
        assert world.ready("shop")
        assert (pods(world), image(world)) == (before, "pool:1")
        world.respec(pod={"priorityClassName": "high"})
        await world.until(lambda: image(world) == "pool:2", "the roll brings the image")
        await world.until(
            lambda: world.condition("shop", "UpdateAvailable")["status"] == "False", "nothing is left to bring"
        )
        await world.until_ready("shop")
        assert not before & pods(world)


async def test_a_newer_operator_rolls_the_pods_where_the_user_lets_it(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool(upgradePolicy="Automatic"))
        await world.until_ready("shop")
        await world.settled()
    before = pods(world)
    async with world.operator(identity="second", pool_image="pool:2"):
        await world.until(lambda: image(world) == "pool:2", "the roll begins")
        await world.until(lambda: not before & pods(world), "every pod is a new one")
        await world.until(
            lambda: world.pool("shop")["status"].get("lastChange", {}).get("what") == "image", "the roll is told"
        )
        await world.until_ready("shop")
        await world.settled()
        assert world.pool("shop")["status"]["lastChange"]["how"] == "Roll"
        assert world.condition("shop", "UpdateAvailable")["status"] == "False"


def ask(body: Any) -> None:
    """As the user does who wants pods with every fix."""
    body["metadata"].setdefault("annotations", {})[naming.ANNOTATION_TEMPLATE_VERSION] = str(VERSION)


def replaced(world: Cluster, names: list[str]) -> list[str]:
    """The pools whose Deployment has the newest template."""
    found = [world.api.get(DEPLOYMENTS, "default", naming.deployment(name)) for name in names]
    annotations = [each["spec"]["template"]["metadata"]["annotations"] for each in found]
    versions = [each[naming.ANNOTATION_TEMPLATE_VERSION] for each in annotations]
    return [name for name, version in zip(names, versions, strict=True) if version == str(VERSION)]


async def test_pools_without_security_fixes_roll_when_their_user_says_so_and_a_few_at_a_time(
    world: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a", "b", "c", "d", "e"]
    with monkeypatch.context() as patch:
        patch.setattr(deployment, "VERSION", 0)
        async with world.operator():
            for name in names:
                world.api.create(pool(name, replicas=1))
            await world.until_ready(*names)
            await world.settled()
    async with world.operator(identity="second"):
        await world.until(
            lambda: all(world.condition(name, "UpdateAvailable").get("reason") == "SecurityUpdate" for name in names),
            "every pool says what its pods lack",
        )
        await world.settled()
        assert replaced(world, names) == []
        world.agents.node.ready_at_once = False
        for name in names:
            world.api.edit(CONNECTION_POOLS, ("default", name), ask)
        await world.until(lambda: len(replaced(world, names)) == AT_ONCE, "the first pools roll")
        await world.settled()
        assert replaced(world, names) == ["a", "b", "c"], "their new pods are not ready yet, so the others wait"
        world.agents.node.ready_at_once = True
        for each in world.api.find(PODS):
            world.agents.node.ready("default", each["metadata"]["name"])
        await world.until(lambda: replaced(world, names) == names, "the others follow")
        await world.until_ready(*names)
        assert all(world.pool(name)["status"]["podsWithoutFixes"] == 0 for name in names)


async def test_a_restart_that_a_user_asked_for_happens_and_is_not_taken_back(world: Cluster) -> None:
    def restart(body: Any) -> None:
        body["spec"]["template"]["metadata"]["annotations"][RESTARTED] = "2026-01-01T00:00:00Z"

    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
        before = pods(world)
        world.api.edit(DEPLOYMENTS, KEY, restart)
        await world.until(lambda: not before & pods(world), "every pod is a new one")
        await world.until_ready("shop")
        restarted = pods(world)
        world.respec(replicas=3)
        await world.until(lambda: len(pods(world)) == 3, "a third pod")
        await world.settled()
        assert restarted <= pods(world)
        world.respec(pod={"priorityClassName": "high"})
        await world.until(lambda: not restarted & pods(world), "rolled for another reason")
        assert RESTARTED in world.api.get(DEPLOYMENTS, *KEY)["spec"]["template"]["metadata"]["annotations"]
