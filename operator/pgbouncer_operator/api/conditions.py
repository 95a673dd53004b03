"""Conditions of pools and PostgresServers, every reason they may have, and for each reason what its reader should do.

Conditions follow kstatus: `Ready` is the summary; `Reconciling` and `Stalled` exist only while they are true.
https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema

from pgbouncer_operator.api.model import Model
from pgbouncer_operator.api.strings import Integer

MESSAGE_MAX = 1024
# The CRD takes any word: an operator that is newer than the CRD must still be able to write its status.
_WORD = WithJsonSchema({"type": "string", "maxLength": 64, "pattern": "^[A-Za-z]+$"})


class ConditionType(StrEnum):
    """What a condition is about. The order is the order in status."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    CONFIGURATION_APPLIED = "ConfigurationApplied"
    BACKEND_REACHABLE = "BackendReachable"
    CREDENTIALS_AVAILABLE = "CredentialsAvailable"
    WITHIN_BUDGET = "WithinBudget"
    LIMITS_KNOWN = "LimitsKnown"
    PAUSED = "Paused"
    UPDATE_AVAILABLE = "UpdateAvailable"


class ConditionStatus(StrEnum):
    """Whether the condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Why a condition is as it is, in one word."""

    # All is well.
    READY = "Ready"
    UP_TO_DATE = "UpToDate"
    APPLIED = "Applied"
    REACHABLE = "Reachable"
    AVAILABLE = "Available"
    FITS = "Fits"
    SHARED = "Shared"
    LIMITS_READ = "LimitsRead"
    SCALED_TO_ZERO = "ScaledToZero"
    FLOWING = "Flowing"
    PAUSED = "Paused"
    UPDATE_AVAILABLE = "UpdateAvailable"
    SECURITY_UPDATE = "SecurityUpdate"
    # Under way, or not known yet.
    PENDING = "Pending"
    WAITING_FOR_PODS = "WaitingForPods"
    APPLYING_CONFIGURATION = "ApplyingConfiguration"
    PODS_UNREACHABLE = "PodsUnreachable"
    PGBOUNCER_NOT_ANSWERING = "PgBouncerNotAnswering"
    PAUSING = "Pausing"
    # Somebody has to act.
    PODS_REFUSED = "PodsRefused"
    CONFIGURATION_REFUSED = "ConfigurationRefused"
    CANARY_FAILED = "CanaryFailed"
    PAUSE_TIMED_OUT = "PauseTimedOut"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105
    SECRET_NOT_READABLE = "SecretNotReadable"  # noqa: S105
    SECRET_KEY_MISSING = "SecretKeyMissing"  # noqa: S105
    SECRET_VALUE_INVALID = "SecretValueInvalid"  # noqa: S105
    CERTIFICATE_EXPIRED = "CertificateExpired"
    TLS_SECRET_NOT_FOUND = "TlsSecretNotFound"  # noqa: S105
    CA_NOT_FOUND = "CaNotFound"
    BACKEND_UNREACHABLE = "BackendUnreachable"
    BACKEND_REFUSED_LOGIN = "BackendRefusedLogin"
    BACKEND_DATABASE_MISSING = "BackendDatabaseMissing"
    BACKEND_WITHOUT_TLS = "BackendWithoutTls"
    BACKEND_NOT_VERIFIED = "BackendNotVerified"
    BACKEND_IS_FULL = "BackendIsFull"
    BACKEND_IS_READ_ONLY = "BackendIsReadOnly"
    BACKEND_IS_POOLER = "BackendIsPooler"
    HOST_NOT_RESOLVED = "HostNotResolved"
    NAME_CONFLICT = "NameConflict"
    INVALID_SPEC = "InvalidSpec"
    OBJECT_REFUSED = "ObjectRefused"
    BUDGET_TOO_SMALL = "BudgetTooSmall"
    BUDGET_EXCEEDED = "BudgetExceeded"
    SERVER_NOT_FOUND = "ServerNotFound"
    SERVER_NOT_SHARED = "ServerNotShared"
    SERVER_IS_BUDGETED = "ServerIsBudgeted"
    HOST_TAKEN = "HostTaken"
    SERVER_INVALID = "ServerInvalid"
    LIMITS_UNKNOWN = "LimitsUnknown"
    LIMITS_MISSING = "LimitsMissing"
    LOGIN_IS_SUPERUSER = "LoginIsSuperuser"
    REPLICAS_CLAMPED = "ReplicasClamped"
    PARAMETER_UNSUPPORTED = "ParameterUnsupported"


