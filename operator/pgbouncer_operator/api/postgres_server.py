"""PostgresServer: a server and its budget of connections, which pools of one or many namespaces share."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints, ValidationError

from pgbouncer_operator.api.access import ConnectionCount
from pgbouncer_operator.api.backend import Backend, BackendTls
from pgbouncer_operator.api.conditions import Condition
from pgbouncer_operator.api.connection_pool import ObjectMeta, problems
from pgbouncer_operator.api.model import ListMap, Model, Rule
from pgbouncer_operator.api.status import Advice, Count, Name
from pgbouncer_operator.api.strings import (
    BackendDatabaseName,
    Host,
    Integer,
    KeyName,
    LabelKey,
    LabelValue,
    LongText,
    Namespace,
    ObjectName,
    Text,
)

Weight = Annotated[Integer, Field(ge=1, le=1000)]


class ServerConnectionBudget(Model):
    """How many connections the pools may hold together: floor((max - unpooled) * (100 - headroomPercent) / 100)."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.max) || self.unpooled < self.max",
            broken=lambda budget: None if budget.max is None or budget.unpooled < budget.max else "",
            message="unpooled leaves nothing for pools: lower it below max",
            field="unpooled",
        ),
    )

    max: ConnectionCount | None = None
    """Connections that the server takes: its max_connections without superuser_reserved_connections, or a role's
    CONNECTION LIMIT. Default: read from the server, with monitoring. A change moves the pools' limits, lower
    ones first; nothing restarts."""
    unpooled: Annotated[Integer, Field(ge=0, le=10_000)] = 0
    """Connections that are kept for clients that use no pool: migrations, backups, people. At least 1 if max is read
    from the server, for the login that reads it. Default: 0. A change moves the pools' limits."""
    headroom_percent: Annotated[Integer, Field(ge=0, le=90)] = 0
    """Percentage of the rest that no pool gets, for statements whose client has disconnected. Default: 0. A change
    moves the pools' limits."""

    @property
    def budget(self) -> int | None:
        """Connections that all pools may hold together; None without max."""
        if self.max is None:
            return None
        return max(0, self.max - self.unpooled) * (100 - self.headroom_percent) // 100


class Consent(StrEnum):
    """Of which namespaces pools may refer to the server."""

    SAME = "Same"
    ALL = "All"
    SELECTOR = "Selector"


class LabelSelector(Model):
    """Labels that a namespace must have, all of them."""

    match_labels: Annotated[dict[LabelKey, LabelValue], Field(min_length=1, max_length=16)]
    """Labels and their values. Required, at least one. A change takes effect at once."""


class AllowedNamespaces(Model):
    """Of which namespaces pools may refer to the server."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel='(has(self.from) && self.from == "Selector") == has(self.selector)',
            broken=lambda allowed: (
                None if (allowed.from_ is Consent.SELECTOR) == (allowed.selector is not None) else ""
            ),
            message="selector and from: Selector belong together: give both or neither",
            field="selector",
        ),
    )

    from_: Annotated[Consent, Field(alias="from")] = Consent.SAME
    """Same: pools of the server's own namespace. All: of every namespace. Selector: of namespaces with the labels of
    selector. Default: Same. A change takes effect at once; a pool that loses its permission serves on with the fewest
    connections."""
    selector: LabelSelector | None = None
    """The labels of the namespaces, with from: Selector. Default: none. A change takes effect at once; labels of
    namespaces are read again within ten minutes."""


class Share(Model):
    """What the pools of one namespace may hold together."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.max) || !has(self.guaranteed) || self.guaranteed <= self.max",
            broken=lambda share: None if share.max is None or share.guaranteed <= share.max else "",
            message="guaranteed is more than max: lower guaranteed or raise max",
            field="guaranteed",
        ),
    )

    guaranteed: Annotated[Integer, Field(ge=0, le=10_000)] = 0
    """Connections that its pools get first, if they ask for them. Default: 0. A change moves the pools' limits."""
    max: ConnectionCount | None = None
    """Most connections of its pools together. Default: the server's budget. A change moves the pools' limits."""
    weight: Weight = 10
    """Its part of what is left after all guarantees, in proportion to the other weights. Default: 10. A change moves
    the pools' limits."""


class NamespaceShare(Share):
    """The share of one namespace."""

    namespace: Namespace
    """Name of the namespace. Required. A change moves the pools' limits."""


class MonitoringSecret(Model):
    """A Secret in the server's namespace."""

    name: ObjectName
    """Name of the Secret, in the PostgresServer's namespace. Required. A change takes effect at once, new content
    within a minute."""


class Monitoring(Model):
    """The login with which the operator reads the server's limits, once a minute."""

    secret_ref: MonitoringSecret
    """The Secret with login and password of a role; pg_monitor is enough. A superuser is refused. Required. A change
    takes effect at once."""
    username_key: KeyName | None = None
    """Key of the Secret that holds the login. Default: username, else user. A change takes effect at once."""
    password_key: KeyName = "password"  # noqa: S105  the name of a key
    """Key of the Secret that holds the password. Default: password. A change takes effect at once."""
    database: BackendDatabaseName = "postgres"
    """Name of the database to log in to. Default: postgres. A change takes effect at once."""


