"""`spec` of a ConnectionPool."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from pgbouncer_operator.api.access import AuthQuery, ConnectionSecret, Database, PoolMode, User
from pgbouncer_operator.api.backend import Backend
from pgbouncer_operator.api.clients import Clients, ClientTlsMode
from pgbouncer_operator.api.model import ListMap, Model, Rule
from pgbouncer_operator.api.pod import Pod
from pgbouncer_operator.api.service import Service, ServiceType
from pgbouncer_operator.api.strings import Integer, LongText, SettingValue
from pgbouncer_operator.api.tuning import Drain, ServerConnections, SizingMode, Timeouts


class Traffic(StrEnum):
    """Whether queries reach the server."""

    FLOWING = "Flowing"
    PAUSED = "Paused"


class UpgradePolicy(StrEnum):
    """Who starts the roll to the pod template of a newer operator."""

    MANUAL = "Manual"
    AUTOMATIC = "Automatic"


def _unknown_database(spec: "PoolSpec") -> str | None:
    names = {database.name for database in spec.databases}
    if not names:
        return None  # the Secret of the backend names it
    return next((s.database for s in spec.connection_secrets or () if s.database not in names), None)


def _unknown_user(spec: "PoolSpec") -> str | None:
    names = {user.name for user in spec.users}
    if not names:
        return None  # as above
    return next((s.user for s in spec.connection_secrets or () if s.user not in names), None)


def _unprotected(spec: "PoolSpec") -> str | None:
    protected = spec.clients.tls is not None and spec.clients.tls.mode is ClientTlsMode.REQUIRE
    return None if protected or spec.service.type is ServiceType.CLUSTER_IP else ""


def _lookup_elsewhere(spec: "PoolSpec") -> str | None:
    database = spec.auth_query.database if spec.auth_query else None
    names = {each.name for each in spec.databases}
    return None if database is None or not names or database in names else database


def _nobody_to_follow(spec: "PoolSpec") -> str | None:
    follows = spec.server_connections.sizing.mode is SizingMode.WORKLOADS
    return "" if follows and not spec.clients.workloads else None


class PoolSpec(Model):
    """What the pool should be."""

    # No rule may depend on replicas: an autoscaler writes them, would be refused, and could not scale.
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.connectionSecrets) || !has(self.databases) || "
            "self.connectionSecrets.all(s, self.databases.exists(d, d.name == s.database))",
            broken=_unknown_database,
            offender="self.connectionSecrets.map(s, s.database).filter(n, !self.databases.exists(d, d.name == n))[0]",
            message="connectionSecrets names the database {}, which is not in spec.databases: add or correct it",
            field="connectionSecrets",
        ),
        Rule(
            cel="!has(self.connectionSecrets) || !has(self.users) || "
            "self.connectionSecrets.all(s, self.users.exists(u, u.name == s.user))",
            broken=_unknown_user,
            offender="self.connectionSecrets.map(s, s.user).filter(n, !self.users.exists(u, u.name == n))[0]",
            message="connectionSecrets names the user {}, which is not in spec.users: add or correct it",
            field="connectionSecrets",
        ),
        Rule(
            cel="!has(self.authQuery) || !has(self.databases) || "
            "self.databases.exists(d, d.name == self.authQuery.database)",
            broken=_lookup_elsewhere,
            offender="self.authQuery.database",
            message="authQuery names the database {}, which is not in spec.databases: add or correct it",
            field="authQuery",
        ),
        Rule(
            cel='self.service.type == "ClusterIP" || has(self.clients.tls) && self.clients.tls.mode == "require"',
            broken=_unprotected,
            message="type NodePort and LoadBalancer need clients.tls with mode require: set it, or keep type ClusterIP",
            field="service",
        ),
        Rule(
            cel="has(self.databases) || has(self.backend.secretRef)",
            broken=lambda spec: None if spec.databases or spec.backend.secret_ref else "",
            message="databases is required without backend.secretRef: add it",
            field="databases",
        ),
        Rule(
            cel="has(self.users) || has(self.backend.secretRef)",
            broken=lambda spec: None if spec.users or spec.backend.secret_ref else "",
            message="users is required without backend.secretRef: add it",
            field="users",
        ),
        Rule(
            cel="has(self.backend.serverRef) || has(self.serverConnections.max)",
            broken=lambda spec: "" if spec.backend.server_ref is None and spec.server_connections.max is None else None,
            message="serverConnections.max is required without backend.serverRef: add it",
            field="serverConnections",
        ),
        Rule(
            cel='self.serverConnections.sizing.mode != "Workloads" || has(self.clients.workloads)'
            " && self.clients.workloads.size() > 0",
            broken=_nobody_to_follow,
            message="sizing mode Workloads follows clients.workloads, which names none: add your clients' Deployment",
            field="clients",
        ),
    )

    backend: Backend
    """The PostgreSQL server behind the pool. Required. A change is reloaded; a new CA reference rolls."""
    databases: Annotated[tuple[Database, ...], Field(min_length=1, max_length=128), ListMap("name")] = ()
    """Databases that clients may ask for, 1 to 128, merged by name. Required without backend.secretRef. Default: the
    database of that Secret. PgBouncer's [databases]. A change is reloaded; removal first lets clients leave."""
    users: Annotated[tuple[User, ...], Field(min_length=1, max_length=128), ListMap("name")] = ()
    """Logins that may use the pool, 1 to 128, merged by name. Required without backend.secretRef. Default: one entry,
    named default, with the login of that Secret. PgBouncer's auth_file. A new reference rolls
    the pods; new content of a Secret is reloaded. Removal rolls the pods too: sessions of the removed user end with the
    drain of their pod."""
    auth_query: AuthQuery | None = None
    """Looks up logins that are not in spec.users with a function in PostgreSQL. Default: none. A new reference rolls
    the pods; anything else is reloaded. A pod refuses a login that it has had in spec.users and that was removed from
    there; newer pods look it up, and removal from spec.users rolls the pods."""
    pool_mode: PoolMode = PoolMode.TRANSACTION
    """When a server connection goes back to the pool: session, transaction or statement. Default: transaction.
    PgBouncer's pool_mode. A change is reloaded, then every server connection is renewed."""
    server_connections: ServerConnections = ServerConnections()
    """How many connections to the PostgreSQL server the pool may hold. Required without backend.serverRef.
    A change is reloaded."""
    clients: Clients = Clients()
    """Limits of clients, their certificate and workloads. Default: 2000 clients for each pod. A change is reloaded."""
    timeouts: Timeouts = Timeouts()
    """Timeouts in whole seconds. Default: see each field. A change is reloaded."""
    replicas: Annotated[Integer, Field(ge=0, le=2**31 - 1, json_schema_extra={"format": "int32"})] = 2
    """Pods wanted; 0 stops the pool. Default: 2. Autoscalers write it through the scale subresource. If fewer pods fit
    in serverConnections.max, fewer run, and status says so. A change first moves limits, then pods."""
    drain: Drain = Drain()
    """How a pod leaves without cutting a transaction. Default: 120 s for clients, then 60 s for transactions. A change
    rolls the pods."""
    traffic: Traffic = Traffic.FLOWING
    """Paused lets running transactions end and makes other queries wait, for pauseTimeoutSeconds at most. Default:
    Flowing. PgBouncer's PAUSE. A change takes effect at once, without reload."""
    pause_timeout_seconds: Annotated[Integer, Field(ge=1, le=3600)] = 20
    """Seconds from the start of a pause until queries flow again, the same moment for all pods. Default: 20. A change
    takes effect with the next pause."""
    upgrade_policy: UpgradePolicy = UpgradePolicy.MANUAL
    """Manual: the condition UpdateAvailable says that a newer operator has another pod template; the next roll uses it.
    Automatic: the operator rolls the pods at once. Default: Manual."""
    parameters: Annotated[dict[LongText, SettingValue], Field(max_length=64)] | None = None
    """Other settings of PgBouncer by their own names, integer or string, at most 64. Default: none. Names and values
    are checked; a setting with a field of its own is refused. A change is reloaded or rolls the pods, see each
    setting."""
    service: Service = Service()
    """The Service that applications connect to, with the name of the pool. Default: a ClusterIP on port 6432. A change
    is applied at once."""
    pod: Pod = Pod()
    """Resources, placement and metadata of the pods. Default: see each field. A change rolls the pods."""
    connection_secrets: Annotated[tuple[ConnectionSecret, ...], Field(max_length=64), ListMap("name")] | None = None
    """Secrets that the operator writes for applications, at most 64, merged by name. Default: <pool>-connection and
    <pool>-direct with one database and one user, otherwise none; an empty list means none. Applied at once."""
