"""A pod that is deleted by force or loses its label, while its PgBouncer and its sessions may go on."""

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.simulated.agents import Agent
from tests.simulated.apiserver import faults
from tests.simulated.apiserver.faults import Fault
from tests.simulated.apiserver.records import Object
from tests.simulated.operators import Cluster, cluster, highest, pool
from tests.simulated.test_postgres_server import allocated, member, server

from pgbouncer_operator import app, naming
from pgbouncer_operator.kube.resources import CONFIG_MAPS, CONNECTION_POOLS, PODS
from pgbouncer_operator.reconcile.intervals import Intervals

MOST = 20
SHORT = 3  # seconds: a test cannot wait for PostgreSQL's keepalives


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, monkeypatch) as made:
        made.intervals = Intervals(sessions=SHORT)
        yield made


def document(world: Cluster) -> Object:
    text = world.api.get(CONFIG_MAPS, "default", naming.grants_config_map("shop"))["data"][naming.GRANTS_KEY]
    found: Object = json.loads(text)
    return found


def entry(world: Cluster, uid: str) -> Object | None:
    found: Object | None = document(world)["pods"].get(uid)
    return found


def vanish(world: Cluster) -> tuple[str, int]:
    """Delete one of the pool's pods by force: its uid, and the connections that it goes on to hold."""
    lost = world.agents.of("default", "shop")[0]
    world.agents.node.vanish(*lost.key)
    return lost.uid, lost.cap


def held(world: Cluster) -> int:
    """What the pods that are there may hold by their own word."""
    return sum(agent.cap for agent in world.agents.of("default", "shop"))


async def serves(world: Cluster, body: Object | None = None) -> None:
    """A pool, of two pods and its own host unless `body` says otherwise, holds all of its connections."""
    world.api.create(body or pool(serverConnections={"max": MOST}))
    await world.until_ready("shop")
    await world.until(lambda: held(world) == MOST, "all is given")


async def serves_at_a_server(world: Cluster) -> None:
    """The pool holds the whole budget of a PostgresServer."""
    world.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "platform"}})
    world.api.create(server(MOST))
    await serves(world, member("shop", MOST))


def replace_by_next(world: Cluster) -> None:
    """The pool is deleted, and another one asks for all that it held."""
    world.api.delete(CONNECTION_POOLS, ("default", "shop"))
    world.api.create(member("next", MOST))


async def test_the_connections_of_a_pod_deleted_by_force_are_given_away_only_when_its_sessions_are_over(
    world: Cluster,
) -> None:
    async with world.operator():
        await serves(world)
        uid, kept = vanish(world)
        assert kept == MOST // 2
        await world.until(lambda: (entry(world, uid) or {}).get("gone"), "a tombstone")
        most = 0

        def over() -> bool:
            nonlocal most
            there = held(world)
            if entry(world, uid) is None:
                return there == MOST
            most = max(most, there)
            return False

        await world.until(over, "the others have all, once nothing is kept any more")
        assert 0 < most <= MOST - kept
        await world.until_ready("shop")
        assert len(document(world)["pods"]) == 2


async def test_a_tombstone_outlives_the_operator_that_made_it(world: Cluster) -> None:
    async with world.operator():
        await serves(world)
        uid, _ = vanish(world)
        await world.until(lambda: (entry(world, uid) or {}).get("gone"), "a tombstone")
        since = (entry(world, uid) or {})["gone"]
    async with world.operator(identity="second"):
        await world.until(lambda: entry(world, uid) is None or entry(world, uid)["gone"] == since, "it stands")  # type: ignore[index]
        await world.until(lambda: held(world) == MOST and entry(world, uid) is None, "it is dropped in time")


async def test_a_pod_that_went_while_nobody_looked_is_kept_in_mind_too(world: Cluster) -> None:
    async with world.operator():
        await serves(world)
    uid, _ = vanish(world)
    async with world.operator(identity="second"):
        await world.until(lambda: (entry(world, uid) or {}).get("gone"), "a tombstone")
        await world.until(lambda: held(world) == MOST and entry(world, uid) is None, "it is dropped in time")
        await world.until_ready("shop")


async def test_a_pod_that_ends_as_it_should_leaves_nothing(world: Cluster) -> None:
    world.intervals = Intervals(sessions=3600)
    async with world.operator():
        await serves(world)
        gone = world.agents.of("default", "shop")[0]
        world.api.delete(PODS, gone.key)
        await world.until(lambda: held(world) == MOST and entry(world, gone.uid) is None, "the others have all")
        assert all("gone" not in each for each in document(world)["pods"].values())


@pytest.mark.parametrize("sessions", [3600, SHORT])
async def test_the_share_of_a_deleted_pool_is_kept_as_long_as_sessions_of_its_lost_pod_may_be_left(
    world: Cluster, sessions: int
) -> None:
    world.intervals = Intervals(sessions=sessions)
    async with world.operator():
        await serves_at_a_server(world)
        uid, _ = vanish(world)
        await world.until(lambda: (entry(world, uid) or {}).get("gone"), "a tombstone")
        replace_by_next(world)
        await world.until(lambda: not world.agents.of("default", "shop"), "no pod is left")
        if sessions > SHORT:
            await world.settled(SHORT + 1.0)
            assert allocated(world)["shop"] == MOST
            return
        await world.until(lambda: "shop" not in allocated(world), "the deleted pool's share is free")
        await world.until_ready("next")


