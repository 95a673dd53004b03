"""Whether a login to PostgreSQL works, tested without a session outside the budget.

The test first checks what comes before a session: the name, the port, the answer to SSLRequest, the certificate.
PostgreSQL counts a connection against max_connections after the startup packet, which this part never sends.
Then it logs in through the pod's own PgBouncer: on a pooled connection within the cap, with PostgreSQL's own messages.

The login also asks whether the server accepts writes. A pool of a replica is read-only on purpose, so read-only alone
is no failure. It is one where the same login could write to the same host before: after a failover the connections
lead to the old primary (backend_schedule.py remembers which logins could write).
"""

import contextlib
import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pgbouncer_operator.agent.pooled_query import NOT_SERVED, TIMEOUT_SECONDS, DatabaseLogin, ask
from pgbouncer_operator.protocol.reasons import BackendReason
from pgbouncer_operator.protocol.state import BackendTest

MOST_ADDRESSES = 4  # that a test asks of a host, 5 s each at most
# What a client hears when PgBouncer itself gets no connection to the server.
NOT_CONNECTED = re.compile(f"^{NOT_SERVED}|connect failed|server login has been failing|server conn crashed")
# reset_val is the server's value. setting is the value that PgBouncer keeps and sets for new clients: since 1.26 it
# tracks default_transaction_read_only, and keeps the old value until all server connections are renewed.
WRITES = (
    "select not pg_catalog.pg_is_in_recovery() and not reset_val::bool, setting <> reset_val"
    " from pg_catalog.pg_settings where name = 'default_transaction_read_only'"
)
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)


@dataclass(frozen=True, slots=True)
class BackendAddress:
    """A PostgreSQL server."""

    host: str
    port: int
    mode: str
    """backend.tls.mode."""
    ca: Path | None
    """The CA that signs the server's certificate; None when the certificate is not verified."""


@dataclass(frozen=True, slots=True)
class TestPlan:
    """What one test of the backend covers."""

    servers: tuple[BackendAddress, ...]
    logins: tuple[DatabaseLogin, ...]
    socket_dir: str
    port: int


@dataclass(frozen=True, slots=True)
class LoginAnswer:
    """The result of one login."""

    refused: str = ""
    """PostgreSQL's error message; empty when the login works."""
    writes: bool | None = None
    """Whether the server accepts writes; None when the login failed before the question."""
    outdated: bool = False
    """Whether PgBouncer gives new clients another default_transaction_read_only than the server's."""


@dataclass(frozen=True, slots=True)
class TestResult:
    """The result of one test."""

    backend: BackendTest
    writing: frozenset[tuple[str, str]] = frozenset()
    """(database, handle) that can write."""
    reading: tuple[tuple[str, str], ...] = ()
    """(database, handle) that can only read."""
    outdated: tuple[str, ...] = ()
    """Databases whose server connections must be renewed, so that clients get the server's settings."""


def run(test: TestPlan, serves: Callable[[str], bool]) -> TestResult:
    """Test servers, then logins, one after the other, until the first failure. Takes at most 5 s for each.

    serves: whether PgBouncer has busy server connections of a database. Then a login that gets no answer waits behind
    the clients of a busy pool, and is no failure of the backend.
    """
    for server in test.servers:
        if failure := reach(server):
            return TestResult(failure)
    answers: dict[tuple[str, str], LoginAnswer] = {}
    for pair in test.logins:
        answer = login(test, pair)
        refused = answer.refused
        if refused and not (refused == NOT_SERVED and serves(pair.database)):
            if NOT_CONNECTED.search(refused) and (failure := dead_address(test.servers)):
                return TestResult(failure)
            return TestResult(BackendTest(reason(refused), f"database {pair.database}, user {pair.handle}: {refused}"))
        answers[pair.database, pair.handle] = answer
    return TestResult(
        BackendTest(BackendReason.OK),
        frozenset(each for each, answer in answers.items() if answer.writes),
        tuple(each for each, answer in answers.items() if answer.writes is False),
        tuple({database: None for (database, _), answer in answers.items() if answer.outdated}),
    )


