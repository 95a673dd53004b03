from typing import Any

import pytest
from tests.simulated.apiserver.kubelet import COST, Node
from tests.simulated.apiserver.records import Object
from tests.simulated.apiserver.server import ApiServer

from pgbouncer_operator.kube.resources import DEPLOYMENTS, PODS

KEY = ("default", "d")


def deployment(replicas: int, **strategy: Any) -> Object:
    container = {"name": "c", "image": "one", "readinessProbe": {"exec": {"command": ["true"]}}}
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "d"}}, "template": template}
    if strategy:
        spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": strategy}
    metadata = {"namespace": "default", "name": "d"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


@pytest.fixture
def api() -> ApiServer:
    return ApiServer()


def image(api: ApiServer, name: str) -> None:
    api.edit(DEPLOYMENTS, KEY, lambda body: body["spec"]["template"]["spec"]["containers"][0].update(image=name))


def images(node: Node) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in node.pods(*KEY)]


def status(api: ApiServer) -> Object:
    return {key: value for key, value in api.get(DEPLOYMENTS, *KEY)["status"].items() if key != "conditions"}


async def test_a_deployment_gets_its_pods_and_reports_them(api: ApiServer) -> None:
    node = Node(api)
    api.create(deployment(2))
    first, second = node.pods(*KEY)
    assert first["status"]["podIP"] != second["status"]["podIP"]
    assert status(api) == {
        "observedGeneration": 1,
        "replicas": 2,
        "updatedReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
    }


async def test_pods_are_ready_when_the_test_says_so(api: ApiServer) -> None:
    node = Node(api)
    node.ready_at_once = False
    api.create(deployment(2))
    name = node.pods(*KEY)[0]["metadata"]["name"]
    assert "readyReplicas" not in status(api)
    node.ready("default", name)
    assert status(api)["readyReplicas"] == 1
    node.ready("default", name, ready=False)
    assert status(api)["unavailableReplicas"] == 2


async def test_a_new_template_rolls_all_pods(api: ApiServer) -> None:
    node = Node(api)
    api.create(deployment(3))
    image(api, "two")
    assert images(node) == ["two"] * 3
    assert status(api)["observedGeneration"] == 2


async def test_a_rollout_waits_for_readiness_and_keeps_the_old_pods_meanwhile(api: ApiServer) -> None:
    node = Node(api)
    api.create(deployment(2, maxSurge=1, maxUnavailable=0))
    node.ready_at_once = False
    image(api, "two")
    assert images(node) == ["one", "one", "two"]
    node.ready("default", node.pods(*KEY)[-1]["metadata"]["name"])
    assert images(node) == ["one", "two", "two"]
    node.ready("default", node.pods(*KEY)[-1]["metadata"]["name"])
    assert images(node) == ["two", "two"]


async def test_a_deleted_pod_is_terminating_until_its_end_and_is_replaced_at_once(api: ApiServer) -> None:
    node = Node(api)
    node.gone_at_once = False
    api.create(deployment(1))
    (old,) = node.pods(*KEY)
    api.delete(PODS, ("default", old["metadata"]["name"]))
    assert ["deletionTimestamp" in pod["metadata"] for pod in node.pods(*KEY)] == [True, False]
    node.finish("default", old["metadata"]["name"])
    assert len(node.pods(*KEY)) == 1


async def test_scaling_down_takes_the_cheapest_pod(api: ApiServer) -> None:
    node = Node(api)
    api.create(deployment(3))
    names = [pod["metadata"]["name"] for pod in node.pods(*KEY)]

    def cheap(pod: Object) -> None:
        pod["metadata"].setdefault("annotations", {})[COST] = "-10"

    api.edit(PODS, ("default", names[1]), cheap)
    api.edit(DEPLOYMENTS, KEY, lambda body: body["spec"].update(replicas=2))
    assert [pod["metadata"]["name"] for pod in node.pods(*KEY)] == [names[0], names[2]]


async def test_the_pods_of_a_deleted_deployment_go(api: ApiServer) -> None:
    node = Node(api)
    api.create(deployment(2))
    api.delete(DEPLOYMENTS, KEY)
    assert node.pods(*KEY) == []
    assert api.find(PODS) == []


async def test_a_pods_address_can_be_chosen(api: ApiServer) -> None:
    node = Node(api, ip_of=lambda pod: "127.9.9.9")
    api.create(deployment(1))
    assert node.pods(*KEY)[0]["status"]["podIP"] == "127.9.9.9"
