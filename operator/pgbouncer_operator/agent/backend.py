"""Whether a login to PostgreSQL works, found out without a session beside the budget.

First what comes before any session: the name, the port, the answer to SSLRequest, the certificate. PostgreSQL gives a
connection its place among max_connections only after the startup packet, which is never sent here.
Then a login through our own PgBouncer: it uses a pooled connection inside the cap, and PostgreSQL's words come back.

That login also asks whether the server takes writes. A pool may stand before a replica for good reasons, so read-only
alone is no fault; it is one where this pod has seen the same login write to the same server's name before: then a
failover has left us on the wrong side (watch.py remembers who could write).
"""

import contextlib
import re
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pgbouncer_operator.protocol.state import BackendReason, BackendTest

if TYPE_CHECKING:
    from psycopg import pq

TIMEOUT_SECONDS = 5.0
NOT_SERVED = f"no server connection within {TIMEOUT_SECONDS:g} s"
# The reset value is the server's. The setting itself is what PgBouncer has kept of it for clients that come, and sets
# for them: since 1.26 it does so with default_transaction_read_only, until all server connections have been renewed.
WRITES = (
    "select not pg_catalog.pg_is_in_recovery() and not reset_val::bool, setting <> reset_val"
    " from pg_catalog.pg_settings where name = 'default_transaction_read_only'"
)
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)


@dataclass(frozen=True, slots=True)
class BackendAddress:
    """Where PostgreSQL is said to be, and what its TLS must be. ca: a file, or None."""

    host: str
    port: int
    mode: str
    ca: Path | None


