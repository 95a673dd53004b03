"""A budget that pools of several namespaces share: who gets what, who waits, and never more than there is."""

import asyncio
import base64
import json

from tests.process.test_agent_backend import authority
from tests.simulated.apiserver import faults
from tests.simulated.apiserver.faults import Fault
from tests.simulated.apiserver.records import Object
from tests.simulated.operators import Cluster, pool
from tests.simulated.server_pools import (
    allocated,
    held,
    member,
    moving,
    never_above,
    respec,
    server,
    status,
)

from pgbouncer_operator import naming
from pgbouncer_operator.kube.resources import CONFIG_MAPS, CONNECTION_POOLS, NAMESPACES, POSTGRES_SERVERS
from pgbouncer_operator.reconcile.intervals import Intervals

FIRST, SECOND = authority()[2], authority()[2]


async def test_pools_share_a_servers_budget_and_nobody_holds_more(world: Cluster) -> None:
    world.api.create(server(60))
    for name in ("one", "two", "three"):
        world.api.create(member(name))
    async with never_above(world, 60), world.operator():
        await world.until_ready("one", "two", "three")
        await world.until(lambda: allocated(world) == {"one": 20, "two": 20, "three": 20}, "equal shares")
        await world.until(lambda: held(world) == 60, "all of the budget in use")
        intent = world.api.storage.peek(CONFIG_MAPS, "default", naming.config_map("one"))["data"][naming.INTENT_KEY]
        assert '"host": "postgres.platform.svc"' in intent


async def test_connections_go_from_one_pool_to_another_by_shrink_confirm_grow(world: Cluster) -> None:
    world.api.create(server(40))
    world.api.create(member("one", 40))
    world.api.create(member("two", 4))
    async with never_above(world, 40), world.operator():
        await world.until(lambda: allocated(world) == {"one": 36, "two": 4}, "the first shares")
        await world.until(lambda: held(world) == 40, "all in use")
        respec(world, CONNECTION_POOLS, "default", "one", serverConnections={"max": 10})
        respec(world, CONNECTION_POOLS, "default", "two", serverConnections={"max": 40})
        await world.until(lambda: allocated(world) == {"one": 10, "two": 30} and not moving(world), "the others")
        await world.until(lambda: held(world) == 40, "handed over")
        await world.until_ready("one", "two")
        await world.settled()


async def test_a_newcomer_waits_until_the_others_have_given_back(world: Cluster) -> None:
    world.api.create(server(30))
    world.api.create(member("one"))
    async with never_above(world, 30), world.operator():
        await world.until(lambda: held(world) == 30, "one has all")
        world.api.create(member("two"))
        await world.until_ready("one", "two")
        await world.until(lambda: allocated(world) == {"one": 15, "two": 15}, "halves")
        await world.until(lambda: held(world) == 30, "both use theirs")


async def test_a_silent_pod_keeps_its_charge_and_nobody_grows_by_it(world: Cluster) -> None:
    world.api.create(server(40))
    world.api.create(member("one", 36))
    world.api.create(member("two", 4))
    async with never_above(world, 40), world.operator():
        await world.until(lambda: held(world) == 40, "all in use")
        for agent in world.agents.of("default", "one"):
            agent.silent = True
        respec(world, CONNECTION_POOLS, "default", "one", serverConnections={"max": 10})
        respec(world, CONNECTION_POOLS, "default", "two", serverConnections={"max": 40})
        await world.until(lambda: allocated(world).get("one") == 10, "it is to shrink")
        await world.settled(1.0)
        assert allocated(world)["two"] == 4
        for agent in world.agents.of("default", "one"):
            agent.silent = False
        await world.until(lambda: allocated(world)["two"] == 30, "it has shrunk")


async def test_a_deleted_pool_is_charged_until_its_last_pod_is_gone(world: Cluster) -> None:
    world.api.create(server(30))
    world.api.create(member("one", 20))
    async with never_above(world, 30), world.operator():
        await world.until(lambda: held(world) == 20, "one has its own")
        world.api.create(member("two", 30))
        await world.until(lambda: allocated(world) == {"one": 15, "two": 15}, "halves")
        await world.until(lambda: held(world) == 30, "in use")
        world.api.delete(CONNECTION_POOLS, ("default", "one"))
        await world.until(lambda: allocated(world) == {"two": 30}, "the other has all")
        assert not world.agents.of("default", "one")


async def test_what_does_not_fit_is_refused_and_what_serves_goes_on(world: Cluster) -> None:
    world.api.create(server(6))
    world.api.create(member("old", 6))
    async with never_above(world, 6), world.operator():
        await world.until_ready("old")
        world.api.create(member("young", replicas=4))
        await world.until(
            lambda: world.condition("young", "WithinBudget").get("reason") == "BudgetExceeded", "it is told"
        )
        assert not world.agents.of("default", "young")
        assert world.ready("old")
        respec(world, POSTGRES_SERVERS, "platform", "rds", connections={"max": 6, "unpooled": 0, "headroomPercent": 0})
        await world.settled(1.0)
    async with world.operator():
        respec(world, POSTGRES_SERVERS, "platform", "rds", connections={"max": 60})
        await world.until_ready("young")


async def test_a_budget_that_is_lowered_and_raised_is_followed(world: Cluster) -> None:
    world.api.create(server(60))
    for name in ("one", "two"):
        world.api.create(member(name))
    async with world.operator():
        await world.until(lambda: held(world) == 60, "all in use")
        respec(world, POSTGRES_SERVERS, "platform", "rds", connections={"max": 40})
        await world.until(lambda: held(world) == 40 and not moving(world), "less")
        async with never_above(world, 40):
            await world.settled(0.5)
        respec(world, POSTGRES_SERVERS, "platform", "rds", connections={"max": 50})
        await world.until(lambda: held(world) == 50, "more")


