import asyncio
import json
from collections.abc import AsyncIterator, Callable
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
    ENDPOINT_SLICES,
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


async def test_a_pool_becomes_ready_and_then_nothing_is_written_or_read(world: Cluster, unused_tcp_port: int) -> None:
    async with world.operator(unused_tcp_port):
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
        assert all(world.exists(resource, name) for resource, name in CHILDREN)
        assert sum(caps(world)) <= 25
        calls = len(world.api.calls)
        await asyncio.sleep(3.0)  # the claim is about time passing: no event, so no request
        assert {call.plural for call in world.api.calls[calls:]} <= {"leases"}
        assert world.writes() == [write for write in world.writes() if write.changed], "no write was for nothing"


async def test_a_pool_that_was_there_before_the_operator_becomes_ready(world: Cluster, unused_tcp_port: int) -> None:
    world.api.create(pool())
    async with world.operator(unused_tcp_port):
        await world.until_ready("shop")


async def test_a_restart_writes_nothing(world: Cluster, unused_tcp_port: int) -> None:
    async with world.operator(unused_tcp_port):
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
    before = len(world.api.writes)
    async with world.operator(unused_tcp_port, identity="second"):
        await world.until(lambda: world.api.watches.count("connectionpools") == 1, "the second one watches")
        await world.settled()
    assert world.writes(before) == []


async def test_a_deleted_pool_takes_everything_along(world: Cluster, unused_tcp_port: int) -> None:
    async with world.operator(unused_tcp_port):
        world.api.create(pool())
        await world.until_ready("shop")
        world.api.delete(CONNECTION_POOLS, ("default", "shop"))
        await world.settled()
        assert not any(world.exists(resource, name) for resource, name in CHILDREN)
        assert world.api.find(PODS) == []


async def test_what_somebody_deleted_or_changed_is_repaired(world: Cluster, unused_tcp_port: int) -> None:
    async with world.operator(unused_tcp_port):
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
        world.api.delete(SERVICES, ("default", "shop"))
        await world.until(lambda: world.exists(SERVICES, "shop"), "the Service is back")
        key = ("default", naming.deployment("shop"))
        world.api.edit(DEPLOYMENTS, key, lambda body: body["spec"].update(replicas=7))
        await world.until(lambda: world.api.get(DEPLOYMENTS, *key)["spec"]["replicas"] == 2, "2 replicas again")
        await world.until_ready("shop")


async def test_a_raised_maximum_reaches_the_pods_without_a_roll(world: Cluster, unused_tcp_port: int) -> None:
    async with world.operator(unused_tcp_port):
        world.api.create(pool())
        await world.until_ready("shop")
        pods = [agent.uid for agent in world.agents.of("default", "shop")]
        world.api.edit(
            CONNECTION_POOLS, ("default", "shop"), lambda body: body["spec"].update(serverConnections={"max": 40})
        )
        await world.until_ready("shop")
        await world.until(
            lambda: sum(agent.cap for agent in world.agents.of("default", "shop")) > 25, "more is granted"
        )
        await world.settled()
        assert sum(caps(world)) <= 40
        assert [agent.uid for agent in world.agents.of("default", "shop")] == pods


