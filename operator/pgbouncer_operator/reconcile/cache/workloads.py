"""The workloads whose pods are clients of a pool: the little we keep of each, and how many replicas they have. Pure.

What cannot be known is None, never 0: a pool without known clients keeps its size.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgbouncer_operator.api.clients import WorkloadKind

Body = Mapping[str, Any]
KINDS = tuple(each.value for each in WorkloadKind)
AUTOSCALER = "HorizontalPodAutoscaler"
DEFAULT_SURGE = "25%"  # of a Deployment's replicas


@dataclass(frozen=True, slots=True)
class WorkloadView:
    """A workload. replicas: wanted. surge: what a rollout that is under way may add. ready: pods that serve now.

    automatic: a ReplicaSet that a Deployment made, whose pods are counted there.
    """

    namespace: str
    name: str
    uid: str
    resource_version: int = field(compare=False)
    kind: str
    labels: tuple[tuple[str, str], ...]
    replicas: int
    surge: int
    ready: int = field(compare=False)
    automatic: bool


@dataclass(frozen=True, slots=True)
class AutoscalerView:
    """A HorizontalPodAutoscaler: what it scales, how many replicas it wants now, and may want at most."""

    namespace: str
    name: str
    uid: str
    resource_version: int = field(compare=False)
    kind: str
    target: str
    desired: int
    most: int


@dataclass(frozen=True, slots=True)
class Reference:
    """An entry of spec.clients.workloads: kinds, and a name or labels."""

    kinds: tuple[str, ...]
    name: str
    labels: tuple[tuple[str, str], ...]

    def means(self, view: WorkloadView) -> bool:
        """Whether the entry is about that workload."""
        if view.kind not in self.kinds:
            return False
        return view.name == self.name if self.name else not view.automatic and set(self.labels) <= set(view.labels)

    def __str__(self) -> str:
        kind = self.kinds[0] if len(self.kinds) == 1 else "workload"
        return f"{kind} {self.name}" if self.name else f"{kind} with {','.join(map('='.join, self.labels))}"


@dataclass(frozen=True, slots=True)
class ClientReplicas:
    """All workloads of a pool. desired: replicas they are about to have, a rollout's surge included. ready: that serve.

    most: replicas that autoscalers may bring them to, at least `desired`. found: how many workloads there are.
    missing: entries that are about none.
    """

    desired: int
    ready: int = field(compare=False)
    most: int
    found: int
    missing: tuple[str, ...] = ()


def project(kind: str, body: Body) -> WorkloadView | AutoscalerView:
    """The projection of a workload or an autoscaler."""
    return _autoscaler(body) if kind == AUTOSCALER else _workload(kind, body)


def references(body: Body) -> tuple[Reference, ...]:
    """What a ConnectionPool's body refers to; entries that cannot be read refer to nothing."""
    entries: Sequence[Any] = ((body.get("spec") or {}).get("clients") or {}).get("workloads") or ()
    found = (_reference(entry) for entry in entries if isinstance(entry, Mapping))
    return tuple(each for each in found if each is not None)


def count(
    asked: Iterable[Reference], workloads: Iterable[WorkloadView], scalers: Iterable[AutoscalerView]
) -> ClientReplicas:
    """How many replicas there are and will be of the workloads that are asked for, each counted once."""
    all_of_them, by_target = tuple(workloads), {(each.kind, each.target): each for each in scalers}
    chosen: dict[tuple[str, str], WorkloadView] = {}
    missing = []
    for one in asked:
        meant = {(each.kind, each.name): each for each in all_of_them if one.means(each)}
        chosen |= meant
        if not meant:
            missing.append(str(one))
    desired = most = 0
    for key, view in chosen.items():
        scaler = by_target.get(key)
        # An autoscaler rests while somebody has scaled its target to 0, whatever it wanted before.
        now = max(view.replicas, scaler.desired) if scaler and view.replicas else view.replicas
        desired += now + view.surge
        most += max(now, scaler.most if scaler else 0) + view.surge
    return ClientReplicas(desired, sum(each.ready for each in chosen.values()), most, len(chosen), tuple(missing))


def _workload(kind: str, body: Body) -> WorkloadView:
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    owners = metadata.get("ownerReferences") or ()
    replicas = int(spec.get("replicas", 1))
    return WorkloadView(
        **_identity(metadata),
        kind=kind,
        labels=tuple(sorted((metadata.get("labels") or {}).items())),
        replicas=replicas,
        surge=_surge(spec, status, replicas) if kind == WorkloadKind.DEPLOYMENT else 0,
        ready=int(status.get("readyReplicas", 0)),
        automatic=any(each.get("controller") and each.get("kind") == WorkloadKind.DEPLOYMENT for each in owners),
    )


def _surge(spec: Body, status: Body, replicas: int) -> int:
    """Pods that a rollout may add while pods of a former template exist; percentages are rounded up."""
    strategy = spec.get("strategy") or {}
    old = int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))
    if old <= 0 or strategy.get("type") == "Recreate":
        return 0
    most = str((strategy.get("rollingUpdate") or {}).get("maxSurge", DEFAULT_SURGE))
    return math.ceil(replicas * int(most[:-1]) / 100) if most.endswith("%") else int(most)


def _autoscaler(body: Body) -> AutoscalerView:
    spec, status = body["spec"], body.get("status") or {}
    target = spec["scaleTargetRef"]
    return AutoscalerView(
        **_identity(body["metadata"]),
        kind=target["kind"],
        target=target["name"],
        desired=int(status.get("desiredReplicas", 0)),
        most=int(spec["maxReplicas"]),
    )


def _reference(entry: Body) -> Reference | None:
    kind, name = entry.get("kind"), entry.get("name")
    labels = (entry.get("selector") or {}).get("matchLabels") or {}
    if not name and not labels:
        return None
    kinds = (kind,) if kind else (WorkloadKind.DEPLOYMENT.value,) if name else KINDS
    return Reference(kinds, name or "", tuple(sorted(labels.items())) if not name else ())


def _identity(metadata: Body) -> dict[str, Any]:
    return {
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resource_version": int(metadata["resourceVersion"]),
    }
