"""PostgresServers whose host is edited: no host holds more than its budget, before, after or on the way."""

import contextlib
from collections.abc import AsyncIterator

from tests.simulated.agents import Agent
from tests.simulated.operators import Cluster, highest, pool
from tests.simulated.server_pools import member, respec, server, status

from pgbouncer_operator.kube.resources import POSTGRES_SERVERS

FORMER, NEW = "postgres.platform.svc", "elsewhere.platform.svc"


async def test_what_does_not_answer_at_the_former_host_is_charged_there(world: Cluster) -> None:
    world.api.create(server(40))
    world.api.create(member("shop", 40))
    twin(world, "postgres")
    async with never_above(world, FORMER, 40), world.operator():
        await world.until(lambda: held_at(world, FORMER) == 40, "all in use")
        await world.until(lambda: world.condition("guest", "Stalled").get("reason") == "HostTaken", "the other waits")
        deaf = deafen(world, "shop")
        move(world, "rds", "elsewhere")
        await world.until(lambda: held_at(world, NEW) > 0, "the pool is where its server is")
        await world.until(
            lambda: "40 more may still be held here" in told(world, "twin"), "the other says why it waits"
        )
        assert (held_at(world, FORMER), caps(world, "guest")) == (deaf.cap, 0)
        deaf.silent = False
        await world.until(lambda: "former" not in str(status(world)["allocations"]), "nothing is left of it")
        await world.until(lambda: held_at(world, FORMER) == caps(world, "guest") == 40, "all is given back")


async def test_a_server_takes_its_pools_along_once_they_fit(world: Cluster) -> None:
    world.api.create(server(40))
    world.api.create(member("shop", 40))
    twin(world, "elsewhere")
    async with never_above(world, NEW, 40), world.operator():
        await world.until(lambda: held_at(world, FORMER) == held_at(world, NEW) == 40, "all in use at both")
        deaf = deafen(world, "guest")
        move(world, "rds", "elsewhere")
        await world.until(lambda: "stay at the former host and port" in str(status(world)), "the server says why")
        await world.until(lambda: caps(world, "guest") < 40, "the other's pool gives back what it can")
        await world.settled(0.5)
        assert held_at(world, FORMER) == caps(world, "shop") > 30
        deaf.silent = False
        await world.until(lambda: held_at(world, NEW) > 37 == caps(world, "shop"), "all but the other's least")
        assert held_at(world, FORMER) == 0


async def test_a_server_leaves_its_pools_where_they_are_while_an_older_one_gives(world: Cluster) -> None:
    world.api.create(server(40, host="elsewhere"))
    world.api.create(member("shop", 40))
    twin(world, "postgres")
    async with never_above(world, NEW, 40), world.operator():
        await world.until(lambda: held_at(world, FORMER) == held_at(world, NEW) == 40, "all in use at both")
        move(world, "twin", "elsewhere")
        await world.until(lambda: world.condition("guest", "Stalled").get("reason") == "HostTaken", "the pool is told")
        await world.until(lambda: 0 < caps(world, "guest") < 10, "its pods keep what they need at least")
        assert held_at(world, FORMER) == caps(world, "guest")
        move(world, "twin", "postgres")
        await world.until_ready("guest")
        await world.until(lambda: held_at(world, FORMER) == caps(world, "guest") == 40, "as before")


async def test_a_server_that_had_no_address_before_an_upgrade_is_charged_where_it_was(world: Cluster) -> None:
    world.api.create(server(40))
    world.api.create(member("shop", 40))
    async with world.operator():
        await world.until_ready("shop")
        await world.settled(0.5)
    world.api.edit(POSTGRES_SERVERS, ("platform", "rds"), lambda body: body["status"].pop("address"))
    before = len(world.writes())
    async with never_above(world, FORMER, 40), world.operator():
        world.api.create(pool("apart", backend={"host": "apart"}))
        await world.until_ready("apart")
        assert not [each for each in world.writes(before) if each.plural == "postgresservers"]
        deafen(world, "shop")
        move(world, "rds", "elsewhere")
        twin(world, "postgres")
        await world.until(
            lambda: "40 more may still be held here" in told(world, "twin"), "the other says why it waits"
        )


async def test_a_server_that_named_a_foreign_host_takes_nothing_from_it(world: Cluster) -> None:
    foreign = server(10_000)
    world.api.create(
        {
            **foreign,
            "metadata": {"namespace": "default", "name": "foreign"},
            "spec": {**foreign["spec"], "host": "postgres.platform"},
        }
    )
    squatter = member("shop", 10_000)
    squatter["spec"]["backend"]["serverRef"] = {"name": "foreign"}
    world.api.create(squatter)
    async with world.operator():
        await world.until(lambda: caps(world, "shop") == 10_000, "it gives what it likes")
        deafen(world, "shop")
        respec(world, POSTGRES_SERVERS, "default", "foreign", host="elsewhere")
        await world.until(lambda: held_at(world, "elsewhere") > 0, "it has left, but for one pod")
        world.api.create(server(40, allowedNamespaces={"from": "Same"}))
        owner = member("guest", 40)
        owner["metadata"]["namespace"] = "platform"
        world.api.create(owner)
        world.api.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"namespace": "platform", "name": "shop-db"},
                "stringData": {"username": "shop", "password": "correct horse battery staple"},
            }
        )
        await world.until(lambda: sum(each.cap for each in world.agents.of("platform", "guest")) == 40, "all of it")


def twin(world: Cluster, host: str) -> None:
    """A younger server, with a pool that wants all of it."""
    body = server(40, host=host)
    world.api.create({**body, "metadata": {**body["metadata"], "name": "twin"}})
    guest = member("guest", 40)
    guest["spec"]["backend"]["serverRef"]["name"] = "twin"
    world.api.create(guest)


def told(world: Cluster, name: str) -> str:
    """The conditions of a server."""
    body = world.api.storage.peek(POSTGRES_SERVERS, "platform", name)
    return str((body.get("status") or {}).get("conditions"))


def deafen(world: Cluster, name: str) -> Agent:
    """A pod of the pool answers no more: the last by name, since the first one tries changes for all."""
    deaf = max(world.agents.of("default", name), key=lambda each: each.key)
    deaf.silent = True
    return deaf


def move(world: Cluster, name: str, host: str) -> None:
    respec(world, POSTGRES_SERVERS, "platform", name, host=host)


def held_at(world: Cluster, host: str) -> int:
    """What all pods may open at that host at this moment."""
    agents = world.agents.by_uid.values()
    return sum(each.cap for each in agents if each.host == host and world.api.storage.exists("pods", each.key))


def caps(world: Cluster, name: str) -> int:
    return sum(each.cap for each in world.agents.of("default", name))


@contextlib.asynccontextmanager
async def never_above(world: Cluster, host: str, budget: int) -> AsyncIterator[None]:
    async with highest(lambda: held_at(world, host)) as peak:
        yield
    assert 0 < peak[0] <= budget
