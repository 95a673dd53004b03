"""Two operators of two namespaces with different settings: one serves a pool, the other stands by and says so."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.simulated.operators import Cluster, cluster, pool
from tests.simulated.test_postgres_server import server

from pgbouncer_operator.kube.resources import CONNECTION_POOLS, EVENTS, PODS, POSTGRES_SERVERS
from pgbouncer_operator.reconcile.intervals import NORMAL

SOON = replace(NORMAL, ask=1.0, answer=1.5)
SHOP = ("default", "shop")


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, monkeypatch) as made:
        for name in ("one", "two", "platform"):
            made.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        made.intervals = SOON
        yield made


def one(world: Cluster) -> Any:
    return world.operator(identity="one-a", namespace="one", pool_image="pool:1")


def two(world: Cluster, port: int = 0) -> Any:
    return world.operator(port, identity="two-a", namespace="two", pool_image="pool:2", endpoint_delay=7)


def operator(world: Cluster, name: str = "shop") -> str:
    return str((world.pool(name).get("status") or {}).get("operator", ""))


def pods(world: Cluster) -> set[str]:
    return {each["metadata"]["uid"] for each in world.api.find(PODS)}


def standing_by(world: Cluster) -> list[str]:
    return [each["message"] for each in world.api.find(EVENTS) if each["reason"] == "OperatorStandsBy"]


async def test_the_second_operator_rolls_nothing_and_says_so(world: Cluster, unused_tcp_port: int) -> None:
    async with one(world):
        world.api.create(pool(upgradePolicy="Automatic"))
        await world.until_ready("shop")
        await world.settled()
        before = pods(world)
        async with two(world, unused_tcp_port):
            await world.until(lambda: bool(standing_by(world)), "the second one says so")
            answers = len([each for each in world.writes() if each.plural == "connectionpools"])
            await world.until(
                lambda: len([e for e in world.writes() if e.plural == "connectionpools"]) >= answers + 4,
                "two questions and two answers",
            )
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{unused_tcp_port}/metrics") as answer,
            ):
                assert "pgbouncer_operator_standing_by 1.0" in await answer.text()
        assert pods(world) == before
        assert operator(world).partition(" ")[0] == "one"
        (message,) = standing_by(world)
        assert message.startswith("The operator of namespace one serves this ConnectionPool; the one of namespace two")


async def test_two_operators_that_see_a_new_pool_at_once_agree_on_one_of_them(world: Cluster) -> None:
    async with one(world), two(world):
        await world.until(lambda: world.api.watches.count("connectionpools") == 2, "both watch")
        world.api.create(pool(upgradePolicy="Automatic"))
        await world.until_ready("shop")
        await world.until(lambda: bool(standing_by(world)), "one of them stands by")
        owner, before = operator(world).partition(" ")[0], pods(world)
        writes = len(world.writes())
        await world.until(
            lambda: len([each for each in world.writes()[writes:] if each.plural == "connectionpools"]) >= 4,
            "two questions and two answers",
        )
        assert (operator(world).partition(" ")[0], pods(world)) == (owner, before)


async def test_the_second_operator_takes_over_when_the_first_is_gone(world: Cluster) -> None:
    world.api.create(server(20))
    async with contextlib.AsyncExitStack() as second:
        async with one(world):
            world.api.create(pool())
            await world.until_ready("shop")
            await second.enter_async_context(two(world))
            await world.until(lambda: bool(standing_by(world)), "the second one stands by")
            before = pods(world)
        await world.until(lambda: operator(world) == "two", "the second one serves the pool")
        await world.until(
            lambda: world.api.get(POSTGRES_SERVERS, "platform", "rds")["status"]["operator"] == "two", "and the server"
        )
        assert pods(world) == before, "it rolls nothing"
        world.api.edit(CONNECTION_POOLS, SHOP, lambda body: body["spec"].update(replicas=3))
        await world.until(lambda: len(pods(world)) == 3, "a change arrives")


async def test_an_older_definition_that_drops_the_field_stops_nothing(
    world: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, update = world.api.storage, world.api.storage.update

    def dropping(kind: Any, key: Any, change: Callable[[Any], Any], intent: Any) -> Any:
        def without(live: Any) -> Any:
            wanted = change(live)
            status = {name: value for name, value in (wanted.get("status") or {}).items() if name != "operator"}
            return {**wanted, "status": status} if "status" in wanted else wanted

        return update(kind, key, without, intent)

    monkeypatch.setattr(type(storage), "update", lambda _, *given: dropping(*given))
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
        assert operator(world) == ""
