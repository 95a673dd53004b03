"""The running PgBouncer as its console shows it, and the commands that the agent sends. Every session is short.

An open console session counts as a client, and a SHUTDOWN would wait for it.
Console: https://www.pgbouncer.org/usage.html#admin-console
"""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pgbouncer_operator.agent import wire
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.pgbouncer import ini
from pgbouncer_operator.pgbouncer.composition import LOOKUP
from pgbouncer_operator.protocol.state import Totals

ANSWER_SECONDS = 2.0
LOGIN_WAIT_SECONDS = 1.0  # for logins under way; a server that is away does not answer them at all
NO_PROCESS = wire.NO_PROCESS  # of `process`
CONSOLE = "pgbouncer"  # the console's own database
_RENEW = "RECONNECT"
_LOGIN_POLL_SECONDS = 0.002
_SERVERS = ("sv_active", "sv_idle", "sv_used", "sv_tested", "sv_active_cancel", "sv_being_canceled")


class Unreachable(Exception):
    """The console does not answer. gone: no process listens, so no server connection is open either."""

    def __init__(self, message: str, gone: bool) -> None:
        """message: what happened. gone: whether no process listens."""
        super().__init__(message)
        self.gone = gone


class CommandRefused(Exception):
    """PgBouncer refused a command. The message is its own."""


@dataclass(frozen=True, slots=True)
class DatabaseRow:
    """One database of SHOW DATABASES, with its clients of SHOW POOLS."""

    limit: int
    """max_db_connections in force."""
    open: int
    """Server connections."""
    paused: bool
    disabled: bool = False
    clients: int = 0
    """Clients that are connected, waiting ones included."""
    busy: int = 0
    """Server connections that a client holds."""
    waiting: int = 0
    """Clients that wait for a server connection."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Connections of this PgBouncer now. `AgentState` says what each field counts."""

    open: int = 0
    busy: int = 0
    waiting: int = 0
    clients: int = 0
    totals: Totals | None = None
    lookups: int = 0
    """How often PgBouncer has looked up a login since it started; 0 unless totals were asked for."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Rows as PgBouncer shows them."""

    pools: list[wire.Row]
    databases: list[wire.Row]
    stats: list[wire.Row]


@dataclass(frozen=True, slots=True)
class ConsoleAnswer:
    """What PgBouncer showed in one session."""

    databases: Mapping[str, DatabaseRow]
    """By name, without the console's own."""
    figures: Figures
    marker: str = ""
    """Marker of the configuration that PgBouncer has read; empty unless asked for."""
    version: str = ""
    """Version of PgBouncer; empty unless asked for."""
    shown: Shown | None = None
    """The rows that this was made from; None unless totals were asked for."""


def observe(settings: AgentSettings, whole: bool = False, totals: bool = False) -> ConsoleAnswer:
    """Read connections and limits. whole: also marker and version. totals: also SHOW STATS.

    Raises Unreachable when the console does not answer, CommandRefused with PgBouncer's message.
    """
    with session(settings) as console:
        shown = console.query("SHOW DATABASES")
        pools = console.query("SHOW POOLS")
        databases = {row["name"]: _database(row, pools) for row in shown if row["name"] != CONSOLE}
        observation = ConsoleAnswer(databases, figures(databases, pools))
        if totals:
            stats = console.query("SHOW STATS")
            counted = replace(observation.figures, totals=totals_of(stats), lookups=lookups_of(stats))
            observation = replace(observation, figures=counted, shown=Shown(pools, shown, stats))
        if not whole:
            return observation
        version = next(iter(console.query("SHOW VERSION")[0].values())).removeprefix("PgBouncer ")
        return replace(observation, marker=marker(console.query("SHOW CONFIG")), version=version)


def _database(row: wire.Row, pools: list[wire.Row]) -> DatabaseRow:
    own = [each for each in pools if each["database"] == row["name"]]
    return DatabaseRow(
        limit=int(row["max_connections"]),
        open=int(row["current_connections"]),
        paused=row["paused"] == "1",
        disabled=row["disabled"] == "1",
        clients=sum(int(each["cl_active"]) + int(each["cl_waiting"]) for each in own),
        busy=sum(int(each["sv_active"]) for each in own),
        waiting=sum(int(each["cl_waiting"]) for each in own),
    )


def totals_of(stats: list[wire.Row]) -> Totals:
    """Sums of SHOW STATS over every database but the console's."""
    columns = ("total_xact_count", "total_xact_time", "total_wait_time")
    return Totals(*(sum(int(row[column]) for row in stats if row["database"] != CONSOLE) for column in columns))


def lookups_of(stats: list[wire.Row]) -> int:
    """How often a server connection served a look-up: the count of the entry that only look-ups use."""
    return sum(int(row["total_server_assignment_count"]) for row in stats if row["database"] == LOOKUP)


