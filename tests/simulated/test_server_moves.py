"""Pools that go from one server to another: at the former one they never hold more than it knows of."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.simulated.apiserver.records import Object
from tests.simulated.operators import Cluster, highest
from tests.simulated.test_postgres_server import member, respec, server

from pgbouncer_operator import naming
from pgbouncer_operator.kube.resources import CONFIG_MAPS, CONNECTION_POOLS, POSTGRES_SERVERS
from pgbouncer_operator.reconcile.intervals import Intervals

AWAY: dict[str, Any] = {"serverRef": {"name": "other", "namespace": "platform"}}
BACK: dict[str, Any] = {"serverRef": {"name": "rds", "namespace": "platform"}}


@pytest.fixture
def world(world: Cluster) -> Cluster:
    world.api.create(server(10))
    return world


def another(host: str, budget: int) -> Object:
    body = server(budget, host=host)
    return {**body, "metadata": {**body["metadata"], "name": "other"}}


def charge(world: Cluster, name: str) -> int:
    """What the pool `shop` is charged with at that server."""
    told = world.api.storage.peek(POSTGRES_SERVERS, "platform", name).get("status") or {}
    found = [each for each in told.get("allocations") or () if each["pool"] == "default/shop"]
    return sum(max(each["connections"], each["high"]) for each in found)


def caps(world: Cluster, digests: set[str] | None = None) -> list[int]:
    """What pods may open that run one of these configurations, or any."""
    agents = world.agents.of("default", "shop")
    return [agent.cap for agent in agents if digests is None or agent.digest in digests]


@contextlib.asynccontextmanager
async def never_above_the_charge(world: Cluster, name: str) -> AsyncIterator[None]:
    """While this lasts, pods that run what they run now hold no more than that server charges for them."""
    digests = {agent.digest for agent in world.agents.of("default", "shop") if agent.digest}
    async with highest(lambda: sum(caps(world, digests)) - charge(world, name)) as worst:
        yield
    assert worst[0] <= 0


@pytest.mark.parametrize("away", [AWAY, {"host": "refused"}], ids=["another server", "a host of its own"])
async def test_a_pool_whose_move_fails_does_not_grow_where_it_stays(world: Cluster, away: dict[str, Any]) -> None:
    world.agents.refused |= {"refused", "refused.platform.svc"}
    world.api.create(another("refused", 40))
    world.api.create(member("shop", 40))
    async with world.operator():
        await world.until(lambda: sum(caps(world)) == 10, "all that the first has")
        await world.until_ready("shop")
        async with never_above_the_charge(world, "rds"):
            world.respec(backend=away)
            await world.until(
                lambda: world.condition("shop", "ConfigurationApplied").get("reason") == "ConfigurationRefused", "told"
            )
            await world.settled(1.0)
        assert sum(caps(world)) == 10


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_pool_that_has_moved_grows_where_it_is(world: Cluster, replicas: int) -> None:
    world.api.create(another("elsewhere", 40))
    world.api.create(member("shop", 40, replicas=replicas))
    async with world.operator():
        await world.until(lambda: sum(caps(world)) == 10, "all that the first has")
        await world.until_ready("shop")
        async with never_above_the_charge(world, "rds"):
            world.respec(backend=AWAY)
            await world.until(lambda: sum(caps(world)) == 40, "all that the other has")
        await world.until_ready("shop")
        await world.settled(1.0)
        assert (charge(world, "rds"), charge(world, "other")) == (10, 40)


async def test_a_pool_that_comes_back_is_charged_for_what_it_brings(world: Cluster) -> None:
    world.intervals = Intervals(admission=2.0)
    world.api.create(another("elsewhere", 40))
    world.api.create(member("shop", 40))
    async with world.operator():
        await world.until(lambda: sum(caps(world)) == 10, "all that the first has")
        world.respec(backend=AWAY)
        await world.until(lambda: sum(caps(world)) == 40, "all that the other has")
        await world.until_ready("shop")
        world.respec(backend=BACK)
        await world.settled(1.0)
        hosts = world.api.storage.peek(CONFIG_MAPS, "default", naming.config_map("shop"))["data"][naming.INTENT_KEY]
        assert '"host": "elsewhere' in hosts, "what it holds does not fit"
        assert charge(world, "rds") == 10
        await world.until(lambda: world.condition("shop", "Stalled").get("reason") == "BudgetExceeded", "it is told")
        conditions = world.api.storage.peek(POSTGRES_SERVERS, "platform", "rds")["status"]["conditions"]
        assert any("default/shop" in each["message"] for each in conditions)
        respec(world, POSTGRES_SERVERS, "platform", "rds", connections={"max": 45})
        await world.until_ready("shop")
        await world.until(lambda: 40 <= sum(caps(world)) <= charge(world, "rds"), "room for it")


async def test_a_pool_that_has_left_and_is_scaled_to_zero_is_not_charged_any_more(world: Cluster) -> None:
    world.api.create(another("elsewhere", 40))
    world.api.create(member("shop", 40))
    async with world.operator():
        await world.until(lambda: sum(caps(world)) == 10, "all that the first has")
        await world.until_ready("shop")
        respec(world, CONNECTION_POOLS, "default", "shop", replicas=0)
        await world.until(lambda: not caps(world), "no pods")
        await world.settled(1.0)
        assert charge(world, "rds") == 0
        assert world.api.storage.peek(POSTGRES_SERVERS, "platform", "rds")["status"]["pools"] == 1, "it may come back"
        respec(world, CONNECTION_POOLS, "default", "shop", backend=AWAY)
        await world.until(
            lambda: world.api.storage.peek(POSTGRES_SERVERS, "platform", "rds")["status"]["pools"] == 0, "it has left"
        )
        respec(world, CONNECTION_POOLS, "default", "shop", replicas=2)
        await world.until(lambda: sum(caps(world)) == 40, "all that the other has")


async def test_a_pool_that_left_with_its_pods_is_freed_by_a_moment_without(world: Cluster) -> None:
    world.api.create(another("elsewhere", 40))
    world.api.create(member("shop", 40))
    async with world.operator():
        await world.until(lambda: sum(caps(world)) == 10, "all that the first has")
        respec(world, CONNECTION_POOLS, "default", "shop", backend=AWAY)
        await world.until(lambda: sum(caps(world)) == 40, "all that the other has")
        assert charge(world, "rds") == 10
        respec(world, CONNECTION_POOLS, "default", "shop", replicas=0)
        await world.until(lambda: charge(world, "rds") == 0, "nothing is left there")
