"""What reaches every pod through its annotations: failovers, addresses, pauses, and Secrets on demand."""

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
    ENDPOINT_SLICES,
    PODS,
    POSTGRES_SERVERS,
    SECRETS,
)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, monkeypatch) as made:
        yield made


def endpoint_slice(address: str) -> Object:
    metadata = {"namespace": "default", "name": "postgres-abc12", "labels": {naming.LABEL_SERVICE: "postgres"}}
    endpoints = [{"addresses": [address], "conditions": {"ready": True}}]
    body: Object = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata}
    return body | {"addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 5432}]}


def on_pods(world: Cluster, annotation: str) -> set[str]:
    return {(pod["metadata"].get("annotations") or {}).get(annotation, "") for pod in world.api.find(PODS)}


async def test_a_failover_behind_the_service_is_told_to_every_pod_and_a_restart_tells_nothing(world: Cluster) -> None:
    world.api.create(endpoint_slice("10.1.0.1"))
    async with world.operator():
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
    async with world.operator(identity="second"):
        await world.until(lambda: world.api.watches.count("endpointslices") == 1, "the second one watches")
        await world.settled()
    assert world.writes(before) == []


async def test_without_the_right_to_see_endpoint_slices_everything_else_works(world: Cluster) -> None:
    for verb in ("list", "watch"):
        world.api.faults.add(Fault(faults.Answer(403), verb=verb, plural="endpointslices", times=None))
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
        asked = [call for call in world.api.calls if call.plural == "endpointslices"]
        assert len(asked) == 1, "it is asked once, and not again and again"
        assert on_pods(world, naming.ANNOTATION_RECONNECT) == {""}


async def test_all_pods_know_each_others_addresses_and_a_new_pod_waits_for_no_address(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool(replicas=3))
        await world.until_ready("shop")
        await world.settled()
        ledger = world.api.get(CONFIG_MAPS, "default", naming.grants_config_map("shop"))["data"][naming.GRANTS_KEY]
        addresses = {pod["metadata"]["uid"]: pod["status"]["podIP"] for pod in world.api.find(PODS)}
        assert json.loads(ledger)["peers"] == addresses
        assert len(addresses) == 3


async def test_a_pause_is_one_document_that_no_restart_moves_and_goes_when_traffic_flows(world: Cluster) -> None:
    key = ("default", naming.config_map("shop"))

    def document() -> str:
        text: str = world.api.get(CONFIG_MAPS, *key)["data"].get(naming.TRAFFIC_KEY, "")
        return text

    async with world.operator():
        world.api.create(pool(pauseTimeoutSeconds=600))
        await world.until_ready("shop")
        pokes = on_pods(world, naming.ANNOTATION_POKE)
        world.respec(traffic="Paused")
        await world.until(lambda: document() != "", "the pause is written")
        await world.until(lambda: not pokes & on_pods(world, naming.ANNOTATION_POKE), "every pod is poked")
        told = document()
    async with world.operator(identity="second"):
        await world.until(lambda: world.api.watches.count("connectionpools") == 1, "the second one watches")
        assert document() == told
        pokes = on_pods(world, naming.ANNOTATION_POKE)
        world.respec(traffic="Flowing")
        await world.until(lambda: document() == "", "the pause is gone")
        await world.until(lambda: not pokes & on_pods(world, naming.ANNOTATION_POKE), "every pod is poked")


async def test_the_refresh_annotation_reads_secrets_and_pokes_all_pods_at_once(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
        pokes = on_pods(world, naming.ANNOTATION_POKE)
        password = {"password": "aW4gYSBodXJyeQ=="}
        world.api.edit(SECRETS, ("default", "shop-db"), lambda body: body["data"].update(password))
        world.refresh()
        await world.until(lambda: not pokes & on_pods(world, naming.ANNOTATION_POKE), "every pod is poked")
        secret = naming.connection_secret("shop")
        await world.until(
            lambda: world.api.get(SECRETS, "default", secret)["data"]["password"] == password["password"],
            "the connection Secret has the new password",
        )


async def test_a_kind_that_comes_after_the_operator_is_watched_from_the_next_list_on(world: Cluster) -> None:
    missing = world.api.faults.add(Fault(faults.Answer(404), plural=POSTGRES_SERVERS.plural, times=None))
    async with world.operator(resync=0.5):
        world.api.create(pool())
        await world.until_ready("shop")
        assert world.api.watches.count(POSTGRES_SERVERS.plural) == 0
        world.api.faults.remove(missing)
        await world.until(lambda: world.api.watches.count(POSTGRES_SERVERS.plural) == 1, "it is watched")
        await world.until(lambda: world.api.watches.count(CONNECTION_POOLS.plural) == 1, "and nothing twice")