async def test_a_pool_says_what_a_pod_without_a_grant_waits_for(
    world: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.operator():
        world.api.create(pool(serverConnections={"max": MOST}, replicas=1))
        await world.until_ready("shop")
        await world.until(lambda: held(world) == MOST, "all is given")
        world.agents.node.ready_at_once = False
        vanish(world)
        await world.until(
            lambda: f"reserved for pods that disappeared: {MOST}," in world.condition("shop", "Ready")["message"],
            "status says so",
        )
        await world.until(lambda: held(world) == MOST, "its successor has all")


def unlabel(world: Cluster) -> Agent:
    """Somebody removes the pool's label of one pod. Its ReplicaSet lets it go; it serves its clients on."""
    orphan = world.agents.of("default", "shop")[0]

    def edit(body: Any) -> None:
        del body["metadata"]["labels"][naming.LABEL_POOL]
        del body["metadata"]["ownerReferences"]

    world.api.edit(PODS, orphan.key, edit)
    return orphan


async def test_a_pod_that_loses_its_label_is_charged_while_it_exists_and_the_status_names_it(world: Cluster) -> None:
    async with world.operator():
        await serves(world)
        orphan = unlabel(world)
        name = orphan.key[1]
        async with highest(lambda: held(world) + orphan.cap) as most:
            await world.until(
                lambda: name in world.condition("shop", "WithinBudget").get("message", ""), "status names it"
            )
            await world.settled(SHORT + 1.0)
            assert entry(world, orphan.uid), "it is charged after the time of a tombstone"
    async with world.operator(identity="second"):
        await world.until(lambda: world.leader() == "second", "the second one leads")
        async with highest(lambda: held(world) + orphan.cap) as most_of_second:
            await world.settled(SHORT + 1.0)
            assert entry(world, orphan.uid), "it is charged by an operator that has never seen its label"
        assert max(most + most_of_second) <= MOST
        world.api.delete(PODS, orphan.key, gracePeriodSeconds=0)
        await world.until(lambda: entry(world, orphan.uid) is None and held(world) == MOST, "the others have all")
        await world.until(
            lambda: name not in world.condition("shop", "WithinBudget").get("message", ""), "nothing is left to say"
        )


def nameless(body: Any) -> None:
    """The ledger as an operator before names in ledgers wrote it."""
    ledger = json.loads(body["data"][naming.GRANTS_KEY])
    for each in ledger["pods"].values():
        del each["pod"]
    body["data"][naming.GRANTS_KEY] = json.dumps(ledger)


async def test_a_pod_that_lost_its_label_before_an_upgrade_is_charged_although_the_ledger_has_no_name(
    world: Cluster,
) -> None:
    async with world.operator():
        await serves(world)
        await world.settled(1.0)
    world.api.edit(CONFIG_MAPS, ("default", naming.grants_config_map("shop")), nameless)
    orphan = unlabel(world)
    async with world.operator(identity="second"):
        async with highest(lambda: held(world) + orphan.cap) as most:
            await world.until(
                lambda: orphan.key[1] in world.condition("shop", "WithinBudget").get("message", ""), "status names it"
            )
            await world.settled(SHORT + 1.0)
            assert entry(world, orphan.uid), "it is charged after the time of a tombstone"
        assert max(most) <= MOST
        world.api.delete(PODS, orphan.key, gracePeriodSeconds=0)
        await world.until(lambda: entry(world, orphan.uid) is None and held(world) == MOST, "the others have all")


async def test_a_pod_that_has_its_label_back_is_one_of_the_pool_again_at_once(world: Cluster) -> None:
    async with world.operator():
        await serves(world)
        pod = world.agents.of("default", "shop")[0]

        def message() -> str:
            return str(world.condition("shop", "WithinBudget").get("message", ""))

        world.api.edit(PODS, pod.key, lambda body: body["metadata"]["labels"].pop(naming.LABEL_POOL))
        await world.until(lambda: pod.key[1] in message(), "status names it")
        world.api.edit(PODS, pod.key, lambda body: body["metadata"]["labels"].update({naming.LABEL_POOL: "shop"}))
        await world.until(lambda: pod.key[1] not in message() and world.ready("shop"), "it is one of the pool's pods")


async def test_a_pod_that_cannot_be_asked_for_stays_charged(world: Cluster) -> None:
    world.api.faults.add(Fault(faults.Answer(403), "get", "pods", times=None))
    async with world.operator():
        await serves(world)
        uid, _ = vanish(world)
        await world.until(lambda: (entry(world, uid) or {}).get("gone"), "a tombstone")
        await world.settled(SHORT + 1.0)
        assert entry(world, uid)
        assert "Let the operator get pods" in world.condition("shop", "WithinBudget")["message"]


async def test_a_pod_without_its_label_keeps_the_share_of_its_deleted_pool(world: Cluster) -> None:
    async with world.operator():
        await serves_at_a_server(world)
        orphan = unlabel(world)
        await world.until(lambda: (entry(world, orphan.uid) or {}).get("gone"), "a tombstone")
        replace_by_next(world)
        await world.until(lambda: not world.agents.of("default", "shop"), "no other pod is left")
        await world.settled(SHORT + 1.0)
        assert allocated(world)["shop"] == MOST
        world.api.delete(PODS, orphan.key, gracePeriodSeconds=0)
        await world.until(lambda: "shop" not in allocated(world), "the deleted pool's share is free")
        await world.until_ready("next")


async def test_a_leader_whose_clock_is_ahead_drops_no_tombstone_early(
    world: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.operator():
        await serves(world)
        uid, _ = vanish(world)
        await world.until(lambda: (entry(world, uid) or {}).get("gone"), "a tombstone")
    monkeypatch.setattr(app, "_stamp", lambda: (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"))
    began = time.monotonic()
    async with world.operator(identity="second"):
        await world.until(lambda: entry(world, uid) is None, "it is dropped in time")
        assert time.monotonic() - began >= SHORT
        await world.until(lambda: held(world) == MOST, "the others have all")
