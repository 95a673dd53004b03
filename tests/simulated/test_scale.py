"""The scale subresource, as an autoscaler uses it: what it reads, what it writes, and that nobody fights it."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.simulated.apiserver.kinds import Kind
from tests.simulated.apiserver.records import Change
from tests.simulated.operators import Cluster, cluster, highest, pool

from pgbouncer_operator import naming
from pgbouncer_operator.api import crd
from pgbouncer_operator.kube.resources import CONFIG_MAPS, DEPLOYMENTS, PODS
from pgbouncer_operator.protocol.grants import Grant
from pgbouncer_operator.sizing import ledger

SCALE = crd.render()["spec"]["versions"][0]["subresources"]["scale"]


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, monkeypatch) as made:
        yield made


def at(world: Cluster, path: str) -> object:
    """What a path of the subresource points at."""
    value: object = world.pool("shop")
    for part in SCALE[path].removeprefix(".").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def scale(world: Cluster, replicas: int) -> None:
    """As the subresource does: it writes what specReplicasPath points at, and nothing else."""
    assert SCALE["specReplicasPath"] == ".spec.replicas"
    world.respec(replicas=replicas)


async def test_an_autoscaler_finds_exactly_the_pools_pods_and_their_number(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool())
        world.api.create(pool("other"))
        await world.until_ready("shop", "other")
        await world.until(lambda: at(world, "statusReplicasPath") == 2, "the number is told")
        label, _, value = str(at(world, "labelSelectorPath")).partition("=")
        chosen = {pod["metadata"]["name"] for pod in world.api.find(PODS) if pod["metadata"]["labels"][label] == value}
        assert chosen == {pod["metadata"]["name"] for pod in world.agents.node.pods("default", "shop-pgbouncer")}


async def test_the_selector_is_there_before_the_first_pod_and_at_zero(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool(replicas=0))
        await world.until_ready("shop")
        assert at(world, "labelSelectorPath") == f"{naming.LABEL_POOL}=shop"
        assert at(world, "statusReplicasPath") == 0


async def test_what_does_not_fit_is_clamped_and_told_and_what_was_asked_for_stands(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool(serverConnections={"max": 4}))
        await world.until_ready("shop")
        scale(world, 9)
        await world.until(lambda: len(world.agents.of("default", "shop")) == 4, "four pods")
        await world.until(
            lambda: world.condition("shop", "WithinBudget").get("reason") == "ReplicasClamped", "it is told"
        )
        assert world.condition("shop", "WithinBudget")["message"].startswith("9 wanted, 4 fit: ")
        await world.settled()
        assert world.pool("shop")["spec"]["replicas"] == 9
        assert at(world, "statusReplicasPath") == 4
        scale(world, 2)
        await world.until(lambda: len(world.agents.of("default", "shop")) == 2, "two pods")
        await world.until_ready("shop")


async def test_the_operator_writes_status_of_pools_and_nothing_else_of_them(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        for replicas in (4, 1, 30, 2):
            scale(world, replicas)
            wanted = min(replicas, 25)
            await world.until(
                lambda pods=wanted: len(world.agents.of("default", "shop")) == pods,
                f"{wanted} pods",
            )
        await world.until_ready("shop")
        await world.settled()
    assert {each.subresource for each in world.writes() if each.plural == "connectionpools"} == {"status"}


async def test_limits_shrink_before_pods_are_added(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        promised: list[int] = []

        def hear(kind: Kind, change: Change) -> None:
            """When pods are added: what those with a grant may hold, and what the others may take unasked."""
            if kind.resource is DEPLOYMENTS and change.body["spec"]["replicas"] > 2:
                ledger = world.api.storage.peek(CONFIG_MAPS, "default", naming.grants_config_map("shop"))["data"]
                document = json.loads(ledger[naming.GRANTS_KEY])
                caps = [entry["cap"] for entry in document["pods"].values() if entry["cap"]]
                promised.append(sum(caps) + (change.body["spec"]["replicas"] - len(caps)) * max(1, document["static"]))

        world.api.storage.listeners.insert(0, hear)
        scale(world, 5)
        await world.until(lambda: len(world.agents.of("default", "shop")) == 5, "five pods")
        await world.until_ready("shop")
    assert promised
    assert max(promised) <= 25


def held(world: Cluster) -> int:
    """What all pods may open at this moment."""
    return sum(agent.cap for agent in world.agents.of("default", "shop"))


async def test_pods_that_obey_late_never_hold_more_than_the_pool_may(world: Cluster) -> None:
    world.agents.lag = 0.5  # longer than the operator waits before it asks

    def granted() -> list[bool]:
        return [agent.cap > 0 for agent in world.agents.of("default", "shop")]

    async with world.operator():
        world.api.create(pool())
        await world.until(lambda: held(world) == 25, "all is given")
        async with highest(lambda: held(world)) as peak:
            for replicas in (3, 2):
                scale(world, replicas)
                await world.until(lambda pods=replicas: granted() == [True] * pods, f"{replicas} pods hold a grant")
            await world.until(lambda: held(world) == 25, "all is given again")
    assert peak == [25]


async def test_an_operator_that_takes_a_shrink_for_confirmed_too_early_would_be_seen(
    world: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_early(grant: Grant, _: ledger.PodUse) -> Grant:
        return replace(grant, high=grant.cap)

    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        monkeypatch.setattr(ledger, "_confirmed", too_early)
        world.agents.lag = 3600.0  # nobody obeys in the time of the test
        scale(world, 3)
        await world.until(lambda: held(world) > 25, "a pod grows before the others have obeyed")
