"""A pool at a PostgresServer: the spec that comes of both, and what is said where none comes of them. Pure."""

import hashlib
from dataclasses import replace
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.backend import Backend, BackendTls, CertificateAuthority, KeyReference
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.api.connection_pool import ConnectionPool, FieldProblem, InvalidSpec
from pgbouncer_operator.api.postgres_server import PostgresServer
from pgbouncer_operator.reconcile.cache import endpoints
from pgbouncer_operator.reconcile.cache.servers import Found
from pgbouncer_operator.reconcile.cache.views import PoolView, ServerView
from pgbouncer_operator.reconcile.memory import Missing
from pgbouncer_operator.reconcile.observed import Membership, Observation, Observed, ObservedInvalid, with_spec
from pgbouncer_operator.sizing.ledger import charged

LOOK_AGAIN = 1.0  # seconds between two looks at a server that has not said a word about this pool yet
UNTOLD_SECONDS = 20.0  # seconds until the user is told that the server has yet to let the pool in
MOVING = 0.5  # seconds between two looks while other pools wait for this one's pods to give connections back
SILENT = 5.0  # the same while none of those pods says a word


def name_of(view: ServerView) -> str:
    """How a server is called in ledgers and messages."""
    return f"{view.namespace}/{view.name}"


def budgeted(server: ServerView) -> tuple[InvalidSpec, Membership]:
    """The answer to a pool that names the host of a server whose connections are a budget."""
    message = (
        f"this host and port are those of PostgresServer {name_of(server)}, whose connections are shared by a budget. "
        f"Replace backend.host by backend.serverRef: {{name: {server.name}, namespace: {server.namespace}}}."
    )
    return _refused(name_of(server), Reason.SERVER_IS_BUDGETED, message)


def resolve(
    pool: ConnectionPool, view: PoolView, found: Found | None
) -> tuple[ConnectionPool | InvalidSpec, Membership]:
    """The pool as if it had named host, port, TLS and maximum itself. found: None where there is no such server.

    Only the server's own word lets a pool in: an allocation, be it of nothing.
    """
    name = "/".join(view.server or ())
    if found is None:
        message = f"PostgresServer {name} does not exist, or not in a namespace that the operator watches."
        return _refused(name, Reason.SERVER_NOT_FOUND, f"{message} Create it, or correct backend.serverRef.")
    if isinstance(found.server, InvalidSpec):
        return _refused(name, Reason.SERVER_INVALID, f"PostgresServer {name} cannot be used: {found.server}")
    entry = found.view.allocations.entries.get(f"{view.namespace}/{view.name}")
    if entry is None or entry.uid != view.uid:
        if found.server.spec.connections.budget is None:
            message = f"PostgresServer {name} does not know yet how many connections its server takes."
            return _refused(name, Reason.LIMITS_UNKNOWN, f"{message} Its condition LimitsKnown says why.")
        if found.allowed is False:
            message = f"PostgresServer {name} does not allow pools of namespace {view.namespace}."
            return _refused(name, Reason.SERVER_NOT_SHARED, f"{message} Its owner sets allowedNamespaces.")
        return _refused(name, Reason.PENDING, f"PostgresServer {name} has not given this pool connections yet.")
    member = Membership(name, entry, found.authority, welcome=found.allowed is not False)
    return effective(pool, found.server), member


def effective(pool: ConnectionPool, server: PostgresServer) -> ConnectionPool:
    """The pool with the server's host, port and TLS, and a maximum."""
    limits = pool.spec.server_connections.model_copy(update={"max": most(pool, server)})
    spec = pool.spec.model_copy(update={"backend": _backend(pool, server), "server_connections": limits})
    return pool.model_copy(update={"spec": spec})


def most(pool: ConnectionPool, server: PostgresServer) -> int:
    """The most the pool may ever hold: what it asks for, or else what its namespace may."""
    limit = server.spec.share_of(pool.metadata.namespace).max or max(1, server.spec.connections.budget or 0)
    return pool.spec.server_connections.max or limit


