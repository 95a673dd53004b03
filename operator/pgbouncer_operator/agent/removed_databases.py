"""Databases on their way out: no new logins, time for clients to leave, and an end for their transactions.

A RELOAD without a database cuts its clients wherever they are, so a removed one stays in the configuration, disabled,
until its clients have left or the pool's drain timeout is over. Then it is paused, which lets transactions end, and
taken out. In session mode a client gives nothing back, so the timeout cuts it.
It keeps the server connections that are in use, and gives up each one that is not: a share that its clients cannot
come below would hold back every database that is to have more.
"""

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from pgbouncer_operator.agent import console, files
from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.agent.console import CommandRefused, DatabaseRow, Unreachable
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.protocol.intent import DatabaseIntent, Intent

MEMORY = "lingering"
TRANSACTION_SECONDS = 60.0  # that a paused database gets for its last transactions
DEFAULT_SECONDS = 120  # for clients to leave, where an older operator did not say


@dataclass(frozen=True, slots=True)
class Leaving:
    """A database that the pool serves no more. until: unix seconds at which its clients' time is over.

    The database's max is what it may still hold in this pod; it only falls.
    """

    database: DatabaseIntent
    until: float


def leaving(known: Mapping[str, Leaving], running: Candidate | None, wanted: Intent, now: float) -> dict[str, Leaving]:
    """What lingers under `wanted`: what did before, and what `running` still serves. One that came back stays. Pure."""
    staying = {each.name for each in wanted.databases}
    found = {name: each for name, each in known.items() if name not in staying}
    seconds = DEFAULT_SECONDS if wanted.drain_seconds is None else wanted.drain_seconds
    for each in running.composition.intent.databases if running is not None else ():
        if running is not None and each.name not in staying:
            held = replace(each, max=running.shares[each.name])
            found.setdefault(each.name, Leaving(held, now + seconds))
    return found


def shrunk(each: Leaving, seen: DatabaseRow, mode: str) -> Leaving:
    """What it may hold from now on, at least 1. mode: the pool's own. In a session every client may hold one. Pure."""
    used = seen.clients if (each.database.pool_mode or mode) == "session" else seen.busy
    most = max(1, used if each.database.max is None else min(used, each.database.max))
    return replace(each, database=replace(each.database, max=most))


def done(each: Leaving, seen: DatabaseRow | None, now: float) -> bool:
    """Whether nothing more is to be waited for. Pure."""
    if seen is None or (seen.disabled and not seen.clients):
        return True
    rests = seen.paused and not seen.busy
    return now >= each.until and (rests or now >= each.until + TRANSACTION_SECONDS)


class Removal:
    """Remembers what lingers across restarts of the worker, and leads it out. One thread uses it."""

    def __init__(self, settings: AgentSettings) -> None:
        """Take up what an earlier worker has left."""
        self._settings = settings
        self._known = _load(settings)
        self._bound = bool(self._known)  # an earlier worker may have ended in the middle of a pause

    @property
    def databases(self) -> tuple[DatabaseIntent, ...]:
        """What is to be in the configuration besides the intent's own."""
        return tuple(each.database for _, each in sorted(self._known.items()))

    def aim(self, running: Candidate | None, wanted: Intent) -> None:
        """Take note of what the wanted configuration serves no more, and of what it serves again."""
        back = [name for name in self._known if name in {each.name for each in wanted.databases}]
        self._keep(leaving(self._known, running, wanted, time.time()))
        self._order(*(f"{word} {console.quoted(name)}" for name in back for word in ("ENABLE", "RESUME")))

    def step(self, running: Candidate) -> bool:
        """Refuse newcomers, pause what is due; whether something has left, or needs less than it has now."""
        if not self._known:
            return False
        try:
            seen = console.look(self._settings).databases
        except (Unreachable, CommandRefused):
            return False
        now, before = time.time(), self._known
        served = {each.name for each in running.composition.databases}
        loaded = {each.name: each for each in running.composition.lingering}
        here = {name: each for name, each in before.items() if name in loaded}
        self._shut(here, seen, now)
        mode = str(running.composition.intent.settings.get("pool_mode", ""))
        shrinking = {name: shrunk(each, seen[name], mode) for name, each in here.items() if name in seen}
        # One that nothing was spared for is served no more: its clients have gone with it.
        left = {name for name in before if name not in served}
        left |= {name for name, each in here.items() if done(each, seen.get(name), now)}
        self._keep({name: shrinking.get(name, each) for name, each in before.items() if name not in left})
        return self._known != before

    def _shut(self, here: Mapping[str, Leaving], seen: Mapping[str, DatabaseRow], now: float) -> None:
        """Nobody new; and nothing new for those whose time is over."""
        known = {name: each for name, each in here.items() if name in seen}
        self._order(*(f"DISABLE {console.quoted(name)}" for name in known if not seen[name].disabled))
        due = [name for name, each in known.items() if now >= each.until and not seen[name].paused]
        with contextlib.suppress(Unreachable, CommandRefused):
            if due:
                self._bound = True
                console.pause(self._settings, due)
            elif self._bound:
                console.unbound(self._settings)
            self._bound = False

    def _order(self, *commands: str) -> None:
        """One by one: a database that is not paused refuses RESUME, and one that waits for a transaction is slow."""
        for each in commands:
            try:
                console.order(self._settings, each)
            except (Unreachable, CommandRefused):
                continue

    def _keep(self, known: dict[str, Leaving]) -> None:
        if known != self._known:
            self._known = known
            document = {name: [asdict(each.database), each.until] for name, each in known.items()}
            files.write({str(self._settings.run_dir / MEMORY): json.dumps(document).encode()})


def _load(settings: AgentSettings) -> dict[str, Leaving]:
    try:
        document = json.loads((settings.run_dir / MEMORY).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return {name: Leaving(DatabaseIntent(**database), until) for name, (database, until) in document.items()}
