"""The Deployment of a pool's pods: PgBouncer and, beside it, the agent. Restricted pod security throughout."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.pgbouncer import parameters
from pgbouncer_operator.pgbouncer.parameter import ChangeClass
from pgbouncer_operator.resources.pod_volumes import agent_mounts, volumes
from pgbouncer_operator.sizing.fit import Fit

PYTHON = "/usr/bin/python3"
PACKAGE = "/opt/pgbouncer-operator/pgbouncer_operator"
MARGIN_SECONDS = 10  # for the exits of both containers, after the drain's own deadlines


@dataclass(frozen=True, slots=True)
class Platform:
    """What the operator's own settings decide of every pool's pods."""

    image: str
    image_pull_policy: str
    endpoint_delay: int


def deployment(pool: ConnectionPool, fit: Fit, platform: Platform) -> dict[str, Any]:
    """The Deployment, with as many pods as fit. `spec.replicas` is raised only when the ledger has room."""
    template = _template(pool, platform)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": naming.deployment(pool.metadata.name),
            "annotations": {naming.ANNOTATION_TEMPLATE: template_annotation(pool, template, platform)},
        },
        "spec": {
            "replicas": fit.replicas,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": {naming.LABEL_POOL: pool.metadata.name}},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": fit.surge, "maxUnavailable": 1 - fit.surge},
            },
            "template": template,
        },
    }


def template_annotation(pool: ConnectionPool, template: dict[str, Any], platform: Platform) -> str:
    """`<hash of the inputs from the spec>.<hash of the template>`.

    Only other inputs roll the pods. A newer operator makes another template of the same inputs; that rolls nothing.
    """
    spec = pool.spec
    inputs: dict[str, object] = {
        "users": sorted([each.name, each.secret_ref.name] for each in spec.users),
        "ca": spec.backend.ca.wire() if spec.backend.ca else None,
        "drain": spec.drain.wire(),
        "pod": spec.pod.wire(),
        "endpointDelay": platform.endpoint_delay,
        "restart": _restart_settings(pool),
    }
    # Only where they are given: a key more would be another input, and a newer operator would roll every pool.
    if spec.clients.tls:
        inputs["clientTls"] = spec.clients.tls.secret_name
    if spec.auth_query:
        inputs["authQuery"] = spec.auth_query.secret_ref.name
    return f"{_hash(inputs)}.{_hash(template)}"


def _restart_settings(pool: ConnectionPool) -> dict[str, str | int]:
    """The settings that PgBouncer reads only when it starts; a reload passes over them in silence."""
    given = pool.spec.parameters or {}
    rows = {name: parameters.lookup(name) for name in given}
    return {name: given[name] for name, row in sorted(rows.items()) if row and row.change is ChangeClass.ROLL}


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _template(pool: ConnectionPool, platform: Platform) -> dict[str, Any]:
    wanted, name = pool.spec.pod, pool.metadata.name
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_seconds(pool, platform),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": naming.RUN_AS_ID,
            "runAsGroup": naming.RUN_AS_ID,
            "fsGroup": naming.RUN_AS_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # PgBouncer looks up the backend's name itself; with the default of 5 every look-up of a full name asks 6 times.
        "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
        "initContainers": [_agent(pool, platform)],
        "containers": [_pgbouncer(pool, platform)],
        "volumes": volumes(pool),
        "topologySpreadConstraints": _spread(pool),
    }
    if wanted.node_selector:
        spec["nodeSelector"] = dict(wanted.node_selector)
    if wanted.tolerations:
        spec["tolerations"] = [each.wire() for each in wanted.tolerations]
    if wanted.priority_class_name:
        spec["priorityClassName"] = wanted.priority_class_name
    if wanted.image_pull_secrets:
        spec["imagePullSecrets"] = [each.wire() for each in wanted.image_pull_secrets]
    metadata = {
        "labels": {**(wanted.labels or {}), **naming.labels(name), naming.LABEL_POOL: name},
        "annotations": {
            "kubectl.kubernetes.io/default-container": naming.CONTAINER_PGBOUNCER,
            **(wanted.annotations or {}),
            naming.ANNOTATION_RESTART: _hash(_restart_settings(pool)),
        },
    }
    return {"metadata": metadata, "spec": spec}


def grace_seconds(pool: ConnectionPool, platform: Platform) -> int:
    """Seconds until kubelet kills: the drain's deadlines one after the other, and a margin."""
    drain = pool.spec.drain
    return platform.endpoint_delay + drain.timeout_seconds + drain.transaction_seconds + MARGIN_SECONDS


def _security() -> dict[str, Any]:
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def _agent(pool: ConnectionPool, platform: Platform) -> dict[str, Any]:
    """The agent: a native sidecar, so it starts before PgBouncer and outlives its drain (KEP-753)."""
    return {
        "name": naming.CONTAINER_AGENT,
        "image": platform.image,
        "imagePullPolicy": platform.image_pull_policy,
        "restartPolicy": "Always",
        "command": [PYTHON, "-m", "pgbouncer_operator", "agent"],
        "ports": [{"name": naming.PORT_NAME_METRICS, "containerPort": naming.AGENT_PORT, "protocol": "TCP"}],
        # PgBouncer starts only after the first configuration is installed and a grant is held, however long that takes.
        "startupProbe": {
            "httpGet": {"path": "/startupz", "port": naming.PORT_NAME_METRICS},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": 86400,
        },
        "resources": {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": _security(),
        "volumeMounts": agent_mounts(pool),
    }


def _pgbouncer(pool: ConnectionPool, platform: Platform) -> dict[str, Any]:
    probe = {"exec": {"command": [PYTHON, "-IS", f"{PACKAGE}/agent/probe.py"]}}
    drain = pool.spec.drain
    ladder = [PYTHON, "-IS", f"{PACKAGE}/agent/drain.py"]
    ladder += ["--endpoint-delay", str(platform.endpoint_delay)]
    ladder += ["--timeout", str(drain.timeout_seconds), "--transaction", str(drain.transaction_seconds)]
    return {
        "name": naming.CONTAINER_PGBOUNCER,
        "image": platform.image,
        "imagePullPolicy": platform.image_pull_policy,
        "command": [naming.PGBOUNCER_BINARY, f"{naming.RUN_DIR}/pgbouncer.ini"],
        "ports": [{"name": naming.PORT_NAME_PGBOUNCER, "containerPort": naming.PGBOUNCER_PORT, "protocol": "TCP"}],
        "lifecycle": {"preStop": {"exec": {"command": ladder}}},
        "startupProbe": {**probe, "periodSeconds": 1, "timeoutSeconds": 3, "failureThreshold": 60},
        # Rare, because the node pays more to start a probe than the probe costs; a hung PgBouncer is out within 20 s.
        "readinessProbe": {**probe, "periodSeconds": 10, "timeoutSeconds": 3, "failureThreshold": 2},
        # A hung PgBouncer has nobody to drain: its own short grace, not the pod's.
        "livenessProbe": {
            **probe,
            "periodSeconds": 20,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
            "terminationGracePeriodSeconds": 5,
        },
        "resources": pool.spec.pod.resources.wire(),
        "securityContext": _security(),
        "volumeMounts": [{"name": "run", "mountPath": naming.RUN_DIR}],
    }


def _spread(pool: ConnectionPool) -> list[dict[str, Any]]:
    selector = {"matchLabels": {naming.LABEL_POOL: pool.metadata.name}}
    given = pool.spec.pod.topology_spread_constraints
    if given is None:
        default = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
        return [{**default, "labelSelector": selector}]
    return [{**each.wire(), "labelSelector": selector} for each in given]
