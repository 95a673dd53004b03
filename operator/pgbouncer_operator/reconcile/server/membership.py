"""A pool at a PostgresServer: the spec that both make together, or the reason why they make none. Pure."""

import hashlib
from dataclasses import replace
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.backend import Backend, BackendTls, CertificateAuthority, KeyReference
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.api.connection_pool import ConnectionPool, FieldProblem, InvalidSpec
from pgbouncer_operator.api.postgres_server import PostgresServer
from pgbouncer_operator.reconcile.cache import endpoints
from pgbouncer_operator.reconcile.cache.keys import name_of
from pgbouncer_operator.reconcile.cache.servers import KnownServer
from pgbouncer_operator.reconcile.cache.views import PoolView, ServerView
from pgbouncer_operator.reconcile.memory import Missing
from pgbouncer_operator.reconcile.observed import Membership, Observation, Observed, ObservedInvalid, with_spec
from pgbouncer_operator.sizing.allocation import POOLS, Entry
from pgbouncer_operator.sizing.ledger import charged
from pgbouncer_operator.sizing.relocation import moves
from pgbouncer_operator.wording import counted

LOOK_AGAIN = 1.0  # seconds between two looks at a server that has no allocation for the pool yet
MOVING = 0.5  # seconds between two looks while other pools wait for this one's pods to give connections back
SILENT = 5.0  # the same while none of those pods answers


def budgeted(server: ServerView, pool: ConnectionPool) -> tuple[InvalidSpec, Membership]:
    """The answer to a pool that names the host of a PostgresServer: the connections of that host have a budget.

    pool: with the host, also if a Secret names it. The message names no object of another namespace.
    """
    secret = pool.spec.backend.secret_ref
    host = "The host and port in the Secret" if secret else "This host and port"
    field = "backend.secretRef" if secret else "backend.host"
    besides = ", and list databases and users" if secret else ""
    message = (
        f"{host} are those of PostgresServer {server.name}, whose connections have a budget. "
        f"Replace {field} by backend.serverRef: {{name: {server.name}}}{besides}."
        if server.namespace == pool.metadata.namespace
        else f"{host} are those of a PostgresServer of another namespace, whose connections have a budget. "
        f"Ask the owner of the PostgreSQL server for its name, and replace {field} by backend.serverRef{besides}."
    )
    return _refused(name_of(server), Reason.SERVER_IS_BUDGETED, message)


def resolve(
    pool: ConnectionPool, view: PoolView, server: KnownServer | None
) -> tuple[ConnectionPool | InvalidSpec, Membership]:
    """The pool with the server's host, port, TLS and maximum in its spec. server: None if there is no such server.

    A pool may use the server only once the server's status has an allocation for it, also one of 0 connections.
    """
    name = "/".join(view.server or ())
    if server is None:
        message = f"PostgresServer {name} does not exist, or the operator does not watch its namespace."
        return _refused(name, Reason.SERVER_NOT_FOUND, f"{message} Create it, or correct backend.serverRef.")
    entry = server.view.allocations.entries.get(name_of(view))
    if isinstance(server.server, InvalidSpec):
        faults = str(server.server)
        if server.view.namespace != view.namespace:
            faults = "its spec has faults, which its condition Ready names to its owner."
        return _refused(name, Reason.SERVER_INVALID, f"PostgresServer {name} cannot be used: {faults}", entry)
    if entry is None or entry.uid != view.uid:
        return _refused(name, *_obstacle(name, view.namespace, server, server.server))
    if moves(server.view.allocations, server.view.address):
        return _refused(name, *_elsewhere(name, server), entry)
    welcome = server.allowed is not False and server.gives
    address = server.view.address if entry.former else ""
    member = Membership(name, entry, server.authority, welcome=welcome, gives=server.gives, leaves_for=address)
    return effective(pool, server.server), member


def _elsewhere(name: str, known: KnownServer) -> tuple[Reason, str]:
    """Why a pool stays at the former host and port of its server."""
    if not known.gives:
        return _taken(name)
    message = f"The host or port of PostgresServer {name} was edited, and its pools do not fit at the new one yet."
    return Reason.PENDING, f"{message} Until then this pool's pods keep their configuration."


def _taken(name: str) -> tuple[Reason, str]:
    message = f"PostgresServer {name} gives no connections: another one has the same host and port."
    return Reason.HOST_TAKEN, f"{message} Its condition Ready says what to do."


def _obstacle(name: str, namespace: str, known: KnownServer, server: PostgresServer) -> tuple[Reason, str]:
    """Why a pool of that namespace has no allocation."""
    if not known.gives:
        return _taken(name)
    if server.spec.connections.budget is None:
        message = f"It is not known yet how many connections PostgresServer {name} takes."
        return Reason.LIMITS_UNKNOWN, f"{message} Its condition LimitsKnown says why."
    if known.allowed is False:
        message = f"PostgresServer {name} does not allow pools of namespace {namespace}."
        return Reason.SERVER_NOT_SHARED, f"{message} Its owner can add it to allowedNamespaces."
    if len(known.view.allocations.entries) >= POOLS:
        message = f"PostgresServer {name} has allocations for {POOLS} pools, and more do not fit into its status."
        return Reason.BUDGET_EXCEEDED, f"{message} Serve several databases from one pool, or delete pools."
    return Reason.PENDING, f"PostgresServer {name} has no allocation for this pool yet."


