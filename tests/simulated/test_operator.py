import asyncio
import base64
import gc
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
    POD_DISRUPTION_BUDGETS,
    PODS,
    SECRETS,
    SERVICES,
)

CHILDREN = (
    (SERVICES, naming.service("shop")),
    (DEPLOYMENTS, naming.deployment("shop")),
    (CONFIG_MAPS, naming.config_map("shop")),
    (CONFIG_MAPS, naming.grants_config_map("shop")),
    (POD_DISRUPTION_BUDGETS, naming.pod_disruption_budget("shop")),
    (SECRETS, naming.connection_secret("shop")),
)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, monkeypatch) as made:
        yield made


def caps(world: Cluster) -> list[int]:
    grants = world.api.get(CONFIG_MAPS, "default", naming.grants_config_map("shop"))["data"][naming.GRANTS_KEY]
    return [entry["cap"] for entry in json.loads(grants)["pods"].values()]


async def test_a_pool_becomes_ready_and_then_nothing_is_written_or_read(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
        assert all(world.exists(resource, name) for resource, name in CHILDREN)
        assert sum(caps(world)) <= 25
        calls = len(world.api.calls)
        await asyncio.sleep(3.0)  # the claim is about time passing: no event, so no request
        assert {call.plural for call in world.api.calls[calls:]} <= {"leases"}
        assert world.writes() == [write for write in world.writes() if write.changed], "no write was for nothing"


async def test_a_pool_that_was_there_before_the_operator_becomes_ready(world: Cluster) -> None:
    world.api.create(pool())
    async with world.operator():
        await world.until_ready("shop")


async def test_a_restart_writes_nothing(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
    before = len(world.api.writes)
    async with world.operator(identity="second"):
        await world.until(lambda: world.api.watches.count("connectionpools") == 1, "the second one watches")
        await world.settled()
    assert world.writes(before) == []


async def test_a_deleted_pool_takes_everything_along(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        world.api.delete(CONNECTION_POOLS, ("default", "shop"))
        await world.settled()
        assert not any(world.exists(resource, name) for resource, name in CHILDREN)
        assert world.api.find(PODS) == []


async def test_what_somebody_deleted_or_changed_is_repaired(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
        world.api.delete(SERVICES, ("default", "shop"))
        await world.until(lambda: world.exists(SERVICES, "shop"), "the Service is back")
        key = ("default", naming.deployment("shop"))
        world.api.edit(DEPLOYMENTS, key, lambda body: body["spec"].update(replicas=7))
        await world.until(lambda: world.api.get(DEPLOYMENTS, *key)["spec"]["replicas"] == 2, "2 replicas again")
        await world.until_ready("shop")


async def test_a_raised_maximum_reaches_the_pods_without_a_roll(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        pods = [agent.uid for agent in world.agents.of("default", "shop")]
        world.respec(serverConnections={"max": 40})
        await world.until_ready("shop")
        await world.until(
            lambda: sum(agent.cap for agent in world.agents.of("default", "shop")) > 25, "more is granted"
        )
        await world.settled()
        assert sum(caps(world)) <= 40
        assert [agent.uid for agent in world.agents.of("default", "shop")] == pods


async def test_somebody_elses_service_is_left_as_it_is_and_named(world: Cluster) -> None:
    theirs: Object = {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": "shop"}}
    before = world.api.create(theirs | {"spec": {"ports": [{"port": 80}]}})
    async with world.operator():
        world.api.create(pool())
        await world.until(
            lambda: world.condition("shop", "Ready").get("reason") == "NameConflict", "the conflict is named"
        )
        await world.settled()
    assert world.api.get(SERVICES, "default", "shop") == before


async def test_a_missing_secret_is_named_and_its_arrival_noticed(world: Cluster) -> None:
    secret = world.api.get(SECRETS, "default", "shop-db")
    world.api.delete(SECRETS, ("default", "shop-db"))
    async with world.operator():
        world.api.create(pool())
        await world.until(
            lambda: world.condition("shop", "CredentialsAvailable").get("status") == "False", "the Secret is missed"
        )
        assert "shop-db" in world.condition("shop", "CredentialsAvailable")["message"]
        for field in ("resourceVersion", "uid", "creationTimestamp", "managedFields"):
            del secret["metadata"][field]
        world.api.create(secret)
        await world.until_ready("shop")


async def test_no_secret_reaches_anything_but_secrets(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
    for resource in (CONFIG_MAPS, DEPLOYMENTS, PODS, EVENTS, CONNECTION_POOLS, SERVICES):
        assert "correct horse" not in json.dumps(world.api.find(resource))


@pytest.mark.parametrize("plural", ["configmaps", "deployments", "connectionpools"])
async def test_a_conflict_before_the_first_status_loses_no_name_of_a_secret(world: Cluster, plural: str) -> None:
    for verb in ("apply", "patch", "update"):
        world.api.faults.add(Fault(faults.Answer(409), verb, plural, times=1))
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
        status = world.pool("shop")["status"]
        assert status["binding"] == {"name": naming.connection_secret("shop")}
        assert naming.connection_secret("shop") in status["connectionSecrets"]


async def test_a_conflict_does_not_keep_a_new_password_from_the_connection_secret(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
        login = {"username": "shop", "password": "another good password"}
        world.api.edit(SECRETS, ("default", "shop-db"), lambda body: body.update(stringData=login))
        conflict = world.api.faults.add(Fault(faults.Answer(409), "update", "secrets", times=1))
        world.refresh()
        await world.until(lambda: conflict.times == 0, "a conflict")

        def password() -> str:
            data = world.api.get(SECRETS, "default", naming.connection_secret("shop"))["data"]
            return base64.b64decode(data["password"]).decode()

        await world.until(lambda: password() == "another good password", "the new password")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(faults.Answer(503), verb="create", times=4),
        Fault(faults.Answer(429, retry_after=1), verb="create", times=2),
        Fault(faults.DropAfter(), verb="create", times=5),
        Fault(faults.DropAfter(), verb="apply", times=3),
        Fault(faults.DropBefore(), verb="patch", times=3),
        Fault(faults.Answer(409), verb="apply", times=3),
        Fault(faults.Slow(0.3), times=20),
    ],
    ids=lambda fault: f"{fault.action}-{fault.verb}",
)
async def test_a_pool_becomes_ready_through_faults(world: Cluster, fault: Fault) -> None:
    async with world.operator():
        await world.until(lambda: world.api.watches.count("connectionpools") == 1, "the operator watches")
        world.api.faults.add(Fault(fault.action, fault.verb, times=fault.times))
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
        assert sum(caps(world)) <= 25


async def test_what_happens_while_the_watches_are_cut_is_not_lost(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        gap = world.api.faults.add(Fault(faults.Answer(503), verb="watch", times=None))
        world.api.cut_watches()
        await world.until(lambda: world.api.watches.count() == 0, "no watch is open")
        world.api.create(pool("late"))
        world.api.delete(SERVICES, ("default", "shop"))
        for plural in ("connectionpools", "services", "deployments", "configmaps", "pods"):
            world.api.expire_watches(plural)
        world.api.faults.remove(gap)
        await world.until_ready("late")


async def test_a_leader_that_stops_while_it_lists_leaves_no_connection_open(
    world: Cluster, recwarn: pytest.WarningsRecorder
) -> None:
    world.api.faults.add(Fault(faults.Hang(), verb="list", plural="connectionpools", times=None))
    async with world.operator():
        await world.until(lambda: bool(world.leader()), "it leads")
    gc.collect()  # an aiohttp session that nobody has closed says so as it goes
    assert not [str(each.message) for each in recwarn if each.category is ResourceWarning]


async def test_a_standby_takes_over_from_a_leader_that_stops(world: Cluster) -> None:
    async with world.operator(identity="first") as first:
        await world.until(lambda: world.leader() == "first", "the first leads")
        async with world.operator(identity="second"):
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await world.until(lambda: world.leader() == "second", "the second leads")
            world.api.create(pool())
            await world.until_ready("shop")
