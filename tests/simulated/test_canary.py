"""Changes of a running pool under the whole operator: one pod first, and no further when that goes wrong."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.simulated.operators import Cluster, cluster, pool

from pgbouncer_operator import naming
from pgbouncer_operator.kube.resources import CONFIG_MAPS, EVENTS, PODS


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, monkeypatch) as made:
        made.agents.broken.add("broken")
        made.agents.refused.add("refused")
        yield made


def host(world: Cluster, name: str) -> None:
    """The user has the pool point at another server."""
    world.respec(backend={"host": name})


def documents(world: Cluster) -> dict[str, str]:
    """The server that each document of the ConfigMap names."""
    data = world.api.get(CONFIG_MAPS, "default", naming.config_map("shop"))["data"]
    return {key: json.loads(text)["databases"][0]["host"] for key, text in data.items()}


def told(world: Cluster) -> list[str]:
    """What each living pod was told to run."""
    pods = [each for each in world.api.find(PODS) if "deletionTimestamp" not in each["metadata"]]
    return [each["metadata"]["annotations"][naming.ANNOTATION_CONFIG] for each in pods]


def configuration_writes(world: Cluster, since: int) -> int:
    name = naming.config_map("shop")
    return sum((write.plural, write.key[1]) == ("configmaps", name) for write in world.writes(since))


async def test_a_good_change_is_proven_and_takes_two_writes_and_one_poke_for_each_pod(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool(replicas=3))
        await world.until_ready("shop")
        await world.settled()
        before = len(world.api.writes)
        host(world, "moved")
        await world.until_ready("shop")
        await world.settled()
        assert documents(world) == {naming.INTENT_KEY: "moved"}
        assert configuration_writes(world, before) == 2
        assert sum(write.plural == "pods" for write in world.writes(before)) == 3


@pytest.mark.parametrize(("bad", "reason"), [("broken", "CanaryFailed"), ("refused", "ConfigurationRefused")])
async def test_a_change_for_the_worse_stops_at_one_pod_is_told_and_heals(world: Cluster, bad: str, reason: str) -> None:
    async with world.operator():
        world.api.create(pool(replicas=3))
        await world.until_ready("shop")
        await world.settled()
        good = told(world)
        host(world, bad)
        await world.until(
            lambda: world.condition("shop", "ConfigurationApplied").get("reason") == reason, "the failure is told"
        )
        await world.until(lambda: told(world) == good, "the one pod is told the former configuration")
        await world.until(
            lambda: {agent.digest for agent in world.agents.of("default", "shop")} == set(good), "it runs that"
        )
        await world.settled()
        assert documents(world)[naming.INTENT_KEY] == "postgres"
        assert bad in world.condition("shop", "ConfigurationApplied")["message"]
        assert world.condition("shop", "Stalled")["reason"] == reason
        assert world.condition("shop", "BackendReachable")["status"] == "True"
        assert reason in {event["reason"] for event in world.api.find(EVENTS)}
        host(world, "moved")
        await world.until_ready("shop")
        assert documents(world) == {naming.INTENT_KEY: "moved"}


async def test_a_server_that_is_down_for_everybody_keeps_no_change_out(world: Cluster) -> None:
    async with world.operator():
        world.agents.broken.add("postgres")
        world.api.create(pool(replicas=3))
        await world.until(
            lambda: world.condition("shop", "BackendReachable").get("status") == "False", "the outage is told"
        )
        host(world, "broken")
        await world.until(lambda: documents(world) == {naming.INTENT_KEY: "broken"}, "the change has arrived")
        host(world, "moved")
        await world.until_ready("shop")


async def test_an_operator_that_is_killed_in_the_middle_is_followed_by_one_that_goes_on(world: Cluster) -> None:
    async with world.operator(identity="first") as first:
        world.api.create(pool(replicas=3))
        await world.until_ready("shop")
        await world.settled()
        host(world, "moved")
        await world.until(lambda: naming.CANDIDATE_KEY in documents(world), "the candidate is written")
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    async with world.operator(identity="second"):
        await world.until_ready("shop")
        await world.settled()
        assert documents(world) == {naming.INTENT_KEY: "moved"}


async def test_pods_that_come_and_go_during_a_change_end_up_with_it(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool(replicas=3))
        await world.until_ready("shop")
        world.respec(backend={"host": "moved"}, replicas=4, serverConnections={"max": 60})
        await world.until(lambda: naming.CANDIDATE_KEY in documents(world), "the candidate is written")
        world.api.delete(PODS, world.agents.of("default", "shop")[0].key)
        await world.until_ready("shop")
        await world.settled()
        agents = world.agents.of("default", "shop")
        assert len(agents) == 4
        assert documents(world) == {naming.INTENT_KEY: "moved"}
        assert {agent.digest for agent in agents} == set(told(world))