REMEDIES: MappingProxyType[Reason, str] = MappingProxyType(
    {
        Reason.READY: "Nothing to do: every pod runs this spec and logs in to the server.",
        Reason.UP_TO_DATE: "Nothing to do: the cluster is as this spec wants it.",
        Reason.APPLIED: "Nothing to do: every pod has loaded and confirmed this configuration.",
        Reason.REACHABLE: "Nothing to do: the pods log in to the PostgreSQL server.",
        Reason.AVAILABLE: "Nothing to do: every user's Secret has a login and a password.",
        Reason.FITS: "Nothing to do: the wanted pods fit in serverConnections.max.",
        Reason.SHARED: "Nothing to do: the PostgresServer shares its budget out to its pools.",
        Reason.LIMITS_READ: "Nothing to do: the server says how many connections it accepts.",
        Reason.SCALED_TO_ZERO: "Set spec.replicas above 0 to serve clients again.",
        Reason.FLOWING: "Nothing to do: queries reach the server.",
        Reason.PAUSED: "Set spec.traffic to Flowing when you are done; after pauseTimeoutSeconds it flows by itself.",
        Reason.UPDATE_AVAILABLE: "Set spec.upgradePolicy to Automatic, or wait for the next change that replaces pods.",
        Reason.SECURITY_UPDATE: "Run the command that the message names: it replaces pods that lack security fixes.",
        Reason.PENDING: "Wait a moment; if it stays, check that the operator runs and watches this namespace.",
        Reason.WAITING_FOR_PODS: "Wait; if it stays, `kubectl describe pod` says what a pod lacks: image, room.",
        Reason.APPLYING_CONFIGURATION: "Wait: the pods are loading the new configuration one after the other.",
        Reason.PODS_UNREACHABLE: "Let the operator reach port 9127 of the pods: check NetworkPolicies and nodes.",
        Reason.PGBOUNCER_NOT_ANSWERING: "Wait: a PgBouncer that hangs is restarted; if it stays, check the pod's node.",
        Reason.PAUSING: "Wait: running transactions end first; a long one keeps its database flowing until then.",
        Reason.PODS_REFUSED: "Set what the message asks for in spec.pod, or ask who set the quota or policy.",
        Reason.CONFIGURATION_REFUSED: "Correct the setting that PgBouncer names; pods run the previous configuration.",
        Reason.CANARY_FAILED: "Correct spec.backend, or the server, as the message says; only one pod has tried it.",
        Reason.PAUSE_TIMED_OUT: "Set spec.traffic to Flowing; then pause again, with a longer pauseTimeoutSeconds.",
        Reason.SECRET_NOT_FOUND: "Create the Secret in the pool's namespace, or correct users[].secretRef.name.",
        Reason.SECRET_NOT_READABLE: "Let the operator get the Secret: see the chart's connectionSecrets.enabled.",
        Reason.SECRET_KEY_MISSING: "Set users[].usernameKey and users[].passwordKey to keys that the Secret has.",
        Reason.SECRET_VALUE_INVALID: "Correct login or password in the Secret as the message says.",
        Reason.CERTIFICATE_EXPIRED: "Renew the certificate or CA that the message names; it replaces no valid one.",
        Reason.TLS_SECRET_NOT_FOUND: "Create the Secret that clients.tls.secretName names, with tls.crt and tls.key.",
        Reason.CA_NOT_FOUND: "Create the object and key that backend.tls.ca names, or correct the reference.",
        Reason.BACKEND_UNREACHABLE: "Check backend.host and backend.port, that the server runs and lets the pods in.",
        Reason.BACKEND_REFUSED_LOGIN: "Correct login and password in the user's Secret, or pg_hba.conf on the server.",
        Reason.BACKEND_DATABASE_MISSING: "Create the database on the server, or correct databases[].backendName.",
        Reason.BACKEND_WITHOUT_TLS: "Switch TLS on in PostgreSQL, or set backend.tls.mode to disable.",
        Reason.BACKEND_NOT_VERIFIED: "Point backend.tls.ca at the CA of the server's certificate, and name its host.",
        Reason.BACKEND_IS_FULL: "Raise max_connections or the role's CONNECTION LIMIT, or lower serverConnections.max.",
        Reason.BACKEND_IS_READ_ONLY: "Point backend.host at the primary, or wait until the server is promoted.",
        Reason.BACKEND_IS_POOLER: "Set backend.host to the server itself: the direct URL would lead to another pooler.",
        Reason.HOST_NOT_RESOLVED: "Correct backend.host, or create the Service or DNS record it names.",
        Reason.NAME_CONFLICT: "Delete or rename the object that is in the way, or choose another name for the pool.",
        Reason.INVALID_SPEC: "Correct the field that the message names; until then the last valid spec stays in force.",
        Reason.OBJECT_REFUSED: "Correct the field that the message names, or the admission policy that refused it.",
        Reason.BUDGET_TOO_SMALL: "Raise serverConnections.max: every pod needs one connection for each database.",
        Reason.BUDGET_EXCEEDED: "Raise the PostgresServer's budget or the namespace's share, or run fewer pods.",
        Reason.SERVER_NOT_FOUND: "Create the PostgresServer, or correct backend.serverRef; the operator must watch it.",
        Reason.SERVER_NOT_SHARED: "Let the server's owner add the namespace to the PostgresServer's allowedNamespaces.",
        Reason.SERVER_IS_BUDGETED: "Replace backend.host by backend.serverRef: its connections are shared by a budget.",
        Reason.HOST_TAKEN: "Keep one PostgresServer for each host and port, or set the chart's value serverHosts.",
        Reason.SERVER_INVALID: "Correct the field of the PostgresServer that the message names.",
        Reason.LIMITS_UNKNOWN: "Correct what the message names, or set connections.max; the last known figure holds.",
        Reason.LIMITS_MISSING: "Set connections.max of the PostgresServer, or give it monitoring.secretRef.",
        Reason.LOGIN_IS_SUPERUSER: "Give monitoring.secretRef a role with pg_monitor that is no superuser.",
        Reason.REPLICAS_CLAMPED: "Raise serverConnections.max or lower replicas: the wanted pods do not all fit.",
        Reason.PARAMETER_UNSUPPORTED: "Remove the parameter, or run a PgBouncer version that has it.",
    }
)