async def test_somebody_elses_service_is_left_as_it_is_and_named(world: Cluster, unused_tcp_port: int) -> None:
    theirs: Object = {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": "shop"}}
    before = world.api.create(theirs | {"spec": {"ports": [{"port": 80}]}})
    async with world.operator(unused_tcp_port):
        world.api.create(pool())
        await world.until(
            lambda: world.condition("shop", "Ready").get("reason") == "NameConflict", "the conflict is named"
        )
        await world.settled()
    assert world.api.get(SERVICES, "default", "shop") == before


async def test_a_missing_secret_is_named_and_its_arrival_noticed(world: Cluster, unused_tcp_port: int) -> None:
    secret = world.api.get(SECRETS, "default", "shop-db")
    world.api.delete(SECRETS, ("default", "shop-db"))
    async with world.operator(unused_tcp_port):
        world.api.create(pool())
        await world.until(
            lambda: world.condition("shop", "CredentialsAvailable").get("status") == "False", "the Secret is missed"
        )
        assert "shop-db" in world.condition("shop", "CredentialsAvailable")["message"]
        for field in ("resourceVersion", "uid", "creationTimestamp", "managedFields"):
            del secret["metadata"][field]
        world.api.create(secret)
        await world.until_ready("shop")


async def test_no_secret_reaches_anything_but_secrets(world: Cluster, unused_tcp_port: int) -> None:
    async with world.operator(unused_tcp_port):
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
    for resource in (CONFIG_MAPS, DEPLOYMENTS, PODS, EVENTS, CONNECTION_POOLS, SERVICES):
        assert "correct horse" not in json.dumps(world.api.find(resource))


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
async def test_a_pool_becomes_ready_through_faults(world: Cluster, unused_tcp_port: int, fault: Fault) -> None:
    async with world.operator(unused_tcp_port):
        await world.until(lambda: world.api.watches.count("connectionpools") == 1, "the operator watches")
        world.api.faults.add(Fault(fault.action, fault.verb, times=fault.times))
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
        assert sum(caps(world)) <= 25


async def test_what_happens_while_the_watches_are_cut_is_not_lost(world: Cluster, unused_tcp_port: int) -> None:
    async with world.operator(unused_tcp_port):
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


async def test_a_standby_takes_over_from_a_leader_that_stops(
    world: Cluster, unused_tcp_port_factory: Callable[[], int]
) -> None:
    async with world.operator(unused_tcp_port_factory(), identity="first") as first:
        await world.until(lambda: world.leader() == "first", "the first leads")
        async with world.operator(unused_tcp_port_factory(), identity="second"):
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await world.until(lambda: world.leader() == "second", "the second leads")
            world.api.create(pool())
            await world.until_ready("shop")


def endpoint_slice(address: str) -> Object:
    metadata = {"namespace": "default", "name": "postgres-abc12", "labels": {naming.LABEL_SERVICE: "postgres"}}
    endpoints = [{"addresses": [address], "conditions": {"ready": True}}]
    body: Object = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata}
    return body | {"addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 5432}]}


def on_pods(world: Cluster, annotation: str) -> set[str]:
    return {(pod["metadata"].get("annotations") or {}).get(annotation, "") for pod in world.api.find(PODS)}


async def test_a_failover_behind_the_service_is_told_to_every_pod_and_a_restart_tells_nothing(
    world: Cluster, unused_tcp_port: int
) -> None:
    world.api.create(endpoint_slice("10.1.0.1"))
    async with world.operator(unused_tcp_port):
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
        assert on_pods(world, naming.ANNOTATION_RECONNECT) == {"default/postgres=10.1.0.1"}
        before = len(world.api.writes)
        world.api.edit(
            ENDPOINT_SLICES,
            ("default", "postgres-abc12"),
            lambda body: body.update(endpoints=endpoint_slice("10.1.0.2")["endpoints"]),
        )
        await world.until(
            lambda: on_pods(world, naming.ANNOTATION_RECONNECT) == {"default/postgres=10.1.0.2"}, "both pods are told"
        )
        await world.settled()
        assert [write.plural for write in world.writes(before)] == ["pods", "pods"]
    before = len(world.api.writes)
    async with world.operator(unused_tcp_port, identity="second"):
        await world.until(lambda: world.api.watches.count("endpointslices") == 1, "the second one watches")
        await world.settled()
    assert world.writes(before) == []


async def test_without_the_right_to_see_endpoint_slices_everything_else_works(
    world: Cluster, unused_tcp_port: int
) -> None:
    for verb in ("list", "watch"):
        world.api.faults.add(Fault(faults.Answer(403), verb=verb, plural="endpointslices", times=None))
    async with world.operator(unused_tcp_port):
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
        asked = [call for call in world.api.calls if call.plural == "endpointslices"]
        assert len(asked) == 1, "it is asked once, and not again and again"
        assert on_pods(world, naming.ANNOTATION_RECONNECT) == {""}


async def test_all_pods_know_each_others_addresses_and_a_new_pod_waits_for_no_address(
    world: Cluster, unused_tcp_port: int
) -> None:
    async with world.operator(unused_tcp_port):
        world.api.create(pool(replicas=3))
        await world.until_ready("shop")
        await world.settled()
        ledger = world.api.get(CONFIG_MAPS, "default", naming.grants_config_map("shop"))["data"][naming.GRANTS_KEY]
        addresses = {pod["metadata"]["uid"]: pod["status"]["podIP"] for pod in world.api.find(PODS)}
        assert json.loads(ledger)["peers"] == addresses
        assert len(addresses) == 3


async def test_a_pause_is_one_document_that_no_restart_moves_and_goes_when_traffic_flows(
    world: Cluster, unused_tcp_port: int
) -> None:
    key = ("default", naming.config_map("shop"))

    def document() -> str:
        text: str = world.api.get(CONFIG_MAPS, *key)["data"].get(naming.TRAFFIC_KEY, "")
        return text

    def set_traffic(traffic: str) -> None:
        world.api.edit(CONNECTION_POOLS, ("default", "shop"), lambda body: body["spec"].update(traffic=traffic))

    async with world.operator(unused_tcp_port):
        world.api.create(pool(pauseTimeoutSeconds=600))
        await world.until_ready("shop")
        pokes = on_pods(world, naming.ANNOTATION_POKE)
        set_traffic("Paused")
        await world.until(lambda: document() != "", "the pause is written")
        await world.until(lambda: not pokes & on_pods(world, naming.ANNOTATION_POKE), "every pod is poked")
        told = document()
    async with world.operator(unused_tcp_port, identity="second"):
        await world.until(lambda: world.api.watches.count("connectionpools") == 1, "the second one watches")
        assert document() == told
        pokes = on_pods(world, naming.ANNOTATION_POKE)
        set_traffic("Flowing")
        await world.until(lambda: document() == "", "the pause is gone")
        await world.until(lambda: not pokes & on_pods(world, naming.ANNOTATION_POKE), "every pod is poked")


async def test_the_refresh_annotation_reads_secrets_and_pokes_all_pods_at_once(
    world: Cluster, unused_tcp_port: int
) -> None:
    async with world.operator(unused_tcp_port):
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
        pokes = on_pods(world, naming.ANNOTATION_POKE)
        password = {"password": "aW4gYSBodXJyeQ=="}
        world.api.edit(SECRETS, ("default", "shop-db"), lambda body: body["data"].update(password))
        world.api.edit(
            CONNECTION_POOLS,
            ("default", "shop"),
            lambda body: body["metadata"].setdefault("annotations", {}).update({naming.ANNOTATION_REFRESH: "1"}),
        )
        await world.until(lambda: not pokes & on_pods(world, naming.ANNOTATION_POKE), "every pod is poked")
        secret = naming.connection_secret("shop")
        await world.until(
            lambda: world.api.get(SECRETS, "default", secret)["data"]["password"] == password["password"],
            "the connection Secret has the new password",
        )
