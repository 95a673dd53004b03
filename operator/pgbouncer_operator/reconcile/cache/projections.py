"""Makes the view of each object from its body, as a list, an event or the answer to a write brings it. Pure."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.reconcile.cache import endpoints
from pgbouncer_operator.reconcile.cache.endpoints import Service
from pgbouncer_operator.reconcile.cache.pod_status import FINISHED, ended, refusal, trouble
from pgbouncer_operator.reconcile.cache.views import (
    ChildView,
    DeploymentProgress,
    PodView,
    PoolView,
    ServerView,
    SliceView,
)
from pgbouncer_operator.reconcile.cache.workloads import references
from pgbouncer_operator.resources.template_version import version_in
from pgbouncer_operator.sizing.allocation import Allocations, Entry
from pgbouncer_operator.sizing.limits import ServerLimits

Body = Mapping[str, Any]
COMPARED = ("data", "spec", "stringData", "type")  # the parts of a child's body that the operator sets, beside metadata


def pool(body: Body) -> PoolView:
    """The view of a ConnectionPool."""
    metadata = body["metadata"]
    return PoolView(
        **_identity(metadata),
        generation=int(metadata.get("generation", 0)),
        deleting="deletionTimestamp" in metadata,
        spec=_json(body.get("spec") or {}),
        status=_json(body.get("status") or {}),
        created=metadata.get("creationTimestamp", ""),
        backend=_backend(body),
        refresh=(metadata.get("annotations") or {}).get(naming.ANNOTATION_REFRESH, ""),
        clients=references(body),
        server=_server(body),
        address=_address(body, _place(body)),
        operator=_operator(body),
        template_version=version_in(metadata.get("annotations") or {}),
    )


def server(body: Body) -> ServerView:
    """The view of a PostgresServer."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    host = spec.get("host")
    return ServerView(
        **_identity(metadata),
        generation=int(metadata.get("generation", 0)),
        deleting="deletionTimestamp" in metadata,
        spec=_json(spec),
        status=_json(status),
        allocations=_allocations(body, status),
        backend=endpoints.service(host, metadata.get("namespace", "")) if isinstance(host, str) else None,
        address=_address(body, spec),
        limits=_limits(body, status),
        budget=status.get("budget"),
        created=metadata.get("creationTimestamp", ""),
        operator=_operator(body),
    )


def child(body: Body) -> ChildView:
    """The view of a ConfigMap, Service, Deployment or PodDisruptionBudget of a pool."""
    metadata = body["metadata"]
    labels = metadata.get("labels") or {}
    annotations = metadata.get("annotations") or {}
    compared = {key: body[key] for key in COMPARED if key in body}
    compared["metadata"] = {"labels": labels, "annotations": annotations}
    return ChildView(
        **_identity(metadata),
        kind=body["kind"],
        pool=labels.get(naming.LABEL_POOL, ""),
        owner=controller(metadata).get("uid", ""),
        applied=annotations.get(naming.ANNOTATION_APPLIED, ""),
        posted=any(
            each.get("manager") == naming.FIELD_MANAGER
            and each.get("operation") == "Update"
            and not each.get("subresource")
            for each in metadata.get("managedFields") or ()
        ),
        packed=zlib.compress(_json(compared).encode(), 1),
        rollout=_rollout(body) if body["kind"] == "Deployment" else None,
    )


def pod(body: Body, pool: str | None = None) -> PodView:
    """The view of a pod of a pool. pool: its pool's name, whatever its label says; None for what the label says."""
    metadata, status = body["metadata"], body.get("status") or {}
    annotations = metadata.get("annotations") or {}
    pool = pool_label(body) if pool is None else pool
    owner = controller(metadata).get("name", "")  # a ReplicaSet has its Deployment's name and a hash
    return PodView(
        **_identity(metadata),
        pool=pool,
        address=status.get("podIP", ""),
        terminating="deletionTimestamp" in metadata,
        ready=any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ()),
        finished=status.get("phase") in FINISHED,
        config=annotations.get(naming.ANNOTATION_CONFIG, ""),
        poke=annotations.get(naming.ANNOTATION_POKE, ""),
        trouble=trouble(status),
        placed=bool((body.get("spec") or {}).get("nodeName")),
        reconnect=annotations.get(naming.ANNOTATION_RECONNECT, ""),
        ended=ended(status),
        foreign=bool(owner) and not f"{owner}-".startswith(f"{naming.deployment(pool)}-"),
        template_version=version_in(annotations),
    )