NEUTRAL = {ConditionType.PAUSED, ConditionType.UPDATE_AVAILABLE}
"""Conditions of which neither status is a fault."""


def is_well(kind: str, status: str, reason: str) -> bool:
    """Whether a condition of this type is as it should be. A newer operator may write words that are not known here."""
    if kind in NEUTRAL:
        return reason != Reason.PAUSE_TIMED_OUT
    return status == (ConditionStatus.FALSE if kind == ConditionType.STALLED else ConditionStatus.TRUE)


def unseen() -> dict[str, str]:
    """The CRD's default condition, for `kubectl get` and `kubectl wait` before an operator writes a status."""
    return {
        "lastTransitionTime": "1970-01-01T00:00:00Z",
        "message": "No operator has seen it yet.",
        "reason": Reason.PENDING.value,
        "status": ConditionStatus.UNKNOWN.value,
        "type": ConditionType.READY.value,
    }


def _one_line(text: object) -> object:
    """A message within its bounds: those of PostgreSQL may have line breaks and any length."""
    if not isinstance(text, str):
        return text
    line = re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text).strip()
    return line if len(line) <= MESSAGE_MAX else line[: MESSAGE_MAX - 1] + "…"


class Condition(Model):
    """One observation of the pool. The order of the list carries no meaning."""

    type: Annotated[ConditionType, _WORD]
    """What is observed, such as Ready or BackendReachable."""
    status: ConditionStatus
    """True, False or Unknown: whether it holds."""
    reason: Annotated[Reason, _WORD]
    """Why, in one word. The documentation lists all of them with a remedy."""
    message: Annotated[str, BeforeValidator(_one_line), StringConstraints(max_length=MESSAGE_MAX)] = ""
    """Why, in a sentence that says where and what to do. Never holds a password."""
    observed_generation: Annotated[Integer, Field(ge=0)] = 0
    """Generation of the spec that this was observed for."""
    last_transition_time: Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})] | None = None
    """When status last changed, in UTC."""


def merge(old: Iterable[Condition], new: Iterable[Condition], now: str) -> tuple[Condition, ...]:
    """Return `new`, ordered by type, with the old transition time wherever the status stayed the same.

    `now` is RFC 3339 in UTC. A condition that is not in `new` goes away.
    """
    before = {condition.type: condition for condition in old}

    def timed(condition: Condition) -> Condition:
        previous = before.get(condition.type)
        time = previous.last_transition_time if previous and previous.status == condition.status else None
        return condition.model_copy(update={"last_transition_time": time or now})

    return ordered(timed(condition) for condition in new)


def ordered(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """Conditions in the order of their types, in which they are written."""
    order = list(ConditionType)
    return tuple(sorted(conditions, key=lambda condition: order.index(condition.type)))