@dataclass(frozen=True, slots=True)
class Pair:
    """One login to one database through the pool. handle: users[].name."""

    database: str
    handle: str
    login: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Test:
    """Everything one test of the backend does."""

    servers: tuple[BackendAddress, ...]
    pairs: tuple[Pair, ...]
    socket_dir: str
    port: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a login came to. refused: PostgreSQL's words, empty when it works. writes: None when nobody could ask.

    outdated: whether PgBouncer gives new clients another read-only setting than the server's.
    """

    refused: str = ""
    writes: bool | None = None
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class LoginTest:
    """One test's result, and which (database, handle) can write, and which can only read.

    outdated: databases whose server connections must be renewed, so that clients get the server's settings.
    """

    backend: BackendTest
    writing: frozenset[tuple[str, str]] = frozenset()
    reading: tuple[tuple[str, str], ...] = ()
    outdated: tuple[str, ...] = ()


def run(test: Test, serves: Callable[[str], bool]) -> LoginTest:
    """Test servers, then logins, one after the other; the first failure, or Ok. Takes 5 s for each at most.

    serves: whether PgBouncer holds server connections of that database. A test that waits behind a busy pool's clients
    says nothing against the backend.
    """
    for server in test.servers:
        if found := reach(server):
            return LoginTest(found)
    answers: dict[tuple[str, str], Answer] = {}
    for pair in test.pairs:
        answer = login(test, pair)
        refused = answer.refused
        if refused and not (refused == NOT_SERVED and serves(pair.database)):
            return LoginTest(BackendTest(reason(refused), f"database {pair.database}, user {pair.handle}: {refused}"))
        answers[pair.database, pair.handle] = answer
    return LoginTest(
        BackendTest(BackendReason.OK),
        frozenset(each for each, answer in answers.items() if answer.writes),
        tuple(each for each, answer in answers.items() if answer.writes is False),
        tuple({database: None for (database, _), answer in answers.items() if answer.outdated}),
    )


def read_only(database: str, handle: str) -> BackendTest:
    """The verdict on a server that takes no more writes from a login that could write before."""
    return BackendTest(
        BackendReason.READ_ONLY,
        f"database {database}, user {handle}: the server is in recovery or default_transaction_read_only is on, and "
        "it took writes before. Connections are renewed until they reach a server that does; "
        "correct backend.host if it names a replica.",
    )


def reason(refused: str) -> BackendReason:
    """Why, in one word. PgBouncer hands PostgreSQL's words on without their SQLSTATE; other languages than English
    stay refused logins."""
    if refused == NOT_SERVED:
        return BackendReason.UNREACHABLE
    if re.search(r'^database ".*" does not exist', refused):
        return BackendReason.DATABASE_MISSING
    if re.search(r"too many (clients|connections)|remaining connection slots", refused):
        return BackendReason.FULL
    return BackendReason.REFUSED_LOGIN


def pairs(databases: Iterable[str], logins: Iterable[tuple[str, str, str]]) -> tuple[Pair, ...]:
    """Which logins to try: every database once, every user once, no more. logins: (handle, login, password)."""
    names, users = list(databases), list(logins)
    if not names or not users:
        return ()
    return tuple(
        Pair(names[index % len(names)], *users[index % len(users)]) for index in range(max(len(names), len(users)))
    )


def reach(server: BackendAddress) -> BackendTest | None:
    """What stands between us and a session on this server, or None."""
    where = f"{server.host}:{server.port}"
    try:
        socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except OSError as error:
        words = error.strerror or str(error)
        return BackendTest(BackendReason.HOST_NOT_RESOLVED, f"{server.host}: {words}. Correct backend.host.")
    try:
        with socket.create_connection((server.host, server.port), TIMEOUT_SECONDS) as connection:
            return None if server.mode == "disable" else _secured(server, connection, where)
    except OSError as error:
        words = error.strerror or str(error)
        return BackendTest(
            BackendReason.UNREACHABLE, f"{where}: {words}. Start PostgreSQL, or correct backend.host and backend.port."
        )


def _secured(server: BackendAddress, connection: socket.socket, where: str) -> BackendTest | None:
    connection.sendall(_SSL_REQUEST)
    answer = connection.recv(1)
    if answer != b"S":
        return BackendTest(
            BackendReason.WITHOUT_TLS,
            f"{where} speaks no TLS, and backend.tls.mode is {server.mode}. "
            "Turn TLS on in PostgreSQL (ssl = on), or set backend.tls.mode to disable.",
        )
    if server.ca is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = server.mode == "verify-full"
    try:
        context.load_verify_locations(server.ca)
        with context.wrap_socket(connection, server_hostname=server.host):
            return None
    except ssl.SSLError as error:
        words = getattr(error, "verify_message", "") or error.reason or str(error)
        return BackendTest(
            BackendReason.CERTIFICATE_INVALID,
            f"{where}: {words}. Correct backend.tls.ca, or the certificate of PostgreSQL.",
        )


def login(test: Test, pair: Pair) -> Answer:
    """Whether a query through the pool works, and whether the server takes writes."""
    import psycopg  # as late as possible: the first configuration does not wait for it

    until = time.monotonic() + TIMEOUT_SECONDS
    try:
        connection = psycopg.connect(
            host=test.socket_dir,
            port=test.port,
            dbname=pair.database,
            user=pair.login,
            password=pair.password,
            connect_timeout=int(TIMEOUT_SECONDS),
            application_name="pgbouncer-operator",
            autocommit=True,
        )
        with contextlib.closing(connection):
            return _select(connection.pgconn, until)
    except psycopg.errors.ConnectionTimeout:
        return Answer(NOT_SERVED)
    except psycopg.Error as error:
        return Answer(said(str(error)))


def _select(connection: "pq.abc.PGconn", until: float) -> Answer:
    """As `connection.execute`, but with an end: a query may wait in the pool's queue for long."""
    connection.send_query(WRITES.encode())
    refused, writes, outdated = "", None, False
    while True:
        while connection.is_busy():
            left = until - time.monotonic()
            if left <= 0 or not select.select([connection.socket], [], [], left)[0]:
                return Answer(NOT_SERVED)
            connection.consume_input()
        if (result := connection.get_result()) is None:
            return Answer(refused, writes, outdated)
        refused = refused or said(result.error_message.decode(errors="replace"))
        if result.ntuples:
            writes, outdated = (result.get_value(0, column) == b"t" for column in (0, 1))


def said(text: str) -> str:
    """The server's own sentence in a driver's message: without the socket's path, PgBouncer's preface and severity."""
    line = text.strip().split("\n")[0]
    for preface in ("failed: ", "server login failed: ", "cached error: "):
        line = line.rpartition(preface)[2] if preface in line else line
    for severity in ("FATAL:", "ERROR:", "FATAL"):
        line = line.removeprefix(severity).strip()
    return line.removesuffix(" (server_login_retry)")