class ServerSpec(Model):
    """What the server is, and who may use how much of it."""

    host: Host
    """DNS name or IP address of the PostgreSQL server. Required. A name without dots is a Service of this namespace,
    also for pools of other namespaces. A change takes effect by reload of the pools, then every server connection is
    renewed."""
    port: Annotated[Integer, Field(ge=1, le=65535)] = 5432
    """TCP port of the PostgreSQL server. Default: 5432. A change takes effect by reload of the pools."""
    tls: BackendTls | None = None
    """TLS towards the server. The operator reads a CA in this namespace and copies it, never a key, to the pools.
    Default: encrypted without verification (require). A change takes effect by reload of the pools; another kind of CA
    rolls them."""
    connections: ServerConnectionBudget = ServerConnectionBudget()
    """How many connections the pools may hold together. Needs max or monitoring. A change moves the pools' limits."""
    monitoring: Monitoring | None = None
    """The login with which the operator reads max_connections, superuser_reserved_connections and reserved_connections.
    Default: none, which requires connections.max. A change takes effect at once."""
    allowed_namespaces: AllowedNamespaces = AllowedNamespaces()
    """Of which namespaces pools may refer to the server. Default: its own. A change takes effect at once."""
    default_share: Share = Share()
    """The share of each namespace that shares does not list. Default: no guarantee, up to the budget, weight 10. A
    change moves the pools' limits."""
    shares: Annotated[tuple[NamespaceShare, ...], Field(max_length=256), ListMap("namespace")] = ()
    """Shares of namespaces, at most 256. Default: none. A change moves the pools'
    limits."""

    @property
    def backend(self) -> Backend:
        """The server as the backend of a pool."""
        return Backend(host=self.host, port=self.port, tls=self.tls)

    def share_of(self, namespace: str) -> Share:
        """The share of a namespace: its own or the default one."""
        return next((each for each in self.shares if each.namespace == namespace), self.default_share)


class PostgresServer(Model):
    """A PostgreSQL server whose connections are a budget that pools of one or many namespaces share."""

    metadata: ObjectMeta
    spec: ServerSpec


class FormerAddress(Model):
    """A host and port that the server has left, and that pods of a pool may not have left yet."""

    address: LongText
    """The host and port that the server had."""
    high: Count
    """The most that the pool's pods may still hold there."""


class Allocation(Model):
    """What one pool may hold. It counts in the budget with the higher of connections and high."""

    pool: Annotated[str, StringConstraints(max_length=320)]
    """The pool, as namespace/name."""
    uid: Name = ""
    """The pool's uid, by which it differs from a later pool of the same name."""
    connections: Count
    """Connections that the pool may hold."""
    high: Count
    """The most that its pods may still hold. It falls to connections once they have confirmed the lower limit."""
    seq: Annotated[Integer, Field(ge=0)]
    """The round of allocation in which connections was set."""
    former: Annotated[tuple[FormerAddress, ...], Field(max_length=8), ListMap("address")] | None = None
    """Where pods of the pool may still hold connections since host or port was edited. It goes when none can."""


class ReadLimits(Model):
    """The server's limits when they were read last."""

    max_connections: Count
    """Its max_connections."""
    reserved: Count
    """Its superuser_reserved_connections and reserved_connections together."""
    started: Name = ""
    """When the server was started, in UTC."""
    address: LongText = ""
    """The host and port where they were read. They count only there."""


class ServerStatus(Model):
    """What the operator observed and allocated."""

    observed_generation: Count | None = None
    """Generation of the spec that this status is about."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), ListMap("type")] | None = None
    """Conditions by type. Ready is the summary; Stalled means that a user has to act."""
    limits: ReadLimits | None = None
    """The server's limits when they were read last. They are in force until the next successful read."""
    advice: Annotated[tuple[Advice, ...], Field(max_length=16), ListMap("reason")] | None = None
    """What could be better, with figures. The operator does not act on it."""
    operator: Text | None = None
    """Namespace of the operator that serves this server. Others stand by."""
    budget: Count | None = None
    """Connections that all pools may hold together."""
    allocated: Count | None = None
    """Connections of the budget that pools hold or may open now."""
    pools: Count | None = None
    """Number of pools that have an allocation or wait for one."""
    seq: Count | None = None
    """The latest round of allocation. It only grows."""
    address: LongText | None = None
    """The host and port that the allocations are for. After an edit it follows once the pools fit there."""
    allocations: Annotated[tuple[Allocation, ...], Field(max_length=2000), ListMap("pool")] | None = None
    """What each pool may hold. The operator reads it: a change by hand changes the sum."""


def parse(body: Mapping[str, Any]) -> PostgresServer:
    """Read a PostgresServer from the whole object, as JSON values. Raises InvalidSpec with every problem."""
    try:
        return PostgresServer.model_validate(body)
    except ValidationError as error:
        invalid = problems(error)
    raise invalid


def previous(status: Mapping[str, Any]) -> ServerStatus:
    """Read a status. Raises ValidationError; the allocations are then unknown, which is not the same as none."""
    return ServerStatus.model_validate(status)
