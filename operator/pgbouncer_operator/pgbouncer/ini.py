"""A pod's pgbouncer.ini, made of an intent, the shares of the pod's grant, and the logins.

Pure, and without secrets: only userlist.txt holds passwords. Equal compositions give equal bytes.
Three tables make the global settings, each overriding the one before: defaults, the pool's own settings, and those that
the operator's promises depend on.
"""

import hashlib

import pgbouncer_operator.pgbouncer.parameters as parameters
from pgbouncer_operator.pgbouncer.composition import LOOKUP, Composition, Paths, Peer, UserEntry, check
from pgbouncer_operator.pgbouncer.session import CONNECT_QUERY
from pgbouncer_operator.pgbouncer.syntax import CompositionError, Ini, SyntaxProblem, parse, write
from pgbouncer_operator.protocol.intent import DatabaseIntent

__all__ = [
    "Composition",
    "CompositionError",
    "Ini",
    "Paths",
    "Peer",
    "SyntaxProblem",
    "UserEntry",
    "compose",
    "marker",
    "parse",
    "render",
]

# Written first, so that PgBouncer has read them if it ever stops at a line.
FIRST = (
    "auth_type",
    "auth_hba_file",
    "auth_file",
    "auth_user",
    "admin_users",
    "stats_users",
    "pool_mode",
    "max_client_conn",
    "default_pool_size",
    "min_pool_size",
    "reserve_pool_size",
    "max_db_connections",
    "max_user_connections",
    "server_tls_sslmode",
    "server_tls_ca_file",
)
# Connections to one peer. Each carries one cancel request, so with fewer of them a request waits for others.
CANCELS_AT_ONCE = 20
MARKER = "syslog_ident"  # it has no effect while `syslog` is off


def render(composition: Composition) -> str:
    """The text of pgbouncer.ini. Raises CompositionError."""
    return write(compose(composition))


def marker(composition: Composition) -> str:
    """The value of `syslog_ident` in SHOW CONFIG after PgBouncer has read this configuration to its last line."""
    return compose(composition).pgbouncer[MARKER]


def compose(composition: Composition) -> Ini:
    """The configuration as data. Raises CompositionError."""
    check(composition)
    mode = str(composition.intent.settings.get("pool_mode", defaults(0)["pool_mode"]))
    databases = {each.name: _database(each, composition.shares[each.name], mode) for each in composition.databases}
    # An entry without members resets the limit of an earlier configuration; a missing entry would leave it.
    users = {
        each.login: {} if each.max is None else {"max_user_connections": str(each.max)} for each in composition.logins
    }
    peers = {
        str(each.id): {"host": each.host, "port": str(each.port), "pool_size": str(CANCELS_AT_ONCE)}
        for each in sorted(composition.peers, key=lambda peer: peer.id)
    }
    merged = _merged(composition)
    order = (*(key for key in FIRST if key in merged), *sorted(merged.keys() - set(FIRST)))
    ordered = {key: merged[key] for key in order}
    named = _marker(composition, write(Ini(databases, users, peers, ordered)))
    return Ini(databases, users, peers, ordered | {MARKER: named})


def defaults(query_wait: float) -> dict[str, str]:
    """The settings of a pool that sets none. query_wait: its query_wait_timeout in seconds, 0 for no limit.

    Keepalives end the connections to a server that has disappeared before the clients that wait for it time out.
    """
    longest = min(query_wait, 30.0) if query_wait > 0 else 30.0
    derived = {
        "tcp_keepidle": str(max(1, int(longest / 3))),
        "tcp_keepintvl": str(max(1, int(longest / 6))),
        "tcp_user_timeout": str(int(longest * 1000 * 2 / 3)),  # milliseconds
    }
    return {row.name: row.ours for row in parameters.CATALOGUE if row.ours is not None} | derived


def mandatory(composition: Composition) -> dict[str, str]:
    """The settings that neither the defaults nor a pool can override."""
    cap, tls = str(composition.cap), composition.intent.client_tls
    return {
        **_looked_up(composition),
        "auth_type": "hba",
        "auth_hba_file": composition.paths.hba,
        "auth_file": composition.paths.userlist,
        "admin_users": "",  # only PgBouncer's own uid administers it, on the Unix socket
        "stats_users": composition.stats_user,
        "default_pool_size": cap,
        "min_pool_size": "0",
        "reserve_pool_size": "0",
        "max_db_connections": cap,
        "max_user_connections": "0",
        "server_tls_sslmode": composition.intent.server_tls.mode,
        "server_tls_ca_file": composition.ca_file,
        "client_tls_sslmode": tls.mode if tls else "disable",
        "client_tls_cert_file": composition.paths.certificate if tls else "",
        "client_tls_key_file": composition.paths.key if tls else "",
        "listen_addr": "*" if composition.listen else "",
        "listen_port": str(composition.port),
        "unix_socket_dir": composition.paths.run,
        "unix_socket_mode": "0700",
        "peer_id": str(composition.peer_id),
        "syslog": "0",
        "logfile": "",
    }


def _looked_up(composition: Composition) -> dict[str, str]:
    """Settings for look-ups of logins. Without look-ups none of the three keys is written.

    An empty `auth_user` counts as set: PgBouncer logs in to PostgreSQL with an empty user for each unknown login. Where
    the key is absent, PgBouncer refuses an unknown login as it refuses a wrong password. A RELOAD keeps an earlier
    `auth_user` and `auth_dbname`; the entry LOOKUP is gone then, so PgBouncer refuses without asking a server.
    """
    query = composition.intent.auth_query
    if query is None or not composition.lookup:
        return {}
    return {
        "auth_user": composition.lookup,
        "auth_dbname": LOOKUP,
        "auth_query": f"SELECT * FROM {query.function}($1)",  # schema and name, checked by the API's pattern
    }


def _merged(composition: Composition) -> dict[str, str]:
    own = _own_settings(composition)
    always = mandatory(composition)
    query_wait = own.get("query_wait_timeout", defaults(0)["query_wait_timeout"])
    merged = {**defaults(float(query_wait)), **own, **always}
    return {**merged, "max_client_conn": str(composition.clients)}


def _own_settings(composition: Composition) -> dict[str, str]:
    own = {}
    audiences = (parameters.Audience.USER, parameters.Audience.FIELD)
    for key, value in composition.intent.settings.items():
        problem = parameters.check(key, value, composition.version, audiences)
        if problem is not None:
            raise CompositionError(f"settings.{problem.message}")
        own[key] = str(value)
    return own


def _database(database: DatabaseIntent, share: int, mode: str) -> dict[str, str]:
    # Every entry has every member, so that no value of an earlier configuration stays.
    return {
        "host": database.host,
        "port": str(database.port),
        "dbname": database.dbname,
        "pool_size": str(share),
        "max_db_connections": str(share),
        "pool_mode": database.pool_mode or mode,
        "connect_query": CONNECT_QUERY,
    }


def _marker(composition: Composition, text: str) -> str:
    rest: str = hashlib.sha256(f"{text}\n{composition.credentials}".encode()).hexdigest()[:8]
    return f"{composition.intent.digest}-{composition.seq}-{rest}"
