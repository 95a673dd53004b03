"""A deployment controller and a kubelet in one: makes Pods of Deployments, rolls them, and lets a test play the node.

    async with ApiServer() as api:
        node = Node(api)               # pods become ready at once …
        node.ready_at_once = False     # … or when the test says so: node.ready("ns", "pod")

Simplified: there is no ReplicaSet, a pod belongs to its Deployment. Rolling updates honour maxSurge and maxUnavailable,
scaling down honours the pod-deletion-cost annotation and then takes the newest.
"""

import hashlib
import json
import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.simulated.apiserver.kinds import Kind
from tests.simulated.apiserver.records import Change, Key, Object, clone
from tests.simulated.apiserver.server import ApiServer

from pgbouncer_operator.kube.resources import DEPLOYMENTS, PODS

HASH = "pod-template-hash"
COST = "controller.kubernetes.io/pod-deletion-cost"
REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, slots=True)
class _Bounds:
    """How far a rollout may go: most pods at once, and fewest available ones."""

    most: int
    fewest: int


class Node:
    """Watches the storage directly. What it does it does at once, before the write that caused it is answered."""

    def __init__(self, api: ApiServer, ip_of: Callable[[Object], str] | None = None) -> None:
        """`ip_of` gives a new pod its address, for instance of something that listens there; default 127.0.0.x."""
        self.ready_at_once = True
        self.gone_at_once = True  # a deleted pod disappears at once; else it is terminating until `finish`
        self._api = api
        self._ip_of = ip_of or self._next_ip
        self._born = 0
        self._started = 0
        self._pods_of: dict[Key, dict[str, int]] = defaultdict(dict)  # by deployment: names of pods and their ages
        self._todo: deque[Callable[[], None]] = deque()
        self._working = False
        api.storage.listeners.append(self._hear)

    def pods(self, namespace: str, deployment: str) -> list[Object]:
        """The Pods of a Deployment, oldest first, terminating ones included. Not to be changed."""
        ages = self._pods_of[namespace, deployment]
        return [self._api.storage.peek(PODS, namespace, name) for name in sorted(ages, key=ages.__getitem__)]

    def ready(self, namespace: str, name: str, ready: bool = True) -> None:
        """Let a pod's readiness probe succeed or fail."""

        def report(pod: Object) -> None:
            pod["status"]["phase"] = "Running"
            pod["status"]["conditions"] = _conditions(ready)
            for container in pod["status"]["containerStatuses"]:
                container |= {"ready": ready, "started": True, "state": {"running": {"startedAt": _now()}}}

        self._api.edit(PODS, (namespace, name), report, "status")

    def finish(self, namespace: str, name: str) -> None:
        """Let a terminating pod's containers end: the pod says so, and is gone."""

        def report(pod: Object) -> None:
            pod["status"]["phase"] = "Succeeded"
            pod["status"]["conditions"] = _conditions(False)
            for container in pod["status"]["containerStatuses"]:
                container |= {"ready": False, "started": False, "state": {"terminated": {"exitCode": 0}}}

        self._api.edit(PODS, (namespace, name), report, "status")
        self._api.delete(PODS, (namespace, name), gracePeriodSeconds=0)

    def vanish(self, namespace: str, name: str) -> None:
        """Delete a pod by force: its object is gone, and nobody has said that it ended."""
        self._api.delete(PODS, (namespace, name), gracePeriodSeconds=0)

    def _hear(self, kind: Kind, change: Change) -> None:
        metadata = change.body["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        if kind.resource is DEPLOYMENTS and change.type != "DELETED":
            self._todo.append(lambda: self._settle((namespace, name)))
        elif kind.resource is PODS and (deployment := _deployment_of(change.body)):
            if change.type == "ADDED":
                self._born += 1
                self._pods_of[namespace, deployment][name] = self._born  # timestamps have only seconds
                self._todo.append(lambda: self._start((namespace, name)))
            elif change.type == "DELETED":
                del self._pods_of[namespace, deployment][name]
            elif "deletionTimestamp" in metadata and self.gone_at_once:
                self._todo.append(lambda: self._end((namespace, name)))
            self._todo.append(lambda: self._settle((namespace, deployment)))
        elif kind.resource is PODS and change.type == "MODIFIED":
            self._let_go(namespace, name)
        self._work()

    def _let_go(self, namespace: str, name: str) -> None:
        """A pod without an owner is no Deployment's any more."""
        for key, ages in self._pods_of.items():
            if key[0] == namespace and ages.pop(name, None) is not None:
                self._todo.append(lambda key=key: self._settle(key))  # type: ignore[misc]

    def _work(self) -> None:
        if self._working:
            return
        self._working = True
        try:
            while self._todo:
                self._todo.popleft()()
        finally:
            self._working = False

    def _start(self, key: Key) -> None:
        if not self._exists(PODS.plural, key):
            return
        ip = self._ip_of(self._api.storage.peek(PODS, *key))

        def report(pod: Object) -> None:
            names = [container["name"] for container in pod["spec"]["containers"]]
            statuses = [{"name": name, "ready": False, "restartCount": 0, "state": {"waiting": {}}} for name in names]
            pod["status"] = {"phase": "Pending", "podIP": ip, "podIPs": [{"ip": ip}], "startTime": _now()}
            pod["status"] |= {"conditions": _conditions(False), "containerStatuses": statuses}

        self._api.edit(PODS, key, report, "status")
        if self.ready_at_once:
            self.ready(*key)

    def _end(self, key: Key) -> None:
        if self._exists(PODS.plural, key):
            self.finish(*key)

    def _settle(self, key: Key) -> None:
        """One step of the deployment controller; each pod that changes brings the next."""
        if not self._exists(DEPLOYMENTS.plural, key):
            return
        deployment = self._api.storage.peek(DEPLOYMENTS, *key)
        if "deletionTimestamp" in deployment["metadata"]:
            return
        template = _hash(deployment)
        living = [pod for pod in self.pods(*key) if "deletionTimestamp" not in pod["metadata"]]
        new = [pod for pod in living if pod["metadata"]["labels"][HASH] == template]
        self._create(deployment, template, living, len(new))
        for pod in self._superfluous(deployment, living, new):
            if self._exists(PODS.plural, (key[0], pod["metadata"]["name"])):
                self._api.delete(PODS, (key[0], pod["metadata"]["name"]))
        self._report(key, template)

    def _create(self, deployment: Object, template: str, living: list[Object], new: int) -> None:
        replicas = deployment["spec"]["replicas"]
        for _ in range(max(0, min(replicas - new, _bounds(deployment).most - len(living)))):
            self._api.create(_pod(deployment, template, self._born))

    def _superfluous(self, deployment: Object, living: list[Object], new: list[Object]) -> Iterable[Object]:
        replicas, bounds = deployment["spec"]["replicas"], _bounds(deployment)
        ages = {id(pod): age for age, pod in enumerate(new)}
        cheap = sorted(new, key=lambda pod: (_cost(pod), -ages[id(pod)]))
        yield from cheap[: max(0, len(new) - replicas)]
        old = [pod for pod in living if pod not in new]
        spare = sum(map(_is_ready, living)) - bounds.fewest
        for pod in sorted(old, key=lambda pod: (_is_ready(pod), _cost(pod))):
            if _is_ready(pod):
                if spare <= 0:
                    return
                spare -= 1
            yield pod

    def _report(self, key: Key, template: str) -> None:
        if not self._exists(DEPLOYMENTS.plural, key):
            return
        living = [pod for pod in self.pods(*key) if "deletionTimestamp" not in pod["metadata"]]
        ready = sum(map(_is_ready, living))

        def report(deployment: Object) -> None:
            replicas = deployment["spec"]["replicas"]
            available = "True" if ready >= _bounds(deployment).fewest else "False"
            counts = {"replicas": len(living), "readyReplicas": ready, "availableReplicas": ready}
            counts["updatedReplicas"] = sum(pod["metadata"]["labels"][HASH] == template for pod in living)
            counts["unavailableReplicas"] = max(0, replicas - ready)
            deployment["status"] = {name: count for name, count in counts.items() if count}
            deployment["status"]["observedGeneration"] = deployment["metadata"]["generation"]
            deployment["status"]["conditions"] = [{"type": "Available", "status": available}]
            deployment["metadata"].setdefault("annotations", {}).setdefault(REVISION, "1")

        self._api.edit(DEPLOYMENTS, key, report, "status")

    def _exists(self, plural: str, key: Key) -> bool:
        return self._api.storage.exists(plural, key)

    def _next_ip(self, _: Object) -> str:
        self._started += 1
        return f"127.0.{self._started // 250}.{self._started % 250 + 2}"


def _pod(deployment: Object, template: str, number: int) -> Object:
    metadata, source = deployment["metadata"], deployment["spec"]["template"]
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"], "uid": metadata["uid"]}
    name = hashlib.sha256(f"{metadata['uid']}/{number}".encode()).hexdigest()[:5]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": metadata["namespace"],
            "name": f"{metadata['name']}-{template}-{name}",
            "labels": {**source["metadata"].get("labels", {}), HASH: template},
            "annotations": dict(source["metadata"].get("annotations") or {}),
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": {**clone(source["spec"]), "nodeName": "simulated"},
    }


