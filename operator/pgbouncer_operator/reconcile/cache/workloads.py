"""The workloads whose pods are clients of a pool: the view of each, and how many replicas they have. Pure.

What is unknown is None, never 0: a pool whose clients are unknown keeps its size.
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
    """A workload."""

    namespace: str
    """Its namespace."""
    name: str
    """Its name."""
    uid: str
    """Its UID."""
    resource_version: int = field(compare=False)
    """Version of the object."""
    kind: str
    """Its kind."""
    labels: tuple[tuple[str, str], ...]
    """Its labels, sorted."""
    replicas: int
    """Pods wanted."""
    surge: int
    """Pods that a rollout may add while it is under way."""
    ready: int = field(compare=False)
    """Pods that are ready."""
    automatic: bool
    """Whether a Deployment made this ReplicaSet: its pods count there."""


@dataclass(frozen=True, slots=True)
class AutoscalerView:
    """A HorizontalPodAutoscaler."""

    namespace: str
    """Its namespace."""
    name: str
    """Its name."""
    uid: str
    """Its UID."""
    resource_version: int = field(compare=False)
    """Version of the object."""
    kind: str
    """Kind of what it scales."""
    target: str
    """Name of what it scales."""
    desired: int
    """Replicas that it wants now."""
    most: int
    """Replicas that it may want at most."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An entry of spec.clients.workloads."""

    kinds: tuple[str, ...]
    """Kinds that it may mean."""
    name: str
    """Name of the workload; empty when labels select it."""
    labels: tuple[tuple[str, str], ...]
    """Labels that select workloads; empty with a name."""

    def means(self, view: WorkloadView) -> bool:
        """Whether the entry names that workload."""
        if view.kind not in self.kinds:
            return False
        return view.name == self.name if self.name else not view.automatic and set(self.labels) <= set(view.labels)

    def __str__(self) -> str:
        kind = self.kinds[0] if len(self.kinds) == 1 else "workload"
        return f"{kind} {self.name}" if self.name else f"{kind} with {','.join(map('='.join, self.labels))}"


@dataclass(frozen=True, slots=True)
class ClientReplicas:
    """Replicas of all workloads of a pool together."""

    desired: int
    """Replicas that they are about to have, with the surge of rollouts."""
    ready: int = field(compare=False)
    """Replicas that are ready."""
    most: int
    """Replicas that autoscalers may bring them to; at least `desired`."""
    found: int
    """Number of workloads."""
    missing: tuple[str, ...] = ()
    """Entries that name no workload."""


def project(kind: str, body: Body) -> WorkloadView | AutoscalerView:
    """The view of a workload or an autoscaler."""
    return _autoscaler(body) if kind == AUTOSCALER else _workload(kind, body)


def references(body: Body) -> tuple[Reference, ...]:
    """The workloads that a ConnectionPool names. An entry that cannot be read names none."""
    entries: Sequence[Any] = ((body.get("spec") or {}).get("clients") or {}).get("workloads") or ()
    read = (_reference(entry) for entry in entries if isinstance(entry, Mapping))
    return tuple(each for each in read if each is not None)


def count(
    asked: Iterable[Reference], workloads: Iterable[WorkloadView], scalers: Iterable[AutoscalerView]
) -> ClientReplicas:
    """Replicas of the workloads that are named, each workload counted once."""
    existing, by_target = tuple(workloads), {(each.kind, each.target): each for each in scalers}
    chosen: dict[tuple[str, str], WorkloadView] = {}
    missing = []
    for one in asked:
        meant = {(each.kind, each.name): each for each in existing if one.means(each)}
        chosen |= meant
        if not meant:
            missing.append(str(one))
    desired = most = 0
    for key, view in chosen.items():
        scaler = by_target.get(key)
        # An autoscaler is switched off while its target is scaled to 0, whatever it wanted before.
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
    """Pods that a rollout may add while pods of a former template exist. Percentages are rounded up."""
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
