"""One query to PostgreSQL through the pod's own PgBouncer, on a pooled connection within the cap."""

import contextlib
import select
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg import pq

TIMEOUT_SECONDS = 5.0
NOT_SERVED = f"no server connection within {TIMEOUT_SECONDS:g} s"


@dataclass(frozen=True, slots=True)
class DatabaseLogin:
    """One login to one database through the pool."""

    database: str
    handle: str
    """users[].name."""
    login: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one query."""

    refused: str = ""
    """PostgreSQL's error message; empty when the query works."""
    rows: tuple[tuple[str, ...], ...] = ()
    """Values as text; NULL is empty."""


def ask(socket_dir: str, port: int, pair: DatabaseLogin, query: str, *values: str) -> Answer:
    """The answer to a query, within 5 s for the login and the query. values: the query's parameters, as text.

    socket_dir, port: where the pod's own PgBouncer listens.
    """
    import psycopg  # imported late: the first configuration does not wait for it

    until = time.monotonic() + TIMEOUT_SECONDS
    try:
        connection = psycopg.connect(
            host=socket_dir,
            port=port,
            dbname=pair.database,
            user=pair.login,
            password=pair.password,
            connect_timeout=int(TIMEOUT_SECONDS),
            application_name="pgbouncer-operator",
            autocommit=True,
        )
        with contextlib.closing(connection):
            _send(connection.pgconn, query, values)
            return _answer(connection.pgconn, until)
    except psycopg.errors.ConnectionTimeout:
        return Answer(NOT_SERVED)
    except psycopg.Error as error:
        return Answer(server_message(str(error)))


def _send(connection: "pq.abc.PGconn", query: str, values: tuple[str, ...]) -> None:
    if values:
        connection.send_query_params(query.encode(), [each.encode() for each in values])
    else:
        connection.send_query(query.encode())


def _answer(connection: "pq.abc.PGconn", until: float) -> Answer:
    """As `connection.execute`, but only until `until` (monotonic): a query may wait long in the pool's queue."""
    refused, rows = "", list[tuple[str, ...]]()
    while True:
        while connection.is_busy():
            left = until - time.monotonic()
            if left <= 0 or not select.select([connection.socket], [], [], left)[0]:
                return Answer(NOT_SERVED)
            connection.consume_input()
        if (result := connection.get_result()) is None:
            return Answer(refused, tuple(rows))
        refused = refused or server_message(result.error_message.decode(errors="replace"))
        for row in range(result.ntuples):
            values = (result.get_value(row, column) for column in range(result.nfields))
            rows.append(tuple((value or b"").decode(errors="replace") for value in values))


def server_message(text: str) -> str:
    """PostgreSQL's message in a driver's error text: without socket path, PgBouncer's prefix and severity."""
    line = text.strip().split("\n")[0]
    for preface in ("failed: ", "server login failed: ", "cached error: "):
        line = line.rpartition(preface)[2] if preface in line else line
    for severity in ("FATAL:", "ERROR:", "FATAL"):
        line = line.removeprefix(severity).strip()
    return line.removesuffix(" (server_login_retry)")
