"""Removed databases: they refuse new logins, and their clients get time to leave and to end their transactions.

A RELOAD without a database closes its clients at once, in the middle of a transaction. So a removed database stays in
the configuration, disabled, until its clients have left or the pool's drain timeout is over. Then the agent pauses it,
so that transactions end, and takes it out. In session mode a client holds its connection, so the timeout cuts it.
The share of a removed database falls with the connections that its clients use. Otherwise other databases could not
get the connections that are free.
"""

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from pgbouncer_operator.agent import console, files, shares
from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.agent.console import CommandRefused, DatabaseRow, Unreachable
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.protocol.intent import DatabaseIntent, Intent

FILE = "lingering"  # in the run directory
TRANSACTION_SECONDS = 60.0  # for the last transactions of a paused database
DEFAULT_SECONDS = 120  # for clients to leave, when the intent of an older operator has no drain_seconds


@dataclass(frozen=True, slots=True)
class RemovedDatabase:
    """A database that is no longer in the intent and still has clients."""

    database: DatabaseIntent
    """Its `max` is its share in this pod, which only falls."""
    until: float
    """When its clients' time is over; Unix seconds."""


def lingering(
    before: Mapping[str, RemovedDatabase], running: Candidate | None, wanted: Intent, now: float
) -> dict[str, RemovedDatabase]:
    """The removed databases under `wanted`: those of `before`, and those that only `running` serves. Pure.

    A database that `wanted` serves again is none. It keeps no more than its even share: those that stay need the rest.
    now: Unix seconds.
    """
    staying = {each.name for each in wanted.databases}
    removed = {name: each for name, each in before.items() if name not in staying}
    seconds = DEFAULT_SECONDS if wanted.drain_seconds is None else wanted.drain_seconds
    if running is None:
        return removed
    even = shares.divided(running.composition.intent, running.composition.lingering, running.cap)
    for each in running.composition.intent.databases:
        if each.name not in staying:
            held = replace(each, max=min(running.shares[each.name], even[each.name]))
            removed.setdefault(each.name, RemovedDatabase(held, now + seconds))
    return removed


def shrunk(each: RemovedDatabase, row: DatabaseRow, mode: str) -> RemovedDatabase:
    """The database with its next share: the connections in use, at least 1. mode: the pool's own. Pure.

    In session mode every client may hold a connection.
    """
    used = row.clients if (each.database.pool_mode or mode) == "session" else row.busy
    most = max(1, used if each.database.max is None else min(used, each.database.max))
    return replace(each, database=replace(each.database, max=most))


def done(each: RemovedDatabase, row: DatabaseRow | None, now: float) -> bool:
    """Whether the database can be taken out. row: None when PgBouncer does not serve it. Pure."""
    if row is None or (row.disabled and not row.clients):
        return True
    idle = row.paused and not row.busy
    return now >= each.until and (idle or now >= each.until + TRANSACTION_SECONDS)


class RemovedDatabases:
    """Removes databases step by step, and remembers them across restarts of the worker. One thread uses it."""

    def __init__(self, settings: AgentSettings) -> None:
        """Read what an earlier worker left in the run directory."""
        self._settings = settings
        self._databases = _load(settings)
        self._limited = bool(self._databases)  # an earlier worker may have ended in the middle of `console.pause`

    @property
    def databases(self) -> tuple[DatabaseIntent, ...]:
        """The databases to serve besides those of the intent."""
        return tuple(each.database for _, each in sorted(self._databases.items()))

    def update(self, running: Candidate | None, wanted: Intent) -> None:
        """Add the databases that `wanted` does not serve any more, and enable those that it serves again."""
        back = [name for name in self._databases if name in {each.name for each in wanted.databases}]
        self._keep(lingering(self._databases, running, wanted, time.time()))
        self._send(*(f"{command} {console.quoted(name)}" for name in back for command in ("ENABLE", "RESUME")))

    def step(self, running: Candidate) -> bool:
        """Disable and pause what is due. True when a database can be taken out or its share falls."""
        if not self._databases:
            return False
        try:
            rows = console.observe(self._settings).databases
        except (Unreachable, CommandRefused):
            return False
        now, before = time.time(), self._databases
        served = {each.name for each in running.composition.databases}
        loaded = {each.name: each for each in running.composition.lingering}
        here = {name: each for name, each in before.items() if name in loaded}
        self._shut(here, rows, now)
        mode = str(running.composition.intent.settings.get("pool_mode", ""))
        shrinking = {name: shrunk(each, rows[name], mode) for name, each in here.items() if name in rows}
        # The pod's cap had no connection for a database that is not served: its clients are gone.
        left = {name for name in before if name not in served}
        left |= {name for name, each in here.items() if done(each, rows.get(name), now)}
        self._keep({name: shrinking.get(name, each) for name, each in before.items() if name not in left})
        return self._databases != before

    def _shut(self, here: Mapping[str, RemovedDatabase], rows: Mapping[str, DatabaseRow], now: float) -> None:
        """Disable every removed database, and pause those whose time is over."""
        served = {name: each for name, each in here.items() if name in rows}
        self._send(*(f"DISABLE {console.quoted(name)}" for name in served if not rows[name].disabled))
        due = [name for name, each in served.items() if now >= each.until and not rows[name].paused]
        with contextlib.suppress(Unreachable, CommandRefused):
            if due:
                self._limited = True
                console.pause(self._settings, due)
            elif self._limited:
                console.lift_user_limit(self._settings)
            self._limited = False

    def _send(self, *commands: str) -> None:
        """Send commands one by one: a database that is not paused refuses RESUME, and others need theirs."""
        for each in commands:
            try:
                console.send(self._settings, each)
            except (Unreachable, CommandRefused):
                continue

    def _keep(self, databases: dict[str, RemovedDatabase]) -> None:
        if databases != self._databases:
            self._databases = databases
            document = {name: [asdict(each.database), each.until] for name, each in databases.items()}
            files.write({str(self._settings.run_dir / FILE): json.dumps(document).encode()})


def _load(settings: AgentSettings) -> dict[str, RemovedDatabase]:
    try:
        document = json.loads((settings.run_dir / FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return {name: RemovedDatabase(DatabaseIntent(**database), until) for name, (database, until) in document.items()}
