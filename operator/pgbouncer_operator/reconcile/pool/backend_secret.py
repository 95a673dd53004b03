"""The Secret that names a pool's server: when to read it, and the pool with what it says. Pure."""

from dataclasses import replace

from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.api.connection_pool import ConnectionPool, FieldProblem, InvalidSpec
from pgbouncer_operator.kube.client import Object
from pgbouncer_operator.reconcile.cache import endpoints
from pgbouncer_operator.reconcile.cache.views import PoolView
from pgbouncer_operator.reconcile.memory import Missing, ServerRead
from pgbouncer_operator.resources.backend_secret import ServerFromSecret, ServerUnavailable, read_server, with_server

READ_AGAIN = 60.0  # seconds to the next read by an operator that reads no other Secret, and follows no mounts


def asked(pool: ConnectionPool) -> str:
    """What the spec wants of the Secret. Another value causes a read."""
    return repr((pool.spec.backend, bool(pool.spec.databases), bool(pool.spec.users)))


def due(before: ServerRead | None, pool: ConnectionPool, refresh: str, oldest: float) -> bool:
    """Whether to read the Secret before anything else: at first, when the spec has changed, and in trouble.

    refresh: the pool's annotation for a refresh. oldest: a read before this moment, in monotonic seconds, is too old.
    """
    if before is None or before.missing is not None:
        return True
    return before.asked != asked(pool) or before.refresh != refresh or before.at < oldest


def answer(pool: ConnectionPool, body: Object | None) -> ServerFromSecret | Missing:
    """What the Secret says, or what it lacks. body: None if there is no such Secret."""
    try:
        return read_server(pool.spec, body)
    except ServerUnavailable as error:
        return Missing(error.reason, str(error))


def forbidden(pool: ConnectionPool) -> Missing:
    """The answer where the operator has no right to the Secret."""
    reference = pool.spec.backend.secret_ref
    message = (
        f"The operator may not read Secret {reference.name if reference else ''}, which backend.secretRef names. Set "
        "the chart's connectionSecrets.enabled, give the operator a Role to get this Secret, or write backend.host."
    )
    return Missing(Reason.SECRET_NOT_READABLE, message)


def remembered(before: ServerRead | None, now: ServerRead) -> ServerRead:
    """The read, with the server of the read before where this one has none: a pool that serves goes on with it."""
    if now.found is None and before is not None and before.asked == now.asked:
        return replace(now, found=before.found)
    return now


def resolved(
    spec: ConnectionPool | InvalidSpec, view: PoolView, read: ServerRead | None
) -> tuple[ConnectionPool | InvalidSpec, PoolView]:
    """The pool and its view with the server that the Secret names. Unchanged where the spec names no Secret."""
    if isinstance(spec, InvalidSpec) or spec.spec.backend.secret_ref is None:
        return spec, view
    if read is None or read.found is None:
        message = read.missing.message if read and read.missing else "The Secret has not been read yet."
        return InvalidSpec([FieldProblem("spec.backend.secretRef", message)]), view
    host, port = read.found.backend.address, read.found.backend.port
    backend = endpoints.service(host, view.namespace)
    view = replace(view, backend=backend, address=endpoints.address(host, port, view.namespace))
    try:
        return with_server(spec, read.found), view
    except InvalidSpec as error:
        return error, view
