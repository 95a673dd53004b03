"""What a pool consists of, and what every object of it carries."""

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
    """A pool's objects, dressed, besides its ledger and its Secrets, which depend on what others wrote."""

    fit: Fit
    intent: Intent
    config_map: Body
    service: Body
    pod_disruption_budget: Body
    deployment: Body


def room(pool: ConnectionPool, size: int | None = None) -> Fit:
    """How many pods fit. budget: server connections that the pool is to hold now, None for all it may."""
    return fit(_demand(pool, pool.spec.server_connections.most if size is None else size))


def desired(pool: ConnectionPool, platform: Platform, size: int | None = None) -> Desired:
    """Everything that the spec and the pool's budget decide. budget: see `room`."""
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
    """The object with namespace, labels, owner and, last, the hash of all that (see ANNOTATION_APPLIED)."""
    given = body["metadata"]
    metadata = {
        **given,
        "namespace": pool.metadata.namespace,
        # Ours last: a user's label must not take an object out of the operator's sight.
        "labels": {
            **given.get("labels", {}),
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
    annotations = {**given.get("annotations", {}), naming.ANNOTATION_APPLIED: digest(dressed)}
    return {**dressed, "metadata": {**metadata, "annotations": annotations}}


def redress(pool: ConnectionPool, body: Body, data: Mapping[str, str]) -> Body:
    """A dressed ConfigMap with other data."""
    metadata = {key: value for key, value in body["metadata"].items() if key != "annotations"}
    return dress(pool, {**body, "metadata": metadata, "data": dict(data)})


def digest_of(document: str) -> str:
    """The hash that an intent's text names itself by; "" for what is none."""
    try:
        found = json.loads(document)["hash"]
    except (ValueError, KeyError, TypeError):
        return ""
    return found if isinstance(found, str) else ""


def digest(body: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that name the content of an object. Not for Secrets: it would let a password be guessed."""
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
    entries = len(spec.databases) + (1 if spec.auth_query else 0)  # logins are looked up through an entry of its own
    return FitRequest(size, spec.replicas, entries, caps)