def dead_address(servers: Iterable[BackendAddress]) -> BackendTest | None:
    """The first address of a host with several that accepts no connection; None when all do.

    `reach` is content with any address, as drivers are. PgBouncer tries one address for each connection, and keeps
    to it for server_login_retry seconds when it fails: https://www.pgbouncer.org/config.html#server_login_retry
    """
    for server in servers:
        with contextlib.suppress(OSError):
            found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
            for address in addresses[:MOST_ADDRESSES] if len(addresses) > 1 else ():
                if message := _no_connection(address, server.port):
                    return BackendTest(
                        BackendReason.UNREACHABLE,
                        f"{server.host} has {len(addresses)} addresses, and {address}, port {server.port}, accepts "
                        f"no connection: {message}. PgBouncer uses any of them. Remove the address from the name, or "
                        "let PostgreSQL listen there.",
                    )
    return None


def _no_connection(address: str, port: int) -> str:
    """Why the address accepts no connection; empty when it does."""
    try:
        socket.create_connection((address, port), TIMEOUT_SECONDS).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def read_only(database: str, handle: str) -> BackendTest:
    """The failure of a login that could write before and cannot any more."""
    return BackendTest(
        BackendReason.READ_ONLY,
        f"database {database}, user {handle}: the server accepts no writes and did so before. It is in recovery, or "
        "default_transaction_read_only is on. The agent renews server connections until they reach a server that "
        "accepts writes; correct backend.host if it names a replica.",
    )


def reason(refused: str) -> BackendReason:
    """The reason of an error message. PgBouncer forwards PostgreSQL's messages without their SQLSTATE.

    A message in another language than English counts as a refused login.
    """
    if refused == NOT_SERVED:
        return BackendReason.UNREACHABLE
    if re.search(r'^database ".*" does not exist', refused):
        return BackendReason.DATABASE_MISSING
    if re.search(r"too many (clients|connections)|remaining connection slots", refused):
        return BackendReason.FULL
    return BackendReason.REFUSED_LOGIN


def covering_logins(databases: Iterable[str], logins: Iterable[tuple[str, str, str]]) -> tuple[DatabaseLogin, ...]:
    """The fewest logins that cover every database and every user. logins: (handle, login, password)."""
    names, users = list(databases), list(logins)
    if not names or not users:
        return ()
    return tuple(
        DatabaseLogin(names[index % len(names)], *users[index % len(users)])
        for index in range(max(len(names), len(users)))
    )


def reach(server: BackendAddress) -> BackendTest | None:
    """Why no session on this server is possible; None when one is."""
    where = f"{server.host}:{server.port}"
    try:
        socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except OSError as error:
        message = error.strerror or str(error)
        return BackendTest(BackendReason.HOST_NOT_RESOLVED, f"{server.host}: {message}. Correct backend.host.")
    try:
        with socket.create_connection((server.host, server.port), TIMEOUT_SECONDS) as connection:
            return None if server.mode == "disable" else _secured(server, connection, where)
    except OSError as error:
        message = error.strerror or str(error)
        return BackendTest(
            BackendReason.UNREACHABLE,
            f"{where}: {message}. Start PostgreSQL, or correct backend.host and backend.port.",
        )


def _secured(server: BackendAddress, connection: socket.socket, where: str) -> BackendTest | None:
    connection.sendall(_SSL_REQUEST)
    answer = connection.recv(1)
    if answer != b"S":
        return BackendTest(
            BackendReason.WITHOUT_TLS,
            f"{where} offers no TLS, but backend.tls.mode is {server.mode}. "
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
        message = getattr(error, "verify_message", "") or error.reason or str(error)
        return BackendTest(
            BackendReason.CERTIFICATE_INVALID,
            f"{where}: {message}. Correct backend.tls.ca, or the certificate of PostgreSQL.",
        )


def login(test: TestPlan, pair: DatabaseLogin) -> LoginAnswer:
    """Whether a query through the pool works, and whether the server accepts writes."""
    answer = ask(test.socket_dir, test.port, pair, WRITES)
    if answer.refused or not answer.rows:
        return LoginAnswer(answer.refused)
    writes, outdated = (value == "t" for value in answer.rows[-1])
    return LoginAnswer(writes=writes, outdated=outdated)