def pool_label(body: Body) -> str:
    """The name of the pool that an object's label says; empty without the label."""
    return str((body["metadata"].get("labels") or {}).get(naming.LABEL_POOL, ""))


def endpoint_slice(body: Body) -> SliceView:
    """The view of an EndpointSlice."""
    metadata = body["metadata"]
    service = (metadata.get("labels") or {}).get(naming.LABEL_SERVICE, "")
    return SliceView(**_identity(metadata), service=service, ready=endpoints.addresses(body))


def controller(metadata: Body) -> Body:
    """The owner reference that controls an object; empty when there is none."""
    return next((each for each in metadata.get("ownerReferences") or () if each.get("controller")), {})


def _place(body: Body) -> Body:
    """Where a pool's server is: by the spec, or by the status where the spec names a Secret. It only finds the pool."""
    named: Body = (body.get("spec") or {}).get("backend") or {}
    by_secret = "secretRef" in named and "host" not in named
    return ((body.get("status") or {}).get("backend") or {}) if by_secret else named


def _backend(body: Body) -> Service | None:
    host = _place(body).get("host")
    return endpoints.service(host, body["metadata"].get("namespace", "")) if isinstance(host, str) else None


def _server(body: Body) -> tuple[str, str] | None:
    named = ((body.get("spec") or {}).get("backend") or {}).get("serverRef") or {}
    return (named.get("namespace") or body["metadata"].get("namespace", ""), named["name"]) if "name" in named else None


def _operator(body: Body) -> str:
    named = (body.get("status") or {}).get("operator")
    return named if isinstance(named, str) else ""


def _address(body: Body, place: Body) -> str:
    host, namespace = place.get("host"), body["metadata"].get("namespace", "")
    return endpoints.address(host, place.get("port", 5432), namespace) if isinstance(host, str) else ""


def _allocations(body: Body, status: Body) -> Allocations:
    """The allocations in a status. When they cannot be read, the pools' ledgers bring them back."""
    try:
        entries = [_entry(each) for each in status.get("allocations") or ()]
    except (KeyError, TypeError):
        return Allocations(0, {})
    address = status.get("address") or (_address(body, body.get("spec") or {}) if _unchanged(body, status) else "")
    return Allocations(int(status.get("seq") or 0), {each.pool: each for each in entries}, address=address)


def _entry(allocation: Body) -> Entry:
    names = ("pool", "uid", "connections", "high", "seq")
    former = tuple(sorted((each["address"], each["high"]) for each in allocation.get("former") or ()))
    return Entry(**{name: allocation[name] for name in names}, former=former)


def _unchanged(body: Body, status: Body) -> bool:
    """Whether the status is about the present spec. One of an older operator has no address: it is that of its spec."""
    return bool(status.get("observedGeneration") == body["metadata"].get("generation", 0))


def _limits(body: Body, status: Body) -> ServerLimits | None:
    """The limits that were read at the host and port of the spec. Those of another server count nowhere."""
    limits = status.get("limits") or {}
    here = _address(body, body.get("spec") or {})
    read_here = limits["address"] == here if limits.get("address") else _unchanged(body, status)
    if not limits or not read_here:
        return None
    return ServerLimits(limits["maxConnections"], limits["reserved"], limits.get("started", ""))


def _identity(metadata: Body) -> dict[str, Any]:
    return {
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resource_version": int(metadata["resourceVersion"]),
    }


def _rollout(body: Body) -> DeploymentProgress:
    status, metadata = body.get("status") or {}, body["metadata"]
    return DeploymentProgress(
        replicas=int(body["spec"].get("replicas", 1)),
        template=(metadata.get("annotations") or {}).get(naming.ANNOTATION_TEMPLATE, ""),
        observed=int(status.get("observedGeneration", 0)) >= int(metadata.get("generation", 0)),
        updated=int(status.get("updatedReplicas", 0)),
        existing=int(status.get("replicas", 0)),
        refusal=refusal(status),
    )


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