def effective(pool: ConnectionPool, server: PostgresServer) -> ConnectionPool:
    """The pool with the server's host, port and TLS, and a maximum."""
    limits = pool.spec.server_connections.model_copy(update={"max": most(pool, server)})
    spec = pool.spec.model_copy(update={"backend": _backend(pool, server), "server_connections": limits})
    return pool.model_copy(update={"spec": spec})


def most(pool: ConnectionPool, server: PostgresServer) -> int:
    """The maximum of the pool: what it asks for, or else what its namespace may hold. In server connections."""
    limit = server.spec.share_of(pool.metadata.namespace).max or max(1, server.spec.connections.budget or 0)
    return pool.spec.server_connections.max or limit


def host(server: PostgresServer) -> str:
    """The server's host as pods of other namespaces name it."""
    name = server.spec.host
    service = endpoints.service(name, "")
    return f"{name}.{server.metadata.namespace}.svc" if service and not service[0] else name


def waits(observed: Observation) -> bool:
    """Whether the pool waits for its server: it has no allocation yet, or what is known of the server is out of date.

    It also waits while it holds more at another server than this one charges it with: all of that could come along.
    """
    member = observed.membership
    if member is None:
        return False
    if member.obstacle is not None:
        return member.obstacle.reason is Reason.PENDING
    grants = observed.ledger.grants if observed.ledger else None
    if grants is None or member.entry is None:
        return False
    if grants.server != member.server:
        return bool(grants.server) and charged(grants) > member.entry.charge
    return grants.allocation > member.entry.seq


def awaiting(observed: Observation) -> ObservedInvalid | None:
    """The observation with what the pool waits for as its obstacle; None while the wait is still short."""
    member, since = observed.membership, observed.memory.waiting_since
    if member is None or since is None or observed.now - since < observed.intervals.admission:
        return None
    grants = observed.ledger.grants if observed.ledger else None
    brings = charged(grants) if grants and grants.server != member.server else 0
    if brings > (member.entry.charge if member.entry else 0):
        reason, message = (
            Reason.BUDGET_EXCEEDED,
            (
                f"The pods of this pool hold {counted(brings, 'server connection')} at another server and could bring "
                f"all of them at once; PostgresServer {member.server} has no room for them. Raise its budget, or name "
                "the former server again, lower serverConnections.max there, and then move."
            ),
        )
    elif member.entry is None:
        reason, message = (
            Reason.PENDING,
            (
                f"PostgresServer {member.server} has no allocation for this pool yet: other pools still have to give "
                "connections back. If this lasts, look at the server's conditions and for pods that do not answer."
            ),
        )
    elif member.obstacle is not None:
        reason, message = member.obstacle.reason, member.obstacle.message
    else:
        return None
    fault, refused = _refused(member.server, reason, message)
    return with_spec(replace(observed, membership=refused), fault)


def look_again(observed: Observation) -> float | None:
    """Seconds until the next look while other pools wait for what this pool's pods hold; None while no pool waits.

    Pods that leave a former host and port of their server are looked at until they have.
    """
    member = observed.membership
    entry = member.entry if member else None
    if member is not None and member.leaves_for:
        return SILENT
    if entry is None or entry.high <= entry.connections or observed.ledger is None:
        return None
    if charged(observed.ledger.grants) <= entry.connections:
        return None
    owing = [uid for uid, grant in observed.ledger.grants.pods.items() if grant.high > grant.cap]
    return SILENT if owing and not any(observed.states.get(uid) for uid in owing) else MOVING


def documents(observed: Observed) -> dict[str, str]:
    """The server's CA for the pool's ConfigMap. While it cannot be read, the CA that is there stays."""
    if observed.membership is None or _own(observed.spec) is None:
        return {}
    text = observed.membership.authority
    if text is None:
        text = observed.config_map_data.get(naming.CA_KEY)
    return {naming.CA_KEY: text} if text else {}


def authority_body(member: Membership) -> dict[str, Any]:
    """The pool's ConfigMap with the CA that it is about to carry, as the check of certificates reads it."""
    text = member.authority or ""
    return {
        "metadata": {"resourceVersion": hashlib.sha256(text.encode()).hexdigest()[:8]},
        "data": {naming.CA_KEY: text} if text else {},
    }


def with_service(view: PoolView, server: KnownServer | None) -> PoolView:
    """The pool's view with the Service behind its server: the pool has to follow the failovers of that Service."""
    return replace(view, backend=server.view.backend) if server else view


def _own(pool: ConnectionPool) -> KeyReference | None:
    """The reference to the CA in the pool's own ConfigMap; None without one."""
    ca = pool.spec.backend.ca
    own = ca.config_map_key_ref if ca else None
    return own if own and own.name == naming.config_map(pool.metadata.name) else None


def _backend(pool: ConnectionPool, server: PostgresServer) -> Backend:
    spec = server.spec
    tls = spec.tls
    if tls is not None and tls.ca is not None and not tls.ca.system:
        own = KeyReference(name=naming.config_map(pool.metadata.name), key=naming.CA_KEY)
        tls = BackendTls(mode=tls.mode, ca=CertificateAuthority(config_map_key_ref=own))
    name = spec.host if pool.metadata.namespace == server.metadata.namespace else host(server)
    return Backend(host=name, port=spec.port, tls=tls)


def _refused(server: str, reason: Reason, message: str, entry: Entry | None = None) -> tuple[InvalidSpec, Membership]:
    member = Membership(server, entry, obstacle=Missing(reason, message))
    return InvalidSpec([FieldProblem("spec.backend", message)]), member
