"""What is kept of bodies as a real API server sends them."""

from typing import Any

import pytest
from tests.unit.reconcile import looks

from pgbouncer_operator import naming
from pgbouncer_operator.reconcile.cache import projections, views
from pgbouncer_operator.reconcile.cache.keys import COALESCE, delay, pool_of
from pgbouncer_operator.reconcile.cache.pod_status import REFUSAL_MAX

LABELS = {naming.LABEL_POOL: "shop", naming.LABEL_MANAGED_BY: naming.MANAGED_BY}
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "shop-pgbouncer-6d5f-x2x", "namespace": "web", "uid": "p", "resourceVersion": "12", "labels": LABELS,
        "annotations": {naming.ANNOTATION_CONFIG: "abc", naming.ANNOTATION_POKE: "4-v-0"},
    },
    "status": {
        "phase": "Running", "podIP": "198.18.0.7",
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
        "initContainerStatuses": [{"name": "agent", "state": {"running": {}}}],
        "containerStatuses": [{"name": "pgbouncer", "state": {"running": {}}}],
    },
}  # fmt: skip
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "shop-pgbouncer", "namespace": "web", "uid": "d", "resourceVersion": "7", "generation": 3,
        "labels": LABELS, "annotations": {naming.ANNOTATION_TEMPLATE: "in.out"},
        "ownerReferences": [{"uid": "other"}, {"uid": "pool", "controller": True}],
        "managedFields": [
            {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status"},
            {"manager": naming.FIELD_MANAGER, "operation": "Apply"},
        ],
    },
    "spec": {"replicas": 2, "progressDeadlineSeconds": 600},
    "status": {"observedGeneration": 3, "replicas": 3, "updatedReplicas": 1},
}  # fmt: skip


def pod(**status: Any) -> views.PodView:
    return projections.pod({**POD, "status": POD["status"] | status})


def test_a_running_pod() -> None:
    view = pod()
    assert (view.pool, view.address, view.config, view.poke) == ("shop", "198.18.0.7", "abc", "4-v-0")
    assert (view.ready, view.terminating, view.finished, view.trouble) == (True, False, False, "")


@pytest.mark.parametrize(
    ("owner", "foreign"),
    [
        (None, False),
        ("shop-pgbouncer-6d5f", False),
        ("shop-pgbouncer", False),
        ("shop-web-6d5f", True),
        ("shop-pgbouncerx-6d5f", True),
    ],
)
def test_a_pod_with_the_label_is_foreign_when_its_controller_is_not_of_the_pools_deployment(
    owner: str | None, foreign: bool
) -> None:
    references = [{"kind": "ReplicaSet", "name": owner, "uid": "r", "controller": True}] if owner else []
    metadata = POD["metadata"] | {"ownerReferences": references}
    assert projections.pod({**POD, "metadata": metadata}).foreign is foreign


def test_a_pod_that_nobody_can_place_tells_why() -> None:
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]
    assert pod(conditions=conditions).trouble == "Unschedulable: 0/3 nodes"


def test_a_pod_with_a_node_is_placed() -> None:
    assert projections.pod({**POD, "spec": {"nodeName": "one"}}).placed
    assert not projections.pod({**POD, "spec": {}}).placed


