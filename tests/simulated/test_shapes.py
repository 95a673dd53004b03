"""Fields of pods and of the Service under the whole operator: what becomes of a fault in them, and of their removal."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.simulated.apiserver.faults import Answer, Fault
from tests.simulated.operators import Cluster, cluster, pool

from pgbouncer_operator import naming
from pgbouncer_operator.kube.resources import CONNECTION_POOLS, DEPLOYMENTS, SERVICES

TERM = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {naming.LABEL_POOL: "shop"}}}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
APART = {"podAntiAffinity": {REQUIRED: [TERM]}}


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, monkeypatch) as made:
        yield made


def respecify(world: Cluster, **spec: Any) -> None:
    def edit(body: Any) -> None:
        body["spec"] |= spec
        body["metadata"]["generation"] += 1

    world.api.edit(CONNECTION_POOLS, ("default", "shop"), edit)


def shape(world: Cluster, **pod: Any) -> None:
    """The user gives the pods another shape."""
    respecify(world, pod=pod)


def service(world: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = world.api.get(SERVICES, "default", "shop")["spec"]
    return found


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


async def test_a_service_takes_every_field_at_once_and_gives_them_back_and_no_pod_is_replaced(
    world: Cluster, unused_tcp_port: int
) -> None:
    shaped = {
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "trafficDistribution": "PreferSameZone",
        "ipFamilyPolicy": "RequireDualStack",
        "ipFamilies": ["IPv4", "IPv6"],
        "sessionAffinity": "ClientIP",
    }
    async with world.operator(unused_tcp_port):
        world.api.create(pool(clients={"tls": {"secretName": "shop-tls"}}))
        await world.until(lambda: world.exists(SERVICES, "shop"), "the Service is made")
        await world.settled()
        before = pods(world)
        respecify(world, service={**shaped, "nodePort": 30432})
        await world.until(lambda: shaped.items() <= service(world).items(), "the Service has every field")
        assert service(world)["ports"][0]["nodePort"] == 30432
        await world.settled()
        respecify(world, service={"ipFamilyPolicy": "SingleStack"})
        await world.until(lambda: service(world)["type"] == "ClusterIP", "the Service is one of the cluster again")
        assert not {"trafficDistribution", "sessionAffinityConfig"} & service(world).keys()
        assert (service(world)["sessionAffinity"], service(world)["ipFamilyPolicy"]) == ("None", "SingleStack")
        await world.settled()
        assert pods(world) == before


async def test_a_service_that_the_api_server_refuses_keeps_nobody_from_connecting(
    world: Cluster, unused_tcp_port: int
) -> None:
    async with world.operator(unused_tcp_port):
        world.api.create(pool())
        await world.until_ready("shop")
        before = pods(world)
        refusing = world.api.faults.add(Fault(Answer(422), verb="patch", plural="services", times=None))
        respecify(world, service={"ipFamilyPolicy": "RequireDualStack"})
        await world.until(lambda: world.condition("shop", "Stalled").get("reason") == "ObjectRefused", "it is told")
        assert "Service shop" in world.condition("shop", "Stalled")["message"]
        assert (service(world)["ports"][0]["port"], pods(world)) == (6432, before)
        world.api.faults.remove(refusing)
        await world.until_ready("shop")
        assert service(world)["ipFamilyPolicy"] == "RequireDualStack"
