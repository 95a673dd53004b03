"""The Deployment of a pool: pods with PgBouncer and the agent, within the restricted Pod Security Standard.

https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.access import User
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.api.pod import Pod
from pgbouncer_operator.pgbouncer import parameters
from pgbouncer_operator.pgbouncer.parameter import ChangeClass
from pgbouncer_operator.resources.pod_volumes import agent_mounts, volumes
from pgbouncer_operator.resources.template_version import VERSION
from pgbouncer_operator.sizing.fit import Fit

PYTHON = "/usr/bin/python3"
PACKAGE = "/opt/pgbouncer-operator/pgbouncer_operator"
AGENT_RESOURCES = {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "128Mi"}}
HASHED_DELAY = 5  # seconds
LONGEST_DELAY = 300  # seconds; the bound of the setting
MARGIN_SECONDS = 10  # for both containers to exit after the deadlines of the drain


@dataclass(frozen=True, slots=True)
class Platform:
    """The operator's own settings that every pool's pods depend on."""

    image: str
    image_pull_policy: str
    endpoint_delay: int
    """Seconds that a leaving pod accepts connections after its last new client."""
    hashed_delay: int = HASHED_DELAY
    """The delay in the hash of a pool's inputs: see `hashed_delay`."""
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets for pulling the image, beside those that the pool names. A Secret that its namespace lacks is skipped."""


def deployment(pool: ConnectionPool, fit: Fit, platform: Platform) -> dict[str, Any]:
    """The Deployment, with as many replicas as fit in the size. The plan raises them only when the ledger has room."""
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

    Only a change of the inputs rolls the pods. A newer operator, or one with other settings, may make another template
    of the same inputs, which does not roll them.
    """
    return f"{_hash(_inputs(pool, platform.hashed_delay))}.{_hash(template)}"


def hashed_delay(pool: ConnectionPool, annotation: str, platform: Platform) -> int:
    """The delay in the inputs of a Deployment with this template annotation, if its inputs are those of the pool.

    Operators before hashed their own setting with the inputs, so that another setting rolled every pool. The value of
    that time stays in the hash, because without it an upgrade would roll them once more.
    """
    before = annotation.partition(".")[0]
    delays: list[int] = [HASHED_DELAY, platform.endpoint_delay, *range(LONGEST_DELAY + 1)]
    return next((delay for delay in delays if _hash(_inputs(pool, delay)) == before), HASHED_DELAY)


def _inputs(pool: ConnectionPool, delay: int) -> dict[str, object]:
    spec = pool.spec
    inputs: dict[str, object] = {
        "users": sorted([each.name, each.secret_ref.name, *_url_key(each)] for each in spec.users),
        "ca": spec.backend.ca.wire() if spec.backend.ca else None,
        "drain": spec.drain.wire(),
        "pod": spec.pod.wire(),
        "endpointDelay": delay,
        "restart": _restart_settings(pool),
    }
    # Only if the spec has them: a further key changes the hash, and would roll every pool after an update.
    if spec.clients.tls:
        inputs["clientTls"] = spec.clients.tls.secret_name
    if spec.auth_query:
        inputs["authQuery"] = spec.auth_query.secret_ref.name
    return inputs


def _url_key(user: User) -> list[str]:
    """The key of a user's URL, only if the spec has it. Pods of an operator without such keys cannot read a URL."""
    return [user.url_key] if user.url_key else []


def _restart_settings(pool: ConnectionPool) -> dict[str, str | int]:
    """The settings that PgBouncer reads only at its start; it ignores a change of them on a reload."""
    settings = pool.spec.parameters or {}
    rows = {name: parameters.lookup(name) for name in settings}
    return {name: settings[name] for name, row in sorted(rows.items()) if row and row.change is ChangeClass.ROLL}


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _template(pool: ConnectionPool, platform: Platform) -> dict[str, Any]:
    pod, name = pool.spec.pod, pool.metadata.name
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_seconds(pool, platform),
        "securityContext": {"runAsNonRoot": True, **_ids(pool), "seccompProfile": {"type": "RuntimeDefault"}},
        # PgBouncer resolves the backend's name. With Kubernetes' default of 5, a full name takes up to 6 queries.
        "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
        "initContainers": [_agent(pool, platform)],
        "containers": [_pgbouncer(pool, platform)],
        "volumes": volumes(pool),
        "topologySpreadConstraints": _spread(pool),
        **_optional(pod, platform),
    }
    metadata = {
        "labels": {**(pod.labels or {}), **naming.labels(name), naming.LABEL_POOL: name},
        "annotations": {
            "kubectl.kubernetes.io/default-container": naming.CONTAINER_PGBOUNCER,
            **(pod.annotations or {}),
            naming.ANNOTATION_RESTART: _hash(_restart_settings(pool)),
            naming.ANNOTATION_TEMPLATE_VERSION: str(VERSION),
        },
    }
    return {"metadata": metadata, "spec": spec}