def host(server: PostgresServer) -> str:
    """The server's host as it is called from other namespaces."""
    name = server.spec.host
    found = endpoints.service(name, "")
    return f"{name}.{server.metadata.namespace}.svc" if found and not found[0] else name


def waits(observed: Observation) -> bool:
    """Whether this look knows too little: the server has not answered, or what we know of it is old news.

    Or the pool holds more at another server than this one charges it with, which all could come along at once.
    """
    member = observed.membership
    if member is None:
        return False
    if member.obstacle is not None:
        return member.obstacle.reason is Reason.PENDING
    known = observed.ledger.grants if observed.ledger else None
    if known is None or member.entry is None:
        return False
    if known.server != member.server:
        return bool(known.server) and charged(known) > member.entry.charge
    return known.allocation > member.entry.seq


def awaiting(observed: Observation) -> ObservedInvalid | None:
    """The look with what the pool waits for as its obstacle; None while it waits for news that are about to come."""
    member, since = observed.membership, observed.memory.waiting_since
    if member is None or since is None or observed.now - since < UNTOLD_SECONDS:
        return None
    grants = observed.ledger.grants if observed.ledger else None
    brings = charged(grants) if grants and grants.server != member.server else 0
    if brings > (member.entry.charge if member.entry else 0):
        reason, message = (
            Reason.BUDGET_EXCEEDED,
            (
                f"The pods of this pool hold {brings} server connections at another server, which could all come along "
                f"at once; PostgresServer {member.server} has no room for them. Raise its budget, or name the former "
                "server again, lower serverConnections.max there, and move then."
            ),
        )
    elif member.entry is None:
        reason, message = (
            Reason.PENDING,
            (
                f"PostgresServer {member.server} has not given this pool connections yet: others have yet to give some "
                "back. If it stays, look at the server's conditions and at pools whose pods do not answer."
            ),
        )
    else:
        return None
    fault, place = _refused(member.server, reason, message)
    return with_spec(replace(observed, membership=place), fault)


def look_again(observed: Observed) -> float | None:
    """Seconds to the next look while others wait for what this pool's pods still hold; None: nobody does."""
    entry = observed.membership.entry if observed.membership else None
    if entry is None or entry.high <= entry.connections or observed.ledger is None:
        return None
    if charged(observed.ledger.grants) <= entry.connections:
        return None
    owing = [uid for uid, grant in observed.ledger.grants.pods.items() if grant.high > grant.cap]
    return SILENT if owing and not any(observed.states.get(uid) for uid in owing) else MOVING


def documents(observed: Observed) -> dict[str, str]:
    """The server's CA for the pool's ConfigMap; the one that is there while it cannot be read."""
    if observed.membership is None or _own(observed.spec) is None:
        return {}
    text = observed.membership.authority
    if text is None:
        child = observed.children.get(("ConfigMap", naming.config_map(observed.view.name)))
        text = child.unpack().get("data", {}).get(naming.CA_KEY) if child else None
    return {naming.CA_KEY: text} if text else {}


def authority_body(member: Membership) -> dict[str, Any]:
    """The pool's ConfigMap as the look at certificates takes it: with the CA that it is about to carry."""
    text = member.authority or ""
    return {
        "metadata": {"resourceVersion": hashlib.sha256(text.encode()).hexdigest()[:8]},
        "data": {naming.CA_KEY: text} if text else {},
    }


def with_service(view: PoolView, found: Found | None) -> PoolView:
    """The pool's view with the Service behind its server, whose failovers it has to follow."""
    return replace(view, backend=found.view.backend) if found else view


def _own(pool: ConnectionPool) -> KeyReference | None:
    """The reference to the CA in the pool's own ConfigMap, None without one."""
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


def _refused(server: str, reason: Reason, message: str) -> tuple[InvalidSpec, Membership]:
    return InvalidSpec([FieldProblem("spec.backend", message)]), Membership(server, obstacle=Missing(reason, message))
