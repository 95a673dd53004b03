"""Two PostgresServers with one host: one of them gives."""

import contextlib
from collections.abc import AsyncIterator

from tests.simulated.apiserver.records import Object
from tests.simulated.operators import Cluster, highest
from tests.simulated.server_pools import held, member, never_above, server

from pgbouncer_operator.kube.resources import CONNECTION_POOLS, POSTGRES_SERVERS


async def test_of_two_servers_with_one_host_only_the_older_gives_until_it_is_gone(world: Cluster) -> None:
    world.api.create(server(20))
    world.api.create(member("one", 20))
    async with never_above(world, 20), world.operator():
        await world.until(lambda: held(world) == 20, "all in use")
        twin = server(20)
        twin["metadata"]["name"] = "twin"
        world.api.create(twin)
        guest = member("guest", 10)
        guest["spec"]["backend"]["serverRef"]["name"] = "twin"
        world.api.create(guest)
        await world.until(lambda: world.condition("guest", "Stalled").get("reason") == "HostTaken", "the pool is told")
        await world.until(lambda: "An older PostgresServer" in str(peek(world, "twin")), "the server is told")
        assert held(world) == 20
    async with world.operator():
        world.api.delete(CONNECTION_POOLS, ("default", "one"))
        world.api.delete(POSTGRES_SERVERS, ("platform", "rds"))
        await world.until_ready("guest")
        assert held(world) <= 20


async def test_a_server_that_takes_a_host_over_gives_only_what_the_former_one_has_got_back(world: Cluster) -> None:
    world.api.create(server(40))
    world.api.create(member("one", 40))
    create_twin(world, "guest")
    async with at_most(world, 40), world.operator():
        await world.until(lambda: held(world) == 40, "all in use")
        await world.until(lambda: world.condition("guest", "Stalled").get("reason") == "HostTaken", "the other waits")
        before = pods_of(world, "one")
        world.api.delete(POSTGRES_SERVERS, ("platform", "rds"))
        await world.until(lambda: world.condition("one", "Stalled").get("reason") == "ServerNotFound", "it is gone")
        await world.until(
            lambda: world.condition("guest", "Ready").get("reason") != "HostTaken", "the other takes over"
        )
        await world.settled()
        assert held(world) == 40
        assert pods_of(world, "one") == before
        refer(world, "one", "twin")
        await world.until_ready("one", "guest")


async def test_a_chosen_server_gives_only_what_the_superseded_one_has_got_back(world: Cluster) -> None:
    world.api.create(server(40))
    world.api.create(member("one", 40))
    async with at_most(world, 40), world.operator():
        await world.until(lambda: held(world) == 40, "all in use")
    create_twin(world, "guest")
    chosen = (("postgres.platform.svc:5432", "platform/twin"),)
    async with at_most(world, 40), world.operator(server_hosts=chosen):
        await world.until_ready("guest")
        await world.until(lambda: held(world) == 40, "all in use again")


def create_twin(world: Cluster, guest: str) -> None:
    """A younger server of the same host and budget, with a pool that wants all of it."""
    twin = server(40)
    twin["metadata"]["name"] = "twin"
    world.api.create(twin)
    world.api.create(member(guest, 40))
    refer(world, guest, "twin")


def refer(world: Cluster, name: str, to: str) -> None:
    world.api.edit(
        CONNECTION_POOLS, ("default", name), lambda body: body["spec"]["backend"]["serverRef"].update(name=to)
    )


def pods_of(world: Cluster, name: str) -> set[str]:
    return {uid for uid, agent in world.agents.by_uid.items() if agent.key[1].startswith(f"{name}-")}


@contextlib.asynccontextmanager
async def at_most(world: Cluster, budget: int) -> AsyncIterator[None]:
    async with highest(lambda: held(world)) as peak:
        yield
    assert 0 < peak[0] <= budget


def peek(world: Cluster, name: str) -> Object:
    found: Object = world.api.storage.peek(POSTGRES_SERVERS, "platform", name)
    return found