def _optional(pod: Pod, platform: Platform) -> dict[str, Any]:
    """The fields of the pod that only some pools have. Absent ones stay absent: a default would roll every pool."""
    spec: dict[str, Any] = {}
    if pod.node_selector:
        spec["nodeSelector"] = dict(pod.node_selector)
    if pod.tolerations:
        spec["tolerations"] = [each.wire() for each in pod.tolerations]
    if pod.affinity:
        spec["affinity"] = pod.affinity.wire()
    if pod.service_account_name:
        # The API server restores the name from its deprecated alias, so a removal has to remove both.
        # https://github.com/kubernetes/kubernetes/issues/108208
        spec["serviceAccountName"] = spec["serviceAccount"] = pod.service_account_name
    if pod.runtime_class_name:
        spec["runtimeClassName"] = pod.runtime_class_name
    if pod.priority_class_name:
        spec["priorityClassName"] = pod.priority_class_name
    own = [each.wire() for each in pod.image_pull_secrets or ()]
    further = [{"name": name} for name in platform.image_pull_secrets if {"name": name} not in own]
    if own or further:
        spec["imagePullSecrets"] = [*own, *further]
    return spec


def grace_seconds(pool: ConnectionPool, platform: Platform) -> int:
    """The pod's terminationGracePeriodSeconds: the deadlines of the drain in sequence, and a margin."""
    drain = pool.spec.drain
    return platform.endpoint_delay + drain.timeout_seconds + drain.transaction_seconds + MARGIN_SECONDS


def _ids(pool: ConnectionPool) -> dict[str, int]:
    """User and groups of both containers, which are the same: PgBouncer's console admits its own uid."""
    given = pool.spec.pod.security_context
    if given is None:
        return dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), naming.RUN_AS_ID)
    return given.wire()


def _security() -> dict[str, Any]:
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def _agent(pool: ConnectionPool, platform: Platform) -> dict[str, Any]:
    """The agent: a native sidecar, which starts before PgBouncer and ends after it. https://kep.k8s.io/753"""
    resources = pool.spec.pod.agent_resources
    return {
        "name": naming.CONTAINER_AGENT,
        "image": platform.image,
        "imagePullPolicy": platform.image_pull_policy,
        "restartPolicy": "Always",
        "command": [PYTHON, "-m", "pgbouncer_operator", "agent"],
        "ports": [{"name": naming.PORT_NAME_METRICS, "containerPort": naming.AGENT_PORT, "protocol": "TCP"}],
        # PgBouncer starts once the agent has a grant and the first configuration is installed, however long that takes.
        "startupProbe": {
            "httpGet": {"path": "/startupz", "port": naming.PORT_NAME_METRICS},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": 86400,
        },
        "resources": AGENT_RESOURCES if resources is None else resources.wire(),
        "securityContext": _security(),
        "volumeMounts": agent_mounts(pool),
    }


def _pgbouncer(pool: ConnectionPool, platform: Platform) -> dict[str, Any]:
    probe = {"exec": {"command": [PYTHON, "-IS", f"{PACKAGE}/agent/probe.py"]}}
    liveness = [PYTHON, "-IS", f"{PACKAGE}/agent/liveness.py"]
    drain = pool.spec.drain
    program = [naming.PGBOUNCER_BINARY, f"{naming.RUN_DIR}/pgbouncer.ini"]
    drain_command = [PYTHON, "-IS", f"{PACKAGE}/agent/drain.py"]
    drain_command += ["--endpoint-delay", str(platform.endpoint_delay)]
    drain_command += ["--timeout", str(drain.timeout_seconds), "--transaction", str(drain.transaction_seconds)]
    return {
        "name": naming.CONTAINER_PGBOUNCER,
        "image": platform.image,
        "imagePullPolicy": platform.image_pull_policy,
        "command": [PYTHON, "-IS", f"{PACKAGE}/agent/start.py", naming.RUN_DIR, *program],
        "ports": [{"name": naming.PORT_NAME_PGBOUNCER, "containerPort": naming.PGBOUNCER_PORT, "protocol": "TCP"}],
        "lifecycle": {"preStop": {"exec": {"command": drain_command}}},
        # Every second, so that a new pod serves at once. A slow node may take minutes to start a probe.
        "startupProbe": {**probe, "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 300},
        # Every 10 s, because starting a probe costs the node CPU. A PgBouncer that hangs is unready within 20 s.
        "readinessProbe": {**probe, "periodSeconds": 10, "timeoutSeconds": 3, "failureThreshold": 2},
        # kubelet counts a probe that takes too long as failed, so a starved node may end a PgBouncer that serves.
        # So the times are long, and the pod's own grace period lets it drain.
        "livenessProbe": {
            "exec": {"command": liveness},
            "periodSeconds": 30,
            "timeoutSeconds": 30,
            "failureThreshold": 6,
        },
        "resources": pool.spec.pod.resources.wire(),
        "securityContext": _security(),
        "volumeMounts": [{"name": "run", "mountPath": naming.RUN_DIR}],
    }


def _spread(pool: ConnectionPool) -> list[dict[str, Any]]:
    selector = {"matchLabels": {naming.LABEL_POOL: pool.metadata.name}}
    constraints = pool.spec.pod.topology_spread_constraints
    if constraints is None:
        default = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
        return [{**default, "labelSelector": selector}]
    return [{**each.wire(), "labelSelector": selector} for each in constraints]
