"""Fields of spec.pod under the whole operator: what becomes of a fault in them, and of their removal."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.simulated.apiserver.faults import Answer, Fault
from tests.simulated.operators import Cluster, cluster, pool

from pgbouncer_operator import naming
from pgbouncer_operator.kube.resources import CONNECTION_POOLS, DEPLOYMENTS

TERM = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {naming.LABEL_POOL: "shop"}}}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
APART = {"podAntiAffinity": {REQUIRED: [TERM]}}


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, monkeypatch) as made:
        yield made


def shape(world: Cluster, **pod: Any) -> None:
    """The user gives the pods another shape."""

    def edit(body: Any) -> None:
        body["spec"]["pod"] = pod
        body["metadata"]["generation"] += 1

    world.api.edit(CONNECTION_POOLS, ("default", "shop"), edit)


def template(world: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = world.api.get(DEPLOYMENTS, "default", naming.deployment("shop"))["spec"]["template"]["spec"]
    return found


def pods(world: Cluster) -> set[str]:
    return {agent.uid for agent in world.agents.of("default", "shop")}


async def test_a_misspelt_field_of_affinity_stops_nothing_and_is_named(world: Cluster, unused_tcp_port: int) -> None:
    async with world.operator(unused_tcp_port):
        world.api.create(pool())
        await world.until_ready("shop")
        before = pods(world)
        shape(world, affinity={"podAntiAffinity": {REQUIRED: [{**TERM, "topology": "zone"}]}})
        await world.until(lambda: world.condition("shop", "Stalled").get("reason") == "InvalidSpec", "it is refused")
        message = world.condition("shop", "Stalled")["message"]
        assert f"spec.pod.affinity.podAntiAffinity.{REQUIRED}[0].topology: is not a field" in message
        await world.settled()
        assert pods(world) == before
        shape(world, affinity=APART)
        await world.until(lambda: template(world).get("affinity") == APART, "the correct one is rolled out")
        await world.until(lambda: not before & pods(world), "every pod has it")
        await world.until_ready("shop")


async def test_what_only_the_api_server_refuses_of_a_shape_is_in_the_status_in_its_words(
    world: Cluster, unused_tcp_port: int
) -> None:
    async with world.operator(unused_tcp_port):
        world.api.create(pool())
        await world.until_ready("shop")
        before = pods(world)
        refusing = world.api.faults.add(Fault(Answer(422), verb="patch", plural="deployments", times=None))
        shape(world, affinity=APART)
        await world.until(lambda: world.condition("shop", "Stalled").get("reason") == "ObjectRefused", "it is told")
        assert f"Deployment {naming.deployment('shop')}" in world.condition("shop", "Stalled")["message"]
        assert pods(world) == before
        world.api.faults.remove(refusing)
        await world.until(lambda: not before & pods(world), "the operator tries again by itself")
        await world.until_ready("shop")


async def test_a_service_account_that_is_taken_out_is_gone_from_the_pods(world: Cluster, unused_tcp_port: int) -> None:
    async with world.operator(unused_tcp_port):
        world.api.create(pool())
        await world.until_ready("shop")
        for name in ("shop", "other", None):
            shape(world, **({"serviceAccountName": name} if name else {}))
            await world.until(
                lambda name=name: template(world).get("serviceAccountName") == name, f"pods run as {name}"
            )
            await world.until_ready("shop")
        assert "serviceAccount" not in template(world)
        await world.settled()
