"""`status` of a ConnectionPool: what the operator saw. Every field may be absent; absent means not known.

Figures are for people and dashboards; nothing in the operator decides by them, except `connectionSecrets`
(what to prune) and the conditions' transition times.
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
    """The columns of `kubectl get` that are made of two numbers."""

    pods: Text | None = None
    """Pods ready and pods running, such as 2/2."""
    connections: Text | None = None
    """Server connections open and the most allowed, such as 7/25."""


class Binding(Model):
    """The Secret of the Service Binding specification."""

    name: Name
    """Name of the Secret that applications bind to; it points at the pool."""


class Configuration(Model):
    """Which configuration the pods run."""

    hash: Hash | None = None
    """Hash of the configuration that this spec asks for."""
    applied: Text | None = None
    """Pods that loaded and confirmed it, of all that should, such as 2/2."""
    pods_applied: Count | None = None
    """Number of pods that loaded and confirmed it."""
    pods_total: Count | None = None
    """Number of pods that should run it: all that are not terminating."""


class ServerConnectionsStatus(Model):
    """Connections to the PostgreSQL server, over all pods."""

    max: Count | None = None
    """Most connections that the pool may hold; spec.serverConnections.max."""
    size: Count | None = None
    """Connections that the pool is to hold now, by its sizing: max at most. Its PostgresServer may give it fewer."""
    allocated: Count | None = None
    """Connections granted to pods, terminating ones included."""
    open: Count | None = None
    """Connections that are open now."""
    busy: Count | None = None
    """Open connections that a client is using now."""
    waiting: Count | None = None
    """Clients that wait for a server connection now. For long more than 0: the pool is too small."""


class ClientsStatus(Model):
    """Connections of clients, over all pods."""

    connected: Count | None = None
    """Clients that are connected now."""
    max_per_pod: Count | None = None
    """Most clients that one pod accepts; spec.clients.maxPerPod."""


class Recommendation(Model):
    """How many server connections would do, by the same arithmetic as sizing, whatever the mode."""

    value: Count
    """Connections that would do. Modes Workloads and Demand follow it, Fixed does not."""
    reason: Word
    """Why this many, in one word, such as Enough, Grown or Shrunk."""
    inputs: LongText = ""
    """The figures that it is made of, in a sentence."""


class Advice(Model):
    """Something that could be better, with figures."""

    reason: Word
    """What it is about, in one word, such as OverSized or Starving."""
    message: LongText = ""
    """What was seen, and what to do."""


class LastChange(Model):
    """The latest change that reached the pods."""

    what: LongText
    """The fields that changed, by name; never a value."""
    how: Annotated[How, WithJsonSchema({"type": "string", "maxLength": 64})]
    """Reload (nothing restarts) or Roll (pods are replaced one after the other)."""
    seconds: Annotated[Integer, Field(ge=0)]
    """Whole seconds until the last pod confirmed it."""
    pods: Count
    """Number of pods that it reached."""
    at: Moment
    """When the last pod confirmed it, in UTC."""


class PoolStatus(Model):
    """What the operator saw of the pool."""

    observed_generation: Count | None = None
    """Generation of the spec that this status is about."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), ListMap("type")] | None = None
    """Observations by type. Ready is the summary; Stalled means that somebody has to act."""
    replicas: Annotated[Integer, Field(ge=0, json_schema_extra={"format": "int32"})] | None = None
    """Pods that run or start now; terminating ones are not counted. The scale subresource reads it."""
    ready_replicas: Count | None = None
    """Pods that are ready to serve."""
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
    """How many server connections would do, and why; for people in mode Fixed."""
    advice: Annotated[tuple[Advice, ...], Field(max_length=16), ListMap("reason")] | None = None
    """What could be better, with figures. Empty when there is nothing to say."""
    summary: Summary | None = None
    """What kubectl get shows of two numbers at once."""
    last_change: LastChange | None = None
    """The latest change that reached the pods: what, how and how quickly."""
    connection_secrets: Annotated[tuple[Name, ...], Field(max_length=64)] | None = None
    """Names of the connection Secrets that the operator made, so that it can remove what is no longer wanted."""


def ratio(part: int | None, whole: int | None) -> str | None:
    """Return "7/25" for a column, or None while either number is unknown."""
    return None if part is None or whole is None else f"{part}/{whole}"


def previous(body: Mapping[str, Any]) -> PoolStatus:
    """Read the status of an object from the API server; one that does not parse (another version wrote it) is empty.

    So is the CRD's default, which stands until an operator tells something.
    """
    try:
        found = PoolStatus.model_validate(body.get("status") or {})
    except ValidationError:
        return PoolStatus()
    if found.observed_generation is None:
        return PoolStatus()
    # The API server merges the list by type and may give it back in another order, which is no news.
    return found.model_copy(update={"conditions": ordered(found.conditions)}) if found.conditions else found
