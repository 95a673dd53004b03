"""Server connections that follow their clients: capacity comes before the pods that need it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
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
    HORIZONTAL_POD_AUTOSCALERS,
    STATEFUL_SETS,
)

KEY = ("default", "web")


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, monkeypatch) as made:
        yield made


def following(*workloads: Object, most: int = 60, **sizing: Any) -> Object:
    chosen = {"mode": "Workloads", "perClientReplica": 2} | sizing
    return pool(serverConnections={"max": most, "sizing": chosen}, clients={"workloads": list(workloads)})


def deployment(name: str = "web", replicas: int = 5, **spec: Any) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": "default", "name": name, "labels": labels},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


def stateful_set(name: str, replicas: int) -> Object:
    return {**deployment(name, replicas), "kind": "StatefulSet"}


def autoscale(world: Cluster, desired: int, most: int, target: str = "web") -> None:
    """An autoscaler that has decided, before its target was changed."""
    body: Object = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"namespace": "default", "name": target},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "maxReplicas": most,
        },
    }
    world.api.create(body)
    key = ("default", target)
    world.api.edit(HORIZONTAL_POD_AUTOSCALERS, key, lambda it: it.update(status={"desiredReplicas": desired}), "status")


def scale(world: Cluster, replicas: int, name: str = "web") -> None:
    world.api.edit(DEPLOYMENTS, ("default", name), lambda body: body["spec"].update(replicas=replicas))


def granted(world: Cluster) -> int:
    """What the living pods may hold by the ledger, once each of them has confirmed it."""
    agents = world.agents.of("default", "shop")
    text = world.api.get(CONFIG_MAPS, "default", naming.grants_config_map("shop"))["data"][naming.GRANTS_KEY]
    entries = json.loads(text)["pods"]
    caps = [entries.get(agent.uid, {}).get("cap", 0) for agent in agents]
    return sum(caps) if caps == [agent.cap for agent in agents] else -1


def status(world: Cluster) -> Object:
    found: Object = world.pool("shop").get("status") or {}
    return found


def size(world: Cluster) -> int | None:
    found: int | None = status(world).get("serverConnections", {}).get("size")
    return found


def advised(world: Cluster) -> dict[str, str]:
    return {each["reason"]: each["message"] for each in status(world).get("advice", ())}


async def test_capacity_is_there_before_the_first_new_client_is_ready(world: Cluster) -> None:
    world.api.create(deployment(replicas=5))
    async with world.operator():
        world.api.create(following({"kind": "Deployment", "name": "web"}))
        await world.until_ready("shop")
        await world.until(lambda: granted(world) == 10, "two for each of five")
        world.agents.node.ready_at_once = False
        scale(world, 20)
        await world.until(lambda: granted(world) == 40, "two for each of twenty")
        assert world.api.get(DEPLOYMENTS, *KEY)["status"].get("readyReplicas") == 5
        await world.until(lambda: size(world) == 40, "and status says so")
        told = status(world)["recommendation"]
        assert told == {
            "value": 40,
            "reason": "Enough",
            "inputs": "20 client replicas, 2 connections for each",
        }
        scale(world, 5)
        await world.until(lambda: granted(world) == 10, "and they are given back")
        events = [each["message"] for each in world.api.find(EVENTS) if each["reason"] == "Resized"]
        assert any(message.startswith("The size changes from 10 to 40 server connections. ") for message in events)


async def test_what_does_not_fit_is_clamped_and_told(world: Cluster) -> None:
    world.api.create(deployment(replicas=31))
    autoscale(world, 31, 80)
    async with world.operator():
        world.api.create(following({"name": "web"}))
        await world.until_ready("shop")
        await world.until(lambda: granted(world) == 60, "all there is, and no more")
        assert status(world)["recommendation"]["reason"] == "AtLimit"
        assert "80 replicas, for which 160 connections are needed" in advised(world)["ClientsMayOutgrow"]


async def test_an_autoscaler_that_has_decided_is_believed_before_its_target_follows(world: Cluster) -> None:
    world.api.create(deployment(replicas=5))
    async with world.operator():
        world.api.create(following({"name": "web"}))
        await world.until_ready("shop")
        await world.until(lambda: granted(world) == 10, "two for each of five")
        await world.until(lambda: world.api.watches.count("horizontalpodautoscalers") == 1, "autoscalers are watched")
        autoscale(world, 12, 20)
        await world.until(lambda: granted(world) == 24, "two for each of the twelve that it wants")


async def test_a_rollouts_surge_counts_while_it_lasts(world: Cluster) -> None:
    rolling = {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 0}}}
    world.api.create(deployment(replicas=5, **rolling))
    async with world.operator():
        world.api.create(following({"name": "web"}))
        await world.until_ready("shop")
        await world.until(lambda: granted(world) == 10, "two for each of five")
        world.agents.node.ready_at_once = False
        template = {"template": {**deployment()["spec"]["template"], "metadata": {"labels": {"app": "web", "v": "2"}}}}
        world.api.edit(DEPLOYMENTS, KEY, lambda body: body["spec"].update(template))
        await world.until(lambda: granted(world) == 16, "three pods more than five")
        world.agents.node.ready_at_once = True
        for pod in world.agents.node.pods(*KEY):
            world.agents.node.ready("default", pod["metadata"]["name"])
        await world.until(lambda: granted(world) == 10, "the rollout is over")


async def test_workloads_are_found_by_their_labels_and_each_counts_once(world: Cluster) -> None:
    world.api.create(deployment(replicas=4))
    world.api.create(stateful_set("batch", 3))
    world.api.create(deployment("other", replicas=9))
    web = [{"selector": {"matchLabels": {"app": "web"}}}, {"name": "web"}]
    batch = {"kind": "StatefulSet", "selector": {"matchLabels": {"app": "batch"}}}
    async with world.operator():
        world.api.create(following(*web, batch))
        await world.until_ready("shop")
        await world.until(lambda: granted(world) == 14, "two for each of four and three")
        await world.until(lambda: world.api.watches.count("statefulsets") == 1, "workloads are watched")
        world.api.delete(STATEFUL_SETS, ("default", "batch"))
        scale(world, 9)
        await world.until(lambda: granted(world) == 18, "two for each of nine")
        scale(world, 4)
        await world.settled()
        assert granted(world) == 18, "what is gone may come again"
        world.api.edit(CONNECTION_POOLS, ("default", "shop"), lambda it: it["spec"]["clients"].update(workloads=web))
        await world.until(lambda: granted(world) == 8, "two for each of four")


async def test_nothing_is_watched_while_no_pool_asks(world: Cluster) -> None:
    world.api.create(deployment())
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        await world.settled()
    kinds = {"statefulsets", "replicasets", "horizontalpodautoscalers"}
    assert not [call for call in world.api.calls if call.plural in kinds]


async def test_what_may_not_be_listed_is_unknown_and_the_size_is_held(world: Cluster) -> None:
    """An API server that refuses is no sign of clients that are gone."""
    world.api.create(deployment(replicas=5))
    by_labels = {"selector": {"matchLabels": {"app": "web"}}}
    async with world.operator():
        world.api.create(following(by_labels))
        await world.until(lambda: size(world) == 10, "two for each of five")
        await world.until_ready("shop")
    world.api.faults.add(Fault(faults.Answer(403), verb="list", plural="replicasets", times=None))
    async with world.operator(identity="second"):
        await world.until(lambda: "ClientsUnknown" in advised(world), "it is told")
        assert size(world) == 10
        assert granted(world) == 10
        scale(world, 20)
        await world.settled()
        assert size(world) == 10


async def test_a_workload_that_is_not_there_is_told_and_the_size_is_held(world: Cluster) -> None:
    async with world.operator():
        world.api.create(following({"kind": "Deployment", "name": "webb"}))
        await world.until_ready("shop")
        missing = "Not found in this namespace: Deployment webb."
        await world.until(lambda: missing in advised(world).get("ClientsNotFound", ""), "told")
        assert size(world) == 60


async def test_a_restart_keeps_the_size_and_writes_nothing(world: Cluster) -> None:
    world.api.create(deployment(replicas=5))
    async with world.operator():
        world.api.create(following({"name": "web"}))
        await world.until_ready("shop")
        await world.until(lambda: size(world) == 10, "two for each of five")
        await world.settled()
    before = len(world.api.writes)
    async with world.operator(identity="second"):
        await world.until(lambda: world.api.watches.count("horizontalpodautoscalers") == 1, "the second one watches")
        await world.settled()
        assert world.writes(before) == []
        scale(world, 6)
        await world.until(lambda: size(world) == 12, "and it follows")


async def test_a_pool_that_begins_to_follow_later_is_brought_to_its_size(world: Cluster) -> None:
    world.api.create(deployment(replicas=5))
    async with world.operator():
        world.api.create(pool())
        await world.until_ready("shop")
        await world.until(lambda: granted(world) == 25, "fixed")
        spec = following({"name": "web"}, most=25)["spec"]
        world.respec(**spec)
        await world.until(lambda: granted(world) == 10, "two for each of five")
        scale(world, 0)
        await world.until(lambda: granted(world) == 3, "one for each of two pods and of a roll")


async def test_less_than_the_least_is_never_held(world: Cluster) -> None:
    world.api.create(deployment(replicas=1))
    async with world.operator():
        world.api.create(following({"name": "web"}, min=8))
        await world.until_ready("shop")
        await world.until(lambda: granted(world) == 8, "the least")


async def test_the_size_by_a_workload_counts_for_pods_that_come(world: Cluster) -> None:
    """Pods that share a smaller size still all fit: scaling by /scale is never held up by it."""
    world.api.create(deployment(replicas=1))
    async with world.operator():
        world.api.create(following({"name": "web"}))
        await world.until_ready("shop")
        world.respec(replicas=6)
        await world.until_ready("shop")
        await world.until(lambda: len(world.agents.of("default", "shop")) == 6, "six pods")
        await world.until(lambda: granted(world) == 7, "one for each of six pods and of a roll")


async def test_a_restart_in_mode_demand_goes_on_from_the_size_that_was_told(world: Cluster) -> None:
    async with world.operator():
        world.api.create(pool(serverConnections={"max": 25, "sizing": {"mode": "Demand"}}))
        await world.until_ready("shop")
        await world.until(lambda: size(world) == 25, "all there is, before anything is measured")
        await world.settled()
    world.api.edit(
        CONNECTION_POOLS,
        ("default", "shop"),
        lambda body: body["status"]["serverConnections"].update(size=12),  # as measured in the meantime
        "status",
    )
    async with world.operator(identity="second"):
        await world.until(lambda: granted(world) == 12, "what was told")
        await world.settled()
        assert size(world) == 12


async def test_sizes_and_advice_are_metrics(world: Cluster, unused_tcp_port: int) -> None:
    async with world.operator(unused_tcp_port), aiohttp.ClientSession() as session:
        world.api.create(following({"name": "webb"}))
        await world.until_ready("shop")
        await world.until(lambda: "ClientsNotFound" in advised(world), "told")
        async with session.get(f"http://127.0.0.1:{unused_tcp_port}/metrics") as answer:
            text = await answer.text()
    assert 'pgbouncer_operator_pool_size{namespace="default",pool="shop"} 60.0' in text
    assert 'pool_advice{namespace="default",pool="shop",reason="ClientsNotFound"} 1.0' in text