def _bounds(deployment: Object) -> _Bounds:
    replicas, strategy = deployment["spec"]["replicas"], deployment["spec"]["strategy"]
    if strategy["type"] == "Recreate":
        return _Bounds(replicas, 0)
    surge = _share(strategy["rollingUpdate"]["maxSurge"], replicas, math.ceil)
    missing = _share(strategy["rollingUpdate"]["maxUnavailable"], replicas, math.floor)
    return _Bounds(replicas + surge, replicas - (missing if surge or missing else 1))


def _share(value: int | str, of: int, rounded: Callable[[float], int]) -> int:
    return rounded(of * int(value[:-1]) / 100) if isinstance(value, str) else value


def _hash(deployment: Object) -> str:
    template = json.dumps(deployment["spec"]["template"], sort_keys=True)
    return hashlib.sha256(template.encode()).hexdigest()[:10]


def _deployment_of(pod: Object) -> str:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((owner["name"] for owner in owners if owner["kind"] == "Deployment"), "")


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _cost(pod: Object) -> int:
    return int((pod["metadata"].get("annotations") or {}).get(COST, "0"))


def _conditions(ready: bool) -> list[Object]:
    conditions = [{"type": "Initialized", "status": "True"}]
    return conditions + [{"type": name, "status": str(ready)} for name in ("ContainersReady", "Ready")]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