async def test_an_operator_that_is_killed_leaves_nothing_that_its_successor_gives_twice(world: Cluster) -> None:
    world.api.create(server(40))
    world.api.create(member("one", 36))
    world.api.create(member("two", 4))
    async with never_above(world, 40):
        async with world.operator():
            await world.until(lambda: held(world) == 40, "all in use")
            respec(world, CONNECTION_POOLS, "default", "one", serverConnections={"max": 10})
            respec(world, CONNECTION_POOLS, "default", "two", serverConnections={"max": 40})
            await world.until(lambda: allocated(world).get("one") == 10, "on its way")
        async with world.operator(identity="second"):
            await world.until(lambda: allocated(world) == {"one": 10, "two": 30}, "handed over")
            await world.until(lambda: held(world) == 40, "all in use again")


async def test_consent_is_by_the_namespaces_labels(world: Cluster) -> None:
    selector = {"from": "Selector", "selector": {"matchLabels": {"db": "rds"}}}
    world.api.create(server(20, allowedNamespaces=selector))
    world.api.create(member("shop"))
    async with world.operator():
        await world.until(lambda: world.condition("shop", "Stalled").get("reason") == "ServerNotShared", "refused")
        assert not world.agents.of("default", "shop")
        world.api.edit(NAMESPACES, ("", "default"), lambda body: body["metadata"].update(labels={"db": "rds"}))
        await world.until_ready("shop")
        assert not world.condition("shop", "Stalled")


async def test_a_server_that_is_not_there_is_told_and_found_when_it_comes(world: Cluster) -> None:
    world.api.create(member("shop"))
    async with world.operator():
        await world.until(lambda: world.condition("shop", "Stalled").get("reason") == "ServerNotFound", "told")
        world.api.create(server(20))
        await world.until_ready("shop")


async def test_a_pool_that_goes_round_the_budget_is_refused_and_serves_on(world: Cluster) -> None:
    world.api.create(pool("sly", backend={"host": "postgres.platform.svc.cluster.local"}))
    async with world.operator():
        await world.until_ready("sly")
        before = [agent.digest for agent in world.agents.of("default", "sly")]
        world.api.create(server(20))
        await world.until(lambda: world.condition("sly", "Stalled").get("reason") == "ServerIsBudgeted", "told")
        respec(world, CONNECTION_POOLS, "default", "sly", poolMode="session")
        await world.settled(1.0)
        assert [agent.digest for agent in world.agents.of("default", "sly")] == before
        told = world.condition("sly", "Stalled")["message"]
        assert "a PostgresServer of another namespace" in told
        assert "rds" not in told, "no foreign names"


async def test_the_servers_ca_is_copied_to_its_pools_and_a_renewed_one_too(world: Cluster) -> None:
    world.intervals = Intervals(authority=0.5)
    metadata = {"namespace": "platform", "name": "rds-ca"}
    world.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.pem": FIRST}})
    world.api.create(server(20, tls={"ca": {"configMapKeyRef": {"name": "rds-ca", "key": "ca.pem"}}}))
    world.api.create(member("shop"))

    def copied() -> str | None:
        data: Object = world.api.storage.peek(CONFIG_MAPS, "default", naming.config_map("shop"))["data"]
        return data.get(naming.CA_KEY)

    async with world.operator():
        await world.until_ready("shop")
        assert copied() == FIRST
        world.api.edit(CONFIG_MAPS, ("platform", "rds-ca"), lambda body: body["data"].update({"ca.pem": SECOND}))
        await world.until(lambda: copied() == SECOND, "the new one")


async def test_a_key_that_is_no_certificate_is_copied_nowhere_and_that_is_told(world: Cluster) -> None:
    metadata = {"namespace": "platform", "name": "admin"}
    data = {"password": base64.b64encode(b"xyzzy").decode()}
    world.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
    world.api.create(server(20, tls={"ca": {"secretKeyRef": {"name": "admin", "key": "password"}}}))
    world.api.create(member("shop"))

    def told() -> bool:
        return any(
            "no CA certificate in PEM in Secret admin" in each["message"] for each in status(world)["conditions"]
        )

    async with world.operator():
        await world.until(lambda: "conditions" in status(world) and told(), "told")
        await world.settled(0.5)
    texts = [json.dumps(body) for body in world.api.storage.find(CONFIG_MAPS)]
    assert not any("xyzzy" in text for text in texts)


async def test_at_rest_nothing_is_written(world: Cluster) -> None:
    world.api.create(server(30))
    for name in ("one", "two"):
        world.api.create(member(name))
    async with world.operator():
        await world.until_ready("one", "two")
        await world.until(lambda: held(world) == 30, "all in use")
        await world.settled(2.0)
        before = len(world.writes())
        await asyncio.sleep(3.0)
        assert world.writes(0)[before:] == []


async def test_a_server_that_was_changed_unseen_is_read_after_one_conflict(world: Cluster) -> None:
    world.api.create(server(30))
    world.api.create(member("one"))
    async with world.operator():
        await world.until(lambda: held(world) == 30, "all in use")
        world.api.faults.add(Fault(faults.Answer(503), "watch", "postgresservers", times=None))
        world.api.cut_watches("postgresservers")
        respec(world, POSTGRES_SERVERS, "platform", "rds", connections={"max": 20})
        before = len(world.api.calls)
        world.api.create(member("two"))
        await world.until(lambda: allocated(world) == {"one": 10, "two": 10} and not moving(world), "the new budget")
        calls = [each for each in world.api.calls[before:] if each.plural == "postgresservers" and each.verb == "patch"]
        assert sum(each.code == 409 for each in calls) == 1