def users(settings: AgentSettings) -> tuple[str, ...]:
    """Every role that PgBouncer knows: those of its files, and those that it has looked up.

    Raises Unreachable when the console does not answer, CommandRefused with PgBouncer's message.
    """
    with session(settings) as console:
        return tuple(row["name"] for row in console.query("SHOW USERS"))


def command(
    settings: AgentSettings, *texts: str, seconds: float = ANSWER_SECONDS, login_wait: float = LOGIN_WAIT_SECONDS
) -> None:
    """Run commands in one session. Raises CommandRefused with PgBouncer's message.

    Raises Unreachable when an answer takes longer than `seconds`.
    A RECONNECT waits until no login to the server is under way. PgBouncer would close such a login, count it as
    failed, and report the failure to every client that has no other server connection. It waits at most `login_wait`
    seconds: when the server is away, its logins hang.
    """
    if not any(text.startswith(_RENEW) for text in texts):
        with session(settings, seconds) as console:
            for text in texts:
                console.query(text)
        return
    try:
        with session(settings, seconds) as console:
            for text in texts:
                _wait_for_logins(console, login_wait)  # before each command: a RELOAD resets the limit
                console.query(text)
    finally:
        lift_user_limit(settings)


def renew(settings: AgentSettings, databases: Iterable[str]) -> bool:
    """RECONNECT databases, unless a login to the server stays under way: then False, and the rest is not renewed.

    Raises Unreachable when the console does not answer, CommandRefused with PgBouncer's message.
    """
    try:
        with session(settings) as console:
            for text in reconnect(databases):
                if not _wait_for_logins(console, LOGIN_WAIT_SECONDS):
                    return False
                console.query(text)
        return True
    finally:
        lift_user_limit(settings)


def _wait_for_logins(console: wire.Session, seconds: float) -> bool:
    """Wait until no login to a server is under way. False when one still is after so many seconds.

    While max_user_connections is 1, PgBouncer opens no further connection for a user that has one.
    """
    until = time.monotonic() + seconds
    console.query("SET max_user_connections = 1")
    while not (free := no_login_pending(console.query("SHOW POOLS"))) and time.monotonic() < until:
        time.sleep(_LOGIN_POLL_SECONDS)
    return free


def no_login_pending(pools: list[wire.Row]) -> bool:
    """Whether no login is under way, and none is about to start for a user that waits and has no connection. Pure."""
    own = [row for row in pools if row["database"] != CONSOLE]
    served = {row["user"] for row in own if any(row[column] != "0" for column in _SERVERS)}
    return not any(row["sv_login"] != "0" or (row["cl_waiting"] != "0" and row["user"] not in served) for row in own)


def send(settings: AgentSettings, *texts: str) -> None:
    """Send commands without waiting for their answers, each in its own session.

    Raises Unreachable when the console does not answer.
    """
    for text in texts:
        with session(settings) as console:
            console.send(text)


def pause(settings: AgentSettings, names: Iterable[str]) -> None:
    """Send PAUSE for databases without waiting for the answers, which come when all their transactions have ended.

    PAUSE closes a login under way as RECONNECT does (see `command`), and PgBouncer would report it as failed to clients
    that connect after RESUME. Call `lift_user_limit` when this was interrupted.
    Raises Unreachable when the console does not answer.
    """
    with session(settings) as console:
        _wait_for_logins(console, LOGIN_WAIT_SECONDS)
    send(settings, *(f"PAUSE {quoted(name)}" for name in names))
    lift_user_limit(settings)


def lift_user_limit(settings: AgentSettings) -> None:
    """Reset the limit that `pause` and `command` set for a moment. Grants limit databases; no user has a limit."""
    command(settings, "SET max_user_connections = 0")


@contextlib.contextmanager
def session(settings: AgentSettings, seconds: float = ANSWER_SECONDS) -> Iterator[wire.Session]:
    """A short console session. seconds: for each answer.

    Raises Unreachable when the console does not answer, CommandRefused with PgBouncer's message.
    """
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
    """Identifies the process that listens on the console's socket; NO_PROCESS when there is none."""
    return wire.process(str(settings.console))


def reconnect(databases: Iterable[str]) -> list[str]:
    """The commands that renew the server connections of these databases, each connection between two transactions."""
    return [f"{_RENEW} {quoted(name)}" for name in databases]


def quoted(name: str) -> str:
    """A database's name, quoted for the console."""
    return '"' + name.replace('"', '""') + '"'


def figures(databases: Mapping[str, DatabaseRow], pools: list[wire.Row]) -> Figures:
    """Sums of SHOW POOLS over every pool but the console's."""
    own = [row for row in pools if row["database"] != CONSOLE]

    def total(*columns: str) -> int:
        return sum(int(row[column]) for row in own for column in columns)

    return Figures(
        open=sum(each.open for each in databases.values()),
        busy=total("sv_active", "sv_active_cancel", "sv_being_canceled"),
        waiting=total("cl_waiting"),
        clients=total("cl_active", "cl_waiting"),
    )
