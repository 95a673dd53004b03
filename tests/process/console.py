"""PgBouncer's admin console over its Unix socket: short sessions, each with a deadline.

The console trusts its own uid, so there is no password. An open session counts as a client and would hold up a
shutdown, so none is kept. The console speaks the simple query protocol only. Blocking: call it from a thread.
"""

import select
import time
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from pgbouncer_operator import naming

USER = DATABASE = "pgbouncer"
_NUMBERS = {20, 21, 23, 1700}  # int8, int2, int4, numeric: SHOW STATS answers in numeric


class ConsoleError(Exception):
    """PgBouncer answered with an error: the message is PgBouncer's own."""


class ConsoleUnreachable(ConsoleError):
    """Nobody answered in time: PgBouncer is down, hangs, or has another uid than ours."""


@dataclass(frozen=True, slots=True)
class Console:
    """The console of the PgBouncer whose Unix socket is in `directory`. timeout: seconds, for login and answer each."""

    directory: str = naming.RUN_DIR
    port: int = naming.PGBOUNCER_PORT
    timeout: float = 5.0

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a SHOW command, by column name; numbers as int, NULL as None, all else as str."""
        return _rows(self._run(sql, self.timeout))

    def command(self, sql: str, timeout: float | None = None) -> None:
        """Run a command. timeout: for those that wait by design (PAUSE, WAIT_CLOSE), instead of the console's own."""
        self._run(sql, self.timeout if timeout is None else timeout)

    def _run(self, sql: str, timeout: float) -> pq.abc.PGresult:
        try:
            connection = _connect(self)
        except (psycopg.Error, OSError) as error:
            raise ConsoleUnreachable(f"no console at {self.directory}: {_first_line(error)}") from None
        try:
            result = _answer(connection, sql, timeout)
        except (psycopg.Error, OSError) as error:
            raise ConsoleUnreachable(f"the console was lost during {_verb(sql)}: {_first_line(error)}") from None
        finally:
            connection.finish()
        if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
            said = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"the connection was closed"
            raise ConsoleError(f"{_verb(sql)}: {said.decode(errors='replace')}")
        return result


def quoted(name: str) -> str:
    """A database's name as an argument of a console command."""
    return '"' + name.replace('"', '""') + '"'


# psycopg.connect keeps the socket of an attempt that timed out until garbage is collected, and PgBouncer would
# not shut down before that. libpq's own calls wait without end for a process that was stopped. So both are done here.
def _connect(console: Console) -> pq.abc.PGconn:
    words: dict[str, str | int | None] = {
        "host": console.directory,
        "port": console.port,
        "user": USER,
        "dbname": DATABASE,
        "sslmode": "disable",
    }
    connection = pq.PGconn.connect_start(make_conninfo("", **words).encode())
    deadline = time.monotonic() + console.timeout
    try:
        while (state := connection.connect_poll()) != pq.PollingStatus.OK:
            if state == pq.PollingStatus.FAILED:
                raise psycopg.OperationalError(connection.error_message.decode(errors="replace"))
            _wait(connection.socket, state == pq.PollingStatus.WRITING, deadline)
    except BaseException:
        connection.finish()
        raise
    return connection


def _wait(socket: int, writing: bool, deadline: float) -> None:
    left = max(0.0, deadline - time.monotonic())
    readable, writable, _ = select.select([] if writing else [socket], [socket] if writing else [], [], left)
    if not readable and not writable:
        raise psycopg.OperationalError("no answer in time")


def _answer(connection: pq.abc.PGconn, sql: str, timeout: float) -> pq.abc.PGresult:
    deadline = time.monotonic() + timeout
    connection.send_query(sql.encode())
    while connection.is_busy():
        _wait(connection.socket, False, deadline)
        connection.consume_input()
    result = connection.get_result()
    if result is None:
        raise psycopg.OperationalError("an empty answer")
    return result


def _rows(result: pq.abc.PGresult) -> list[dict[str, Any]]:
    columns = [(result.fname(index) or b"").decode() for index in range(result.nfields)]
    return [
        {column: _value(result, row, index) for index, column in enumerate(columns)} for row in range(result.ntuples)
    ]


def _value(result: pq.abc.PGresult, row: int, column: int) -> str | int | None:
    raw = result.get_value(row, column)
    if raw is None:
        return None
    return int(raw) if result.ftype(column) in _NUMBERS else raw.decode(errors="replace")


def _verb(sql: str) -> str:
    return " ".join(sql.split()[:2]).upper()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
