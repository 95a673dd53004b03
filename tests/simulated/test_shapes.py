"""Fields of pods, Service and connection Secrets under the whole operator: faults in them, and their removal."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.simulated.apiserver.faults import Answer, Fault
from tests.simulated.operators import Cluster, cluster, pool

from pgbouncer_operator import naming
from pgbouncer_operator.kube.resources import DEPLOYMENTS, SECRETS, SERVICES, Resource

TERM = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {naming.LABEL_POOL: "shop"}}}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
APART = {"podAntiAffinity": {REQUIRED: [TERM]}}


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, monkeypatch) as made:
        yield made


def shape(world: Cluster, **pod: Any) -> None:
    """The user gives the pods another shape."""
    world.respec(pod=pod)


def service(world: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = world.api.get(SERVICES, "default", "shop")["spec"]
    return found


def template(world: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = world.api.get(DEPLOYMENTS, "default", naming.deployment("shop"))["spec"]["template"]["spec"]
    return found


def pods(world: Cluster) -> set[str]:
    return {agent.uid for agent in world.agents.of("default", "shop")}


async def refused(world: Cluster, resource: Resource, name: str, **spec: Any) -> Fault:
    """The API server refuses the object of a new spec, and the status says so. Returns what refuses, to be removed."""
    refusing = world.api.faults.add(Fault(Answer(422), verb="patch", plural=resource.plural, times=None))
    world.respec(**spec)
    await world.until(lambda: world.condition("shop", "Stalled").get("reason") == "ObjectRefused", "it is told")
    assert f"{resource.kind} {name}" in world.condition("shop", "Stalled")["message"]
    return refusing


async def test_a_misspelt_field_of_affinity_stops_nothing_and_is_named(world: Cluster) -> None:
    async with world.operator():
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


async def test_what_only_the_api_server_refuses_of_a_shape_is_in_the_status_in_its_words(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        before = pods(world)
        refusing = await refused(world, DEPLOYMENTS, naming.deployment("shop"), pod={"affinity": APART})
        assert pods(world) == before
        world.api.faults.remove(refusing)
        await world.until(lambda: not before & pods(world), "the operator tries again by itself")
        await world.until_ready("shop")


async def test_a_service_account_that_is_taken_out_is_gone_from_the_pods(world: Cluster) -> None:
    async with world.operator():
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


async def test_a_service_takes_every_field_at_once_and_gives_them_back_and_no_pod_is_replaced(world: Cluster) -> None:
    shaped = {
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "trafficDistribution": "PreferSameZone",
        "ipFamilyPolicy": "RequireDualStack",
        "ipFamilies": ["IPv4", "IPv6"],
        "sessionAffinity": "ClientIP",
    }
    async with world.operator():
        world.api.create(pool(clients={"tls": {"secretName": "shop-tls"}}))
        await world.until(lambda: world.exists(SERVICES, "shop"), "the Service is made")
        await world.settled()
        before = pods(world)
        world.respec(service={**shaped, "nodePort": 30432})
        await world.until(lambda: shaped.items() <= service(world).items(), "the Service has every field")
        assert service(world)["ports"][0]["nodePort"] == 30432
        await world.settled()
        world.respec(service={"ipFamilyPolicy": "SingleStack"})
        await world.until(lambda: service(world)["type"] == "ClusterIP", "the Service is one of the cluster again")
        assert not {"trafficDistribution", "sessionAffinityConfig"} & service(world).keys()
        assert (service(world)["sessionAffinity"], service(world)["ipFamilyPolicy"]) == ("None", "SingleStack")
        await world.settled()
        assert pods(world) == before


async def test_a_service_that_the_api_server_refuses_keeps_nobody_from_connecting(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        before = pods(world)
        refusing = await refused(world, SERVICES, "shop", service={"ipFamilyPolicy": "RequireDualStack"})
        assert (service(world)["ports"][0]["port"], pods(world)) == (6432, before)
        world.api.faults.remove(refusing)
        await world.until_ready("shop")
        assert service(world)["ipFamilyPolicy"] == "RequireDualStack"


def entry(**more: Any) -> dict[str, Any]:
    return {"name": "app", "database": "shop", "user": "shop", **more}


def secret(world: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = world.api.get(SECRETS, "default", "app")
    return found


async def test_keys_and_labels_of_a_connection_secret_follow_the_spec_and_those_of_others_stay(world: Cluster) -> None:
    marks = {"labels": {"team": "shop"}, "annotations": {"example.com/mirror": "yes"}}

    def adopt(body: Any) -> None:
        body["metadata"]["labels"]["theirs"] = "1"
        body["metadata"].setdefault("annotations", {})["example.com/mirrored-at"] = "now"

    async with world.operator():
        world.api.create(pool(connectionSecrets=[entry()]))
        await world.until_ready("shop")
        before, plain = pods(world), secret(world)["metadata"]["labels"]
        assert "annotations" not in secret(world)["metadata"]
        world.api.edit(SECRETS, ("default", "app"), adopt)
        world.respec(connectionSecrets=[entry(**marks, keys={"MY_URL": "{uri}&a=b"})])
        await world.until(lambda: "MY_URL" in secret(world)["data"], "the key is there")
        metadata = secret(world)["metadata"]
        assert metadata["labels"] == {**plain, "theirs": "1", "team": "shop"}
        assert metadata["annotations"] == {"example.com/mirrored-at": "now", "example.com/mirror": "yes"}
        await world.settled()
        world.respec(connectionSecrets=[entry(labels={"team": "web"})])
        await world.until(lambda: "MY_URL" not in secret(world)["data"], "the key is gone")
        metadata = secret(world)["metadata"]
        assert metadata["labels"] == {**plain, "theirs": "1", "team": "web"}
        assert metadata["annotations"] == {"example.com/mirrored-at": "now"}
        world.respec(connectionSecrets=[entry()])
        await world.until(lambda: "team" not in secret(world)["metadata"]["labels"], "a label alone is taken away, too")
        await world.settled()
        assert pods(world) == before
