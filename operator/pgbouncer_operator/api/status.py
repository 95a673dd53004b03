"""`status` of a ConnectionPool: what the operator observes. Every field may be absent, which means unknown.

Figures are for people and dashboards. The operator itself reads only `connectionSecrets`, to delete those that are no
longer wanted, and the transition times of conditions.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError, WithJsonSchema

from pgbouncer_operator.api.conditions import Condition, ordered
from pgbouncer_operator.api.model import ListMap, Model
from pgbouncer_operator.api.strings import Integer, LongText, Text

Count = Annotated[Integer, Field(ge=0)]
Moment = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]
Name = Annotated[str, StringConstraints(max_length=253)]
Word = Annotated[str, StringConstraints(max_length=64, pattern="^[A-Za-z]+$")]
Hash = Annotated[str, StringConstraints(max_length=64)]


class How(StrEnum):
    """How a change reached PgBouncer."""

    RELOAD = "Reload"
    ROLL = "Roll"


class Summary(Model):
    """The columns of `kubectl get` that consist of two numbers."""

    pods: Text | None = None
    """Pods ready and pods running, such as 2/2."""
    connections: Text | None = None
    """Server connections that are open and that are allowed, such as 7/25."""


class Binding(Model):
    """The Secret of the Service Binding specification."""

    name: Name
    """Name of the Secret that applications bind to; it points at the pool."""


class Configuration(Model):
    """Which configuration the pods run."""

    hash: Hash | None = None
    """Hash of the configuration that follows from this spec."""
    applied: Text | None = None
    """Pods that loaded and confirmed it, and pods that should, such as 2/2."""
    pods_applied: Count | None = None
    """Number of pods that loaded and confirmed it."""
    pods_total: Count | None = None
    """Number of pods that should run it: all that are not terminating."""


class ServerConnectionsStatus(Model):
    """Connections to the PostgreSQL server, over all pods."""

    max: Count | None = None
    """Most connections that the pool may hold; spec.serverConnections.max."""
    size: Count | None = None
    """Connections that sizing asks for: max at most. A PostgresServer may allocate fewer."""
    allocated: Count | None = None
    """Connections granted to pods, terminating ones included."""
    open: Count | None = None
    """Connections that are open now."""
    busy: Count | None = None
    """Open connections that a client is using now."""
    waiting: Count | None = None
    """Clients that wait for a server connection now. If it stays above 0, the pool is too small."""


class ClientsStatus(Model):
    """Connections of clients, over all pods."""

    connected: Count | None = None
    """Clients that are connected now."""
    max_per_pod: Count | None = None
    """Most clients that one pod accepts; of several pods the least."""


class Recommendation(Model):
    """The recommended number of server connections, from the arithmetic of sizing, in every mode."""

    value: Count
    """Recommended connections. Modes Workloads and Demand follow it, Fixed does not."""
    reason: Word
    """The reason of the number, in one word, such as Enough, Grown or Shrunk."""
    inputs: LongText = ""
    """The figures that the number follows from, in a sentence."""


class Advice(Model):
    """Something that could be better, with figures."""

    reason: Word
    """The subject, in one word, such as OverSized or Starving."""
    message: LongText = ""
    """What the operator observed, and what to do."""


class LastChange(Model):
    """The latest change that reached the pods."""

    what: LongText
    """The fields that changed, by name; never a value."""
    how: Annotated[How, WithJsonSchema({"type": "string", "maxLength": 64})]
    """Reload (nothing restarts) or Roll (pods are replaced one after the other)."""
    seconds: Annotated[Integer, Field(ge=0)]
    """Whole seconds until the last pod confirmed it."""
    pods: Count
    """Number of pods that confirmed it."""
    at: Moment
    """When the last pod confirmed it, in UTC."""


class BackendStatus(Model):
    """The server in a Secret."""

    host: Text
    """DNS name or IP address."""
    port: Count
    """TCP port of the server."""


class PoolStatus(Model):
    """What the operator observed of the pool."""

    observed_generation: Count | None = None
    """Generation of the spec that this status is about."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), ListMap("type")] | None = None
    """Conditions by type. Ready is the summary; Stalled means that a user has to act."""
    replicas: Annotated[Integer, Field(ge=0, json_schema_extra={"format": "int32"})] | None = None
    """Pods that run or start now; terminating ones are not counted. The scale subresource reads it."""
    ready_replicas: Count | None = None
    """Pods that are ready to serve."""
    pods_without_fixes: Count | None = None
    """Pods that lack security fixes of the operator's pod template."""
    selector: LongText | None = None
    """Label selector of the pool's pods, for the scale subresource."""
    endpoint: Annotated[str, StringConstraints(max_length=320)] | None = None
    """Host and port that applications connect to, such as shop-pool.shop.svc:6432."""
    binding: Binding | None = None
    """The Secret that applications bind to, by the Service Binding specification."""
    image: Annotated[str, StringConstraints(max_length=512)] | None = None
    """Image that the pods run."""
    configuration: Configuration | None = None
    """Which configuration the pods run."""
    server_connections: ServerConnectionsStatus | None = None
    """Connections to the PostgreSQL server, over all pods."""
    clients: ClientsStatus | None = None
    """Connections of clients, over all pods."""
    recommendation: Recommendation | None = None
    """The recommended number of server connections, and why. In mode Fixed it is for people."""
    advice: Annotated[tuple[Advice, ...], Field(max_length=16), ListMap("reason")] | None = None
    """What could be better, with figures. Absent if there is no advice."""
    summary: Summary | None = None
    """Columns of kubectl get that consist of two numbers."""
    last_change: LastChange | None = None
    """The latest change that reached the pods: what, how and how quickly."""
    backend: BackendStatus | None = None
    """The server that the Secret of backend.secretRef names. Absent without such a Secret."""
    connection_secrets: Annotated[tuple[Name, ...], Field(max_length=64)] | None = None
    """Names of the connection Secrets that the operator created, so that it can delete those no longer wanted."""
    operator: Text | None = None
    """Namespace of the operator that serves the pool. Others stand by."""


def ratio(part: int | None, whole: int | None) -> str | None:
    """Two numbers as a column, such as 7/25; None if either is unknown."""
    return None if part is None or whole is None else f"{part}/{whole}"


def previous(body: Mapping[str, Any]) -> PoolStatus:
    """The status of an object of the API server.

    It is empty if the status does not parse, as one of another version may, and for the CRD's default status.
    """
    try:
        status = PoolStatus.model_validate(body.get("status") or {})
    except ValidationError:
        return PoolStatus()
    if status.observed_generation is None:
        return PoolStatus()
    status = status.model_copy(update={"operator": None})  # a write of its own: see reconcile.ownership
    # The API server merges the list by type and may return it in another order, which is not a change.
    return status.model_copy(update={"conditions": ordered(status.conditions)}) if status.conditions else status
