"""A pool whose server is in a Secret: of a provider, or of a PostgreSQL operator."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.simulated.apiserver import faults
from tests.simulated.apiserver.faults import Fault
from tests.simulated.apiserver.records import Object
from tests.simulated.operators import Cluster, cluster, pool

from pgbouncer_operator import naming
from pgbouncer_operator.kube.resources import (
    CONFIG_MAPS,
    CONNECTION_POOLS,
    DEPLOYMENTS,
    EVENTS,
    PODS,
    POSTGRES_SERVERS,
    SECRETS,
    SERVICES,
)

PASSWORD = "c4n4ry"


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, monkeypatch) as made:
        yield made


def named(**backend: object) -> Object:
    """A pool that names the Secret `neon` and nothing that the Secret has."""
    body = pool(backend={"secretRef": {"name": "neon"}, **backend})
    del body["spec"]["databases"], body["spec"]["users"]
    return body


def provide(world: Cluster, host: str, name: str = "neon") -> None:
    url = {"DATABASE_URL": f"postgres://owner:{PASSWORD}@{host}:6000/main?sslmode=require"}
    metadata = {"namespace": "default", "name": name}
    world.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": url})


def change(world: Cluster, host: str) -> None:
    """The provider writes another URL, and kubelet brings it to the pods."""
    url = base64.b64encode(f"postgres://owner:{PASSWORD}@{host}:6000/main".encode()).decode()
    world.api.edit(SECRETS, ("default", "neon"), lambda body: body["data"].update(DATABASE_URL=url))
    for agent in world.agents.of("default", "shop"):
        agent.users["default"] = {"ok": True, "message": "", "generation": "..2"}


def intent(world: Cluster) -> Object:
    text = world.api.get(CONFIG_MAPS, "default", naming.config_map("shop"))["data"][naming.INTENT_KEY]
    read: Object = json.loads(text)
    return read


def hosts(world: Cluster) -> set[str]:
    return {each["host"] for each in intent(world)["databases"]}


def uids(world: Cluster) -> list[str]:
    return [agent.uid for agent in world.agents.of("default", "shop")]


def text_of(world: Cluster, name: str) -> dict[str, str]:
    data = world.api.get(SECRETS, "default", name)["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


async def test_a_url_in_a_secret_is_all_that_a_pool_needs(world: Cluster) -> None:
    async with world.operator():
        world.api.create(named())
        await world.until(lambda: world.condition("shop", "Ready").get("reason") == "SecretNotFound", "it is missed")
        assert "Secret neon does not exist" in world.condition("shop", "Ready")["message"]
        provide(world, "ep-cool.example.com")
        await world.until_ready("shop")
        found = intent(world)
        assert [(each["name"], each["host"], each["port"]) for each in found["databases"]] == [
            ("main", "ep-cool.example.com", 6000)
        ]
        assert [(each["name"], each["urlKey"]) for each in found["users"]] == [("default", "DATABASE_URL")]
        assert world.pool("shop")["status"]["backend"] == {"host": "ep-cool.example.com", "port": 6000}
        pooled, direct = (text_of(world, f"shop-{each}") for each in ("connection", "direct"))
        assert (pooled["username"], pooled["password"], pooled["database"]) == ("owner", PASSWORD, "main")
        assert direct["DIRECT_URL"] == f"postgresql://owner:{PASSWORD}@ep-cool.example.com:6000/main?sslmode=require"
        kinds = (CONFIG_MAPS, CONNECTION_POOLS, DEPLOYMENTS, EVENTS, PODS, SERVICES)
        assert PASSWORD not in json.dumps([world.api.find(kind) for kind in kinds])


async def test_another_url_reaches_the_pods_without_a_roll(world: Cluster) -> None:
    provide(world, "first")
    async with world.operator():
        world.api.create(named())
        await world.until_ready("shop")
        pods, before = uids(world), {agent.digest for agent in world.agents.of("default", "shop")}
        change(world, "second")
        world.respec(replicas=3)  # a reason to look, so that the test need not wait for the next one
        await world.until(lambda: hosts(world) == {"second"}, "the other server is written")
        await world.until(
            lambda: not before & {agent.digest for agent in world.agents.of("default", "shop")}, "every pod runs it"
        )
        await world.until_ready("shop")
        assert set(pods) <= set(uids(world))


async def test_a_secret_that_is_gone_leaves_the_pool_as_it_is_and_is_named(world: Cluster) -> None:
    provide(world, "first")
    async with world.operator():
        world.api.create(named())
        await world.until_ready("shop")
        pods = uids(world)
        world.api.delete(SECRETS, ("default", "neon"))
        world.refresh()
        await world.until(
            lambda: world.condition("shop", "CredentialsAvailable").get("reason") == "SecretNotFound", "it is missed"
        )
        assert "Create it, or correct backend.secretRef.name." in world.condition("shop", "Ready")["message"]
        world.respec(replicas=3)
        await world.until(lambda: len(uids(world)) == 3, "the pool follows its spec all the same")
        assert (set(pods) <= set(uids(world)), hosts(world)) == (True, {"first"})
    async with world.operator(identity="second"):
        await world.until(lambda: world.condition("shop", "Stalled").get("reason") == "SecretNotFound", "still missed")
        assert (set(pods) <= set(uids(world)), hosts(world)) == (True, {"first"})
        provide(world, "first")
        await world.until_ready("shop")


async def test_a_secret_that_may_not_be_read_is_unknown_and_the_right_is_named(world: Cluster) -> None:
    provide(world, "first")
    async with world.operator():
        world.api.create(named())
        await world.until_ready("shop")
        pods = uids(world)
        refused = world.api.faults.add(Fault(faults.Answer(403), "get", "secrets", times=None))
        world.refresh()
        await world.until(
            lambda: world.condition("shop", "CredentialsAvailable").get("reason") == "SecretNotReadable", "it says so"
        )
        assert (uids(world), hosts(world)) == (pods, {"first"})
        world.api.faults.remove(refused)
        await world.until_ready("shop")


async def test_an_operator_without_connection_secrets_still_reads_this_one(world: Cluster) -> None:
    provide(world, "first")
    async with world.operator(connection_secrets=False):
        world.api.create(named())
        await world.until_ready("shop")
        assert hosts(world) == {"first"}
        assert {(call.verb, call.key[1]) for call in world.api.calls if call.plural == "secrets"} == {("get", "neon")}


async def test_a_host_in_a_secret_is_held_to_the_budget_of_its_server(world: Cluster) -> None:
    provide(world, "first")
    spec = {"host": "first", "port": 6000, "connections": {"max": 10}}
    metadata = {"namespace": "default", "name": "rds"}
    server = {"apiVersion": naming.API_VERSION, "kind": naming.SERVER_KIND, "metadata": metadata, "spec": spec}
    async with world.operator():
        world.api.create(named())
        await world.until_ready("shop")
        world.api.create(server)
        await world.until(
            lambda: world.condition("shop", "Ready").get("reason") == "ServerIsBudgeted", "the budget is named"
        )
        assert "Replace backend.secretRef by backend.serverRef" in world.condition("shop", "Ready")["message"]
        world.api.delete(POSTGRES_SERVERS, ("default", "rds"))
        await world.until_ready("shop")
        world.api.delete(CONNECTION_POOLS, ("default", "shop"))
        world.api.create({**server, "spec": {**spec, "host": "second"}})
        change(world, "second")
        world.api.create(named())
        await world.until(
            lambda: world.condition("shop", "Ready").get("reason") == "ServerIsBudgeted", "no pod goes round it"
        )
        assert not uids(world)
