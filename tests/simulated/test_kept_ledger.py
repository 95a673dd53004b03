"""A pool whose spec cannot be used, or that is being deleted, goes on sharing its connections between its pods."""

from collections.abc import Callable

import pytest
from tests.simulated.operators import Cluster, highest, pool
from tests.simulated.test_lost_pods import document
from tests.simulated.test_postgres_server import member, respec, server

from pgbouncer_operator.kube.resources import CONNECTION_POOLS, PODS, POSTGRES_SERVERS
from pgbouncer_operator.reconcile.intervals import Intervals

MOST = 20


@pytest.fixture
def world(world: Cluster) -> Cluster:
    world.intervals = Intervals(admission=1.0)
    return world


def reason(world: Cluster) -> str:
    found: str = world.condition("shop", "Stalled").get("reason", "")
    return found


def server_is_deleted(world: Cluster) -> Callable[[], bool]:
    world.api.delete(POSTGRES_SERVERS, ("platform", "rds"))
    return lambda: reason(world) == "ServerNotFound"


def server_becomes_invalid(world: Cluster) -> Callable[[], bool]:
    respec(world, POSTGRES_SERVERS, "platform", "rds", connections={"max": 5, "unpooled": 5})
    return lambda: reason(world) == "ServerInvalid"


def host_gets_a_budget(world: Cluster) -> Callable[[], bool]:
    world.api.create(server(6, host="shared.example.com"))
    return lambda: reason(world) == "ServerIsBudgeted"


def moves_to_a_full_server(world: Cluster) -> Callable[[], bool]:
    other = server(5, host="elsewhere")
    world.api.create({**other, "metadata": {**other["metadata"], "name": "other"}})
    respec(
        world, CONNECTION_POOLS, "default", "shop", backend={"serverRef": {"name": "other", "namespace": "platform"}}
    )
    return lambda: reason(world) == "BudgetExceeded"


def held_by_a_finalizer(world: Cluster) -> Callable[[], bool]:
    def hold(body: dict[str, dict[str, list[str]]]) -> None:
        body["metadata"]["finalizers"] = ["example.com/backup"]

    world.api.edit(CONNECTION_POOLS, ("default", "shop"), hold)
    world.api.delete(CONNECTION_POOLS, ("default", "shop"))
    return lambda: "deletionTimestamp" in world.pool("shop")["metadata"]


def held(world: Cluster) -> int:
    """What all pods may open. One that waits takes its grant, or what the ledger offers to pods without one."""
    ledger = document(world)
    grants = {uid: each["cap"] for uid, each in ledger["pods"].items()}
    there = [each for each in world.agents.by_uid.values() if world.api.storage.exists("pods", each.key)]
    return sum(each.cap or grants.get(each.uid) or ledger["static"] for each in there)


@pytest.mark.parametrize(
    "spoil",
    [server_is_deleted, server_becomes_invalid, host_gets_a_budget, moves_to_a_full_server, held_by_a_finalizer],
    ids=lambda spoil: str(spoil.__name__),
)
async def test_the_successor_of_a_draining_pod_gets_its_grant_although_the_spec_cannot_be_used(
    world: Cluster, spoil: Callable[[Cluster], Callable[[], bool]]
) -> None:
    if spoil is host_gets_a_budget:
        world.api.create(pool("shop", backend={"host": "shared.example.com"}, serverConnections={"max": MOST}))
    else:
        world.api.create(server(MOST))
        world.api.create(member("shop", MOST))
    async with world.operator():
        await world.until_ready("shop")
        await world.until(lambda: held(world) == MOST, "all is given")
        await world.until(spoil(world), "it is noticed")
        world.agents.node.gone_at_once = False
        leaving, *_ = world.agents.of("default", "shop")
        world.api.delete(PODS, leaving.key)
        await world.until(lambda: len(document(world)["pods"]) == 3, "the ledger has the successor")
        async with highest(lambda: held(world)) as peak:
            await world.until(lambda: all(each.cap for each in world.agents.by_uid.values()), "it gets a grant")
            world.agents.node.finish(*leaving.key)
            await world.until(lambda: held(world) == MOST, "and what the old one held")
        assert peak[0] <= MOST
        await world.until(lambda: document(world)["static"] > 0, "pods start without an operator again")
        await world.settled(1.0)
