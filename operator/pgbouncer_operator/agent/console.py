"""The running PgBouncer as its console shows it, and the commands given to it. Every session is short."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pgbouncer_operator.agent import wire
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.pgbouncer import ini
from pgbouncer_operator.protocol.state import Totals

ANSWER_SECONDS = 2.0
CALM_SECONDS = 1.0  # a server that does not answer logins at all is not waited for any longer
NOBODY = (0, 0)
CONSOLE = "pgbouncer"  # the console's own database
_RENEW = "RECONNECT"
_CALM_LOOK_SECONDS = 0.002
_SERVERS = ("sv_active", "sv_idle", "sv_used", "sv_tested", "sv_active_cancel", "sv_being_canceled")


class Unreachable(Exception):
    """The console does not answer. gone: no process listens at all, so no server connection is open either."""

    def __init__(self, message: str, gone: bool) -> None:
        """Say what happened, and whether a process is there."""
        super().__init__(message)
        self.gone = gone


class CommandRefused(Exception):
    """PgBouncer refused a command; the message is its own."""


@dataclass(frozen=True, slots=True)
class DatabaseRow:
    """One row of SHOW DATABASES: the limit in force and the server connections now; and the clients of SHOW POOLS.

    busy: server connections that a client holds.
    """

    limit: int
    open: int
    paused: bool
    disabled: bool = False
    clients: int = 0
    busy: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """Connections of this PgBouncer now; `AgentState` says what each counts."""

    open: int = 0
    busy: int = 0
    waiting: int = 0
    clients: int = 0
    totals: Totals | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What one session saw. marker and version are empty unless asked for."""

    databases: Mapping[str, DatabaseRow]
    figures: Figures
    marker: str = ""
    version: str = ""


def look(settings: AgentSettings, whole: bool = False, totals: bool = False) -> Look:
    """Connections and limits now; with `whole` also which configuration was read, and the version.

    totals: also what was done since PgBouncer started.

    Unreachable when nobody answers, CommandRefused with PgBouncer's words.
    """
    with session(settings) as console:
        shown = console.query("SHOW DATABASES")
        pools = console.query("SHOW POOLS")
        databases = {row["name"]: _database(row, pools) for row in shown if row["name"] != CONSOLE}
        done = totals_of(console.query("SHOW STATS")) if totals else None
        seen = Look(databases, replace(figures(databases, pools), totals=done))
        if not whole:
            return seen
        version = next(iter(console.query("SHOW VERSION")[0].values())).removeprefix("PgBouncer ")
        return replace(seen, marker=marker(console.query("SHOW CONFIG")), version=version)


def _database(row: wire.Row, pools: list[wire.Row]) -> DatabaseRow:
    own = [each for each in pools if each["database"] == row["name"]]
    return DatabaseRow(
        limit=int(row["max_connections"]),
        open=int(row["current_connections"]),
        paused=row["paused"] == "1",
        disabled=row["disabled"] == "1",
        clients=sum(int(each["cl_active"]) + int(each["cl_waiting"]) for each in own),
        busy=sum(int(each["sv_active"]) for each in own),
    )


def totals_of(stats: list[wire.Row]) -> Totals:
    """Sums over every database but the console's."""
    columns = ("total_xact_count", "total_xact_time", "total_wait_time")
    return Totals(*(sum(int(row[column]) for row in stats if row["database"] != CONSOLE) for column in columns))


def command(settings: AgentSettings, *texts: str, seconds: float = ANSWER_SECONDS, calm: float = CALM_SECONDS) -> None:
    """Give commands in one session. CommandRefused with PgBouncer's words, Unreachable without one in `seconds`.

    Commands that renew server connections wait until no connection is being made: PgBouncer would cut it, take that
    for a failed login, and hand the failure to every client that finds no other connection. They wait for `calm`
    seconds at most: where they are given because the server has gone, its logins hang.
    """
    if not any(text.startswith(_RENEW) for text in texts):
        with session(settings, seconds) as console:
            for text in texts:
                console.query(text)
        return
    try:
        with session(settings, seconds) as console:
            for text in texts:
                _calm_down(console, calm)  # each time: a RELOAD takes the bound away
                console.query(text)
    finally:
        unbound(settings)