def test_an_image_that_cannot_be_pulled_tells_which_container() -> None:
    waiting = {"name": "agent", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    assert pod(initContainerStatuses=[waiting]).trouble == "container agent: ImagePullBackOff: no such image"


@pytest.mark.parametrize("reason", ["PodInitializing", "ContainerCreating"])
def test_a_container_that_just_waits_its_turn_is_no_trouble(reason: str) -> None:
    waiting = {"name": "pgbouncer", "state": {"waiting": {"reason": reason}}}
    assert pod(containerStatuses=[waiting]).trouble == ""


@pytest.mark.parametrize(("phase", "finished"), [("Failed", True), ("Succeeded", True), ("Running", False)])
def test_a_finished_pod_serves_no_more(phase: str, finished: bool) -> None:
    assert pod(phase=phase).finished is finished


RUNS: dict[str, Any] = {"name": "agent", "state": {"running": {}}}
OVER: dict[str, Any] = {"name": "agent", "state": {"terminated": {"exitCode": 0}}}
WAITS: dict[str, Any] = {"name": "agent", "state": {"waiting": {"reason": "PodInitializing"}}, "lastState": {}}
CRASHED: dict[str, Any] = {
    "name": "agent",
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": OVER["state"],
}


@pytest.mark.parametrize(
    ("phase", "agent", "pgbouncer", "ended"),
    [
        ("Succeeded", OVER, OVER, True),
        ("Failed", OVER, OVER, True),
        ("Failed", OVER, WAITS, True),  # a pod that never got so far
        ("Failed", WAITS, WAITS, True),
        ("Running", OVER, OVER, False),  # both may be started again
        ("Failed", RUNS, RUNS, False),  # a pod of a lost node, as the garbage collector marks it
        ("Failed", OVER, RUNS, False),
        ("Failed", RUNS, OVER, False),
        ("Failed", CRASHED, OVER, False),
        ("Pending", WAITS, WAITS, False),
    ],
)
def test_a_pod_has_ended_when_every_container_of_it_has(
    phase: str, agent: dict[str, Any], pgbouncer: dict[str, Any], ended: bool
) -> None:
    view = pod(phase=phase, initContainerStatuses=[agent], containerStatuses=[pgbouncer])
    assert view.ended is ended


def test_a_pod_that_kubelet_never_took_has_ended() -> None:
    assert pod(phase="Failed", initContainerStatuses=None, containerStatuses=None).ended


def test_a_pod_without_a_status_is_known_by_its_identity() -> None:
    view = projections.pod({key: value for key, value in POD.items() if key != "status"})
    assert (view.uid, view.address, view.ready) == ("p", "", False)


def test_a_deployment_and_its_rollout() -> None:
    view = projections.child(DEPLOYMENT)
    assert (view.owner, view.pool, view.posted) == ("pool", "shop", False)
    assert view.rollout == views.DeploymentProgress(2, "in.out", True, 1, 3)
    assert view.unpack()["spec"] == DEPLOYMENT["spec"]


QUOTA = 'pods "shop-pgbouncer-7c-x" is forbidden: failed quota: team: must specify limits.cpu for: agent'


def refused(message: str, status: str = "True") -> str:
    failure = {"type": "ReplicaFailure", "status": status, "reason": "FailedCreate", "message": message}
    available = {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "m"}
    view = projections.child({**DEPLOYMENT, "status": {"conditions": [available, failure]}})
    assert view.rollout is not None
    return view.rollout.refusal


def test_a_deployment_whose_pods_are_refused_has_the_words_of_whoever_refuses_them() -> None:
    assert refused(QUOTA) == QUOTA
    assert refused(QUOTA, status="False") == ""


def test_the_words_of_a_refusal_are_one_line_and_bounded() -> None:
    assert refused("webhook says:\n\tno") == "webhook says: no"
    assert len(refused("x" * 100_000)) == REFUSAL_MAX


def test_a_deployment_whose_controller_has_not_looked_yet() -> None:
    view = projections.child({**DEPLOYMENT, "status": {"observedGeneration": 2}})
    assert view.rollout is not None
    assert (view.rollout.observed, view.rollout.existing) == (False, 0)


def test_an_object_that_was_posted_and_never_applied() -> None:
    fields = [{"manager": naming.FIELD_MANAGER, "operation": "Update"}]
    assert projections.child({**DEPLOYMENT, "metadata": DEPLOYMENT["metadata"] | {"managedFields": fields}}).posted


def test_a_pool_whose_server_is_in_a_secret_is_found_by_the_server_that_its_status_names() -> None:
    status = {"backend": {"host": "rw.db", "port": 6000}}
    named = {**looks.pool(backend={"secretRef": {"name": "db-app"}}), "status": status}
    assert (projections.pool(named).backend, projections.pool(named).address) == (("db", "rw"), "db/rw:6000")
    assert projections.pool({**named, "status": {}}).address == ""


def test_the_host_of_the_spec_goes_before_that_of_the_status() -> None:
    backend = {"secretRef": {"name": "db-app"}, "host": "pg"}
    named = {**looks.pool(backend=backend), "status": {"backend": {"host": "rw", "port": 6000}}}
    assert projections.pool(named).address == "web/pg:5432"


def test_our_own_status_and_a_new_version_alone_wake_nobody() -> None:
    metadata = {"name": "shop", "namespace": "web", "uid": "u", "resourceVersion": "1", "generation": 1}
    body = {"metadata": metadata, "spec": {"replicas": 2}, "status": {}}
    again = {**body, "metadata": metadata | {"resourceVersion": "2"}, "status": {"replicas": 2}}
    assert projections.pool(body) == projections.pool(again)
    assert projections.pool(body) != projections.pool({**body, "spec": {"replicas": 3}})


def test_an_event_leads_to_its_pool_and_a_users_change_at_once() -> None:
    metadata = {"name": "shop", "namespace": "web", "uid": "u", "resourceVersion": "1"}
    pool = projections.pool({"metadata": metadata})
    assert {pool_of(pool), pool_of(pod()), pool_of(projections.child(DEPLOYMENT))} == {("web", "shop")}
    assert (delay(pool), delay(pod())) == (0.0, COALESCE)


def test_an_object_of_nobody_leads_nowhere() -> None:
    assert pool_of(projections.pod({**POD, "metadata": POD["metadata"] | {"labels": {}}})) is None
