"""How many replicas clients have, and are about to have."""

from typing import Any

import pytest

from pgbouncer_operator.reconcile.cache.workloads import (
    AutoscalerView,
    ClientReplicas,
    Reference,
    WorkloadView,
    project,
    references,
)
from pgbouncer_operator.reconcile.cache.workloads import count as counted

Body = dict[str, Any]


def metadata(name: str, **more: Any) -> Body:
    return {"namespace": "web", "name": name, "uid": f"uid-{name}", "resourceVersion": "7", **more}


def workload(name: str = "web", kind: str = "Deployment", replicas: int = 5, **status: Any) -> WorkloadView:
    body = {"metadata": metadata(name, labels={"app": name}), "spec": {"replicas": replicas}, "status": status}
    found = project(kind, body)
    assert isinstance(found, WorkloadView)
    return found


def rolled(strategy: Body, status: Body) -> int:
    body = {"metadata": metadata("web"), "spec": {"replicas": 5, "strategy": strategy}, "status": status}
    found = project("Deployment", body)
    assert isinstance(found, WorkloadView)
    return found.surge


def scaler(desired: int, most: int, target: str = "web", kind: str = "Deployment") -> AutoscalerView:
    spec = {"scaleTargetRef": {"kind": kind, "name": target}, "maxReplicas": most}
    body = {"metadata": metadata("hpa"), "spec": spec, "status": {"desiredReplicas": desired}}
    found = project("HorizontalPodAutoscaler", body)
    assert isinstance(found, AutoscalerView)
    return found


def named(name: str = "web", kind: str = "Deployment") -> Reference:
    return Reference((kind,), name, ())


@pytest.mark.parametrize(
    ("sentence", "strategy", "status", "surge"),
    [
        ("nothing rolls", {}, {"replicas": 5, "updatedReplicas": 5}, 0),
        ("scaled up, nothing rolls", {}, {"replicas": 9, "updatedReplicas": 9}, 0),
        ("a quarter, rounded up", {}, {"replicas": 5, "updatedReplicas": 1}, 2),
        ("a number", {"rollingUpdate": {"maxSurge": 3}}, {"replicas": 5}, 3),
        ("a percentage", {"rollingUpdate": {"maxSurge": "100%"}}, {"replicas": 5}, 5),
        ("none", {"rollingUpdate": {"maxSurge": 0}}, {"replicas": 5}, 0),
        ("recreated, never more than wanted", {"type": "Recreate"}, {"replicas": 5}, 0),
        ("not seen by its controller yet", {}, {}, 0),
    ],
)
def test_a_rollouts_surge_counts_while_pods_of_a_former_template_exist(
    sentence: str, strategy: Body, status: Body, surge: int
) -> None:
    assert rolled(strategy, status) == surge, sentence


def test_replicas_that_are_not_said_are_one() -> None:
    found = project("StatefulSet", {"metadata": metadata("db"), "spec": {}})
    assert isinstance(found, WorkloadView)
    assert (found.replicas, found.surge, found.ready) == (1, 0, 0)


def test_an_autoscaler_says_what_is_about_to_be_and_what_may_be() -> None:
    view = workload(replicas=5, readyReplicas=4)
    assert counted([named()], [view], []) == ClientReplicas(5, 4, 5, 1)
    assert counted([named()], [view], [scaler(8, 20)]) == ClientReplicas(8, 4, 20, 1)
    assert counted([named()], [view], [scaler(3, 20)]) == ClientReplicas(5, 4, 20, 1), "pods that are there are there"
    assert counted([named()], [view], [scaler(8, 20, target="other")]) == ClientReplicas(5, 4, 5, 1)
    assert counted([named()], [view], [scaler(8, 20, kind="StatefulSet")]) == ClientReplicas(5, 4, 5, 1)


def test_an_autoscaler_rests_while_its_target_is_scaled_to_zero() -> None:
    assert counted([named()], [workload(replicas=0)], [scaler(8, 20)]).desired == 0


def test_a_workload_that_two_entries_mean_counts_once() -> None:
    by_label = Reference(("Deployment", "StatefulSet", "ReplicaSet"), "", (("app", "web"),))
    views = [workload(), workload("web", kind="StatefulSet", replicas=2), workload("api", replicas=9)]
    assert counted([named(), by_label], views, []).desired == 7


def test_a_deployments_own_replica_sets_do_not_count_and_those_of_others_do() -> None:
    by_label = Reference(("Deployment", "ReplicaSet"), "", (("app", "web"),))

    def owned(kind: str) -> WorkloadView:
        owners = [{"kind": kind, "name": "x", "controller": True}]
        body = {"metadata": metadata("web-1", labels={"app": "web"}, ownerReferences=owners), "spec": {"replicas": 5}}
        found = project("ReplicaSet", body)
        assert isinstance(found, WorkloadView)
        return found

    assert counted([by_label], [workload(), owned("Deployment")], []).desired == 5
    assert counted([by_label], [owned("Rollout")], []).desired == 5


def test_what_is_not_there_is_named() -> None:
    missing = Reference(("Deployment", "StatefulSet", "ReplicaSet"), "", (("a", "b"), ("c", "d")))
    found = counted([named("webb"), missing], [workload()], [])
    assert (found.desired, found.found) == (0, 0)
    assert found.missing == ("Deployment webb", "workload with a=b,c=d")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"name": "web"}, Reference(("Deployment",), "web", ())),
        ({"kind": "StatefulSet", "name": "db"}, Reference(("StatefulSet",), "db", ())),
        ({"kind": "Deployment", "selector": {"matchLabels": {"b": "2", "a": "1"}}},
         Reference(("Deployment",), "", (("a", "1"), ("b", "2")))),
        ({"selector": {"matchLabels": {"a": "1"}}},
         Reference(("Deployment", "StatefulSet", "ReplicaSet"), "", (("a", "1"),))),
    ],
)  # fmt: skip
def test_entries_are_read_from_a_pools_body(entry: Body, expected: Reference) -> None:
    assert references({"spec": {"clients": {"workloads": [entry]}}}) == (expected,)


@pytest.mark.parametrize(
    "clients", [None, {}, {"workloads": None}, {"workloads": [{}]}, {"workloads": [{"kind": "X"}]}]
)
def test_what_cannot_be_read_refers_to_nothing(clients: Any) -> None:
    assert references({"spec": {"clients": clients}}) == ()


def test_a_pod_that_becomes_ready_wakes_nobody() -> None:
    assert workload(readyReplicas=1) == workload(readyReplicas=5)