def _calm_down(console: wire.Session, seconds: float) -> None:
    """Let no login be under way. While max_user_connections is 1, nobody who has a connection gets another."""
    until = time.monotonic() + seconds
    console.query("SET max_user_connections = 1")
    while not is_calm(console.query("SHOW POOLS")) and time.monotonic() < until:
        time.sleep(_CALM_LOOK_SECONDS)


def is_calm(pools: list[wire.Row]) -> bool:
    """Whether no server connection is being made, nor will be at once for a user who waits and has none. Pure."""
    own = [row for row in pools if row["database"] != CONSOLE]
    served = {row["user"] for row in own if any(row[column] != "0" for column in _SERVERS)}
    return not any(row["sv_login"] != "0" or (row["cl_waiting"] != "0" and row["user"] not in served) for row in own)


def order(settings: AgentSettings, *texts: str) -> None:
    """Give commands without waiting for their answers, each in a session of its own. Unreachable without a console."""
    for text in texts:
        with session(settings) as console:
            console.send(text)


def pause(settings: AgentSettings, names: Iterable[str]) -> None:
    """PAUSE databases without waiting for the answers, which come only when all their transactions have ended.

    A PAUSE cuts a server that logs in just as a renewal does (see `command`), and clients that come after RESUME would
    be told of that failed login. Call `unbound` when this was interrupted. Unreachable without a console.
    """
    with session(settings) as console:
        _calm_down(console, CALM_SECONDS)
    order(settings, *(f"PAUSE {quoted(name)}" for name in names))
    unbound(settings)


def unbound(settings: AgentSettings) -> None:
    """Take back the bound that `pause` sets for a moment: grants bound each database, and nothing each user."""
    command(settings, "SET max_user_connections = 0")


@contextlib.contextmanager
def session(settings: AgentSettings, seconds: float = ANSWER_SECONDS) -> Iterator[wire.Session]:
    """A short console session. Unreachable when nobody answers, CommandRefused with PgBouncer's words."""
    try:
        with wire.console(str(settings.console), seconds) as console:
            yield console
    except (ConnectionRefusedError, FileNotFoundError) as error:
        raise Unreachable(f"PgBouncer does not run: {error}", gone=True) from None
    except OSError as error:
        raise Unreachable(f"PgBouncer does not answer: {error}", gone=False) from None
    except wire.WireError as error:
        raise CommandRefused(str(error)) from None


def marker(config: list[wire.Row]) -> str:
    """The configuration's marker in the rows of SHOW CONFIG; empty when there is none."""
    return next((row["value"] for row in config if row["key"] == ini.MARKER), "")


def process(settings: AgentSettings) -> tuple[int, int]:
    """Which process has made the console's socket, NOBODY when there is none. Every PgBouncer makes its own.

    The time of its making is part of it, since a file system may use an inode's number again.
    """
    try:
        status = settings.console.stat()
    except OSError:
        return NOBODY
    return (status.st_ino, status.st_mtime_ns)


def reconnect(databases: Iterable[str]) -> list[str]:
    """The commands that renew the server connections of these databases, each between two transactions."""
    return [f"{_RENEW} {quoted(name)}" for name in databases]


def quoted(name: str) -> str:
    """A database's name as the console reads it."""
    return '"' + name.replace('"', '""') + '"'


def figures(databases: Mapping[str, DatabaseRow], pools: list[wire.Row]) -> Figures:
    """Sums over every pool but the console's. A server connection that is not idle is busy."""
    own = [row for row in pools if row["database"] != CONSOLE]

    def total(*columns: str) -> int:
        return sum(int(row[column]) for row in own for column in columns)

    return Figures(
        open=sum(each.open for each in databases.values()),
        busy=total("sv_active", "sv_active_cancel", "sv_being_canceled"),
        waiting=total("cl_waiting"),
        clients=total("cl_active", "cl_waiting"),
    )
