"""The little we keep of each object, made from its body when an event, a list or a write's answer brings one. Pure.

A parsed Deployment takes 20 kB of memory and a packed one 1 kB, so children are kept packed and unpacked to compare.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.reconcile.cache import endpoints
from pgbouncer_operator.reconcile.cache.endpoints import Service
from pgbouncer_operator.reconcile.cache.pod_status import FINISHED, ended, trouble
from pgbouncer_operator.reconcile.cache.workloads import Reference, references
from pgbouncer_operator.sizing.allocation import Allocations, Entry
from pgbouncer_operator.sizing.limits import ServerLimits

Body = Mapping[str, Any]
OURS = ("data", "spec", "stringData", "type")  # the parts of a child's body that we set, beside its metadata


@dataclass(frozen=True, slots=True)
class PoolView:
    """A ConnectionPool. spec and status are JSON; our own writes of status wake nobody. created: RFC 3339.

    backend: the Service that the host may mean. refresh: the user's annotation, empty when there is none. clients: the
    workloads that it names. server: namespace and name of its PostgresServer. address: see `endpoints.address`.
    """

    namespace: str
    name: str
    uid: str
    resource_version: int = field(compare=False)
    generation: int
    deleting: bool
    spec: str
    status: str = field(compare=False)
    created: str = field(compare=False)
    backend: Service | None
    refresh: str
    clients: tuple[Reference, ...] = ()
    server: tuple[str, str] | None = None
    address: str = ""


@dataclass(frozen=True, slots=True)
class DeploymentProgress:
    """Where a Deployment stands: what its spec says, and what its controller has seen and done of it."""

    replicas: int
    template: str
    observed: bool
    updated: int
    existing: int

    def rolls_for(self, template: str) -> bool:
        """Whether `<inputs>.<template>`, an annotation as we would write it now, is made of other inputs."""
        return self.template.partition(".")[0] != template.partition(".")[0]


@dataclass(frozen=True, slots=True)
class ChildView:
    """An object of a pool. `packed` holds what we compare; `posted`: some fields still belong to our POST."""

    namespace: str
    name: str
    uid: str
    resource_version: int = field(compare=False)
    kind: str
    pool: str
    owner: str
    applied: str
    posted: bool = field(compare=False)
    packed: bytes = field(repr=False)
    rollout: DeploymentProgress | None = None

    def unpack(self) -> dict[str, Any]:
        """The live object as far as we compare it."""
        unpacked: dict[str, Any] = json.loads(zlib.decompress(self.packed))
        return unpacked


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod of a pool. `trouble` is Kubernetes' own word for why it does not run, empty when it does.

    `placed`: it has a node. `finished`: it serves no more. `ended`: its kubelet has said that it runs nothing any more.
    """

    namespace: str
    name: str
    uid: str
    resource_version: int = field(compare=False)
    pool: str
    address: str
    terminating: bool
    ready: bool
    finished: bool
    config: str
    poke: str
    trouble: str
    placed: bool
    reconnect: str
    ended: bool = False


@dataclass(frozen=True, slots=True)
class SliceView:
    """An EndpointSlice: the ready addresses of a Service, or a part of them."""

    namespace: str
    name: str
    uid: str
    resource_version: int = field(compare=False)
    service: str
    ready: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServerView:
    """A PostgresServer. spec and status are JSON; allocations: what status says that pools may hold.

    limits: what the server said last, by its status. budget: what was shared out last.
    """

    namespace: str
    name: str
    uid: str
    resource_version: int = field(compare=False)
    generation: int
    deleting: bool
    spec: str
    status: str
    allocations: Allocations
    backend: Service | None
    address: str
    limits: ServerLimits | None = None
    budget: int | None = None


def pool(body: Body) -> PoolView:
    """A ConnectionPool's projection."""
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
        address=_address(body, "backend"),
    )


def server(body: Body) -> ServerView:
    """A PostgresServer's projection."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    host = spec.get("host")
    return ServerView(
        **_identity(metadata),
        generation=int(metadata.get("generation", 0)),
        deleting="deletionTimestamp" in metadata,
        spec=_json(spec),
        status=_json(status),
        allocations=_allocations(status),
        backend=endpoints.service(host, metadata.get("namespace", "")) if isinstance(host, str) else None,
        address=_address(body),
        limits=_limits(status),
        budget=status.get("budget"),
    )


def child(body: Body) -> ChildView:
    """The projection of a ConfigMap, Service, Deployment or PodDisruptionBudget of ours."""
    metadata = body["metadata"]
    labels = metadata.get("labels") or {}
    annotations = metadata.get("annotations") or {}
    compared = {key: body[key] for key in OURS if key in body}
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


def pod(body: Body) -> PodView:
    """A pool pod's projection."""
    metadata, status = body["metadata"], body.get("status") or {}
    annotations = metadata.get("annotations") or {}
    return PodView(
        **_identity(metadata),
        pool=(metadata.get("labels") or {}).get(naming.LABEL_POOL, ""),
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
    )


def endpoint_slice(body: Body) -> SliceView:
    """An EndpointSlice's projection."""
    metadata = body["metadata"]
    service = (metadata.get("labels") or {}).get(naming.LABEL_SERVICE, "")
    return SliceView(**_identity(metadata), service=service, ready=endpoints.addresses(body))


def controller(metadata: Body) -> Body:
    """The owner reference that controls an object, empty when there is none."""
    return next((each for each in metadata.get("ownerReferences") or () if each.get("controller")), {})


def _backend(body: Body) -> Service | None:
    host = ((body.get("spec") or {}).get("backend") or {}).get("host")
    return endpoints.service(host, body["metadata"].get("namespace", "")) if isinstance(host, str) else None


def _server(body: Body) -> tuple[str, str] | None:
    named = ((body.get("spec") or {}).get("backend") or {}).get("serverRef") or {}
    return (named.get("namespace") or body["metadata"].get("namespace", ""), named["name"]) if "name" in named else None


def _address(body: Body, field: str = "") -> str:
    spec = body.get("spec") or {}
    given = (spec.get(field) or {}) if field else spec
    host, namespace = given.get("host"), body["metadata"].get("namespace", "")
    return endpoints.address(host, given.get("port", 5432), namespace) if isinstance(host, str) else ""


def _allocations(status: Body) -> Allocations:
    """What a status shares out. What cannot be read is made anew of what the pools' ledgers say."""
    names = ("pool", "uid", "connections", "high", "seq")
    try:
        entries = [Entry(*(each[name] for name in names)) for each in status.get("allocations") or ()]
    except (KeyError, TypeError):
        return Allocations(0, {})
    return Allocations(int(status.get("seq") or 0), {each.pool: each for each in entries})


def _limits(status: Body) -> ServerLimits | None:
    told = status.get("limits")
    return ServerLimits(told["maxConnections"], told["reserved"], told.get("started", "")) if told else None


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
    )


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
