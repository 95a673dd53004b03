"""The objects of a pool, and the metadata that all of them have."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.protocol.intent import Intent
from pgbouncer_operator.resources.configuration import config_map, intent
from pgbouncer_operator.resources.deployment import Platform, deployment
from pgbouncer_operator.resources.pod_disruption_budget import pod_disruption_budget
from pgbouncer_operator.resources.service import service
from pgbouncer_operator.sizing.fit import Fit, FitRequest, fit

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Desired:
    """The objects of a pool that follow from its spec and its size. The ledger and the Secrets do not."""

    fit: Fit
    """How many pods fit in the size."""
    intent: Intent
    config_map: Body
    service: Body
    pod_disruption_budget: Body
    deployment: Body


def room(pool: ConnectionPool, size: int | None = None) -> Fit:
    """How many pods fit. size: server connections that the pool may hold now; None for serverConnections.max."""
    return fit(_demand(pool, pool.spec.server_connections.most if size is None else size))


def desired(pool: ConnectionPool, platform: Platform, size: int | None = None) -> Desired:
    """The objects that follow from the spec and the size. size: as in `room`."""
    fitting = room(pool, size)
    content = intent(pool, fitting)
    return Desired(
        fit=fitting,
        intent=content,
        config_map=dress(pool, config_map(pool, content)),
        service=dress(pool, service(pool)),
        pod_disruption_budget=dress(pool, pod_disruption_budget(pool)),
        deployment=dress(pool, deployment(pool, fitting, platform)),
    )


def dress(pool: ConnectionPool, body: Body) -> Body:
    """The object with namespace, labels, owner, and the hash of the result (see ANNOTATION_APPLIED)."""
    own = body["metadata"]
    metadata = {
        **own,
        "namespace": pool.metadata.namespace,
        # The operator's labels override those of users: the operator finds its objects by them.
        "labels": {
            **own.get("labels", {}),
            **naming.labels(pool.metadata.name),
            naming.LABEL_POOL: pool.metadata.name,
        },
        "ownerReferences": [
            {
                "apiVersion": naming.API_VERSION,
                "kind": naming.KIND,
                "name": pool.metadata.name,
                "uid": pool.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    dressed = {**body, "metadata": metadata}
    annotations = {**own.get("annotations", {}), naming.ANNOTATION_APPLIED: digest(dressed)}
    return {**dressed, "metadata": {**metadata, "annotations": annotations}}


def redress(pool: ConnectionPool, body: Body, data: Mapping[str, str]) -> Body:
    """A ConfigMap of `dress` with other data and a new hash."""
    metadata = {key: value for key, value in body["metadata"].items() if key != "annotations"}
    return dress(pool, {**body, "metadata": metadata, "data": dict(data)})


def digest_of(document: str) -> str:
    """The hash in the text of an intent; empty if the text is not an intent."""
    try:
        value = json.loads(document)["hash"]
    except (ValueError, KeyError, TypeError):
        return ""
    return value if isinstance(value, str) else ""


def digest(body: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of a hash of an object. Not for Secrets: with the hash a password could be guessed."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _demand(pool: ConnectionPool, size: int) -> FitRequest:
    spec = pool.spec
    caps = {
        f"{kind}[{each.name}].serverConnections.max": each.server_connections.max
        for kind, items in (("databases", spec.databases), ("users", spec.users))
        for each in items
        if each.server_connections
    }
    entries = len(spec.databases) + (1 if spec.auth_query else 0)  # look-ups of logins have an entry of their own
    return FitRequest(size, spec.replicas, entries, caps)
