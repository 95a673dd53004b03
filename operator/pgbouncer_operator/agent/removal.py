"""Databases on their way out: no new logins, time for clients to leave, and an end for their transactions.

A RELOAD without a database cuts its clients wherever they are, so a removed one stays in the configuration, disabled
and with one server connection, until its clients have left or the pool's drain timeout is over. Then it is paused,
which lets transactions end, and taken out. In session mode a client gives nothing back, so the timeout cuts it.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pgbouncer_operator.agent import bouncer, files
from pgbouncer_operator.agent.bouncer import CommandRefused, Database, Unreachable
from pgbouncer_operator.agent.compose import Candidate
from pgbouncer_operator.agent.settings import Settings
from pgbouncer_operator.pgbouncer.intent import DatabaseIntent, Intent

MEMORY = "lingering"
TRANSACTION_SECONDS = 60.0  # that a paused database gets for its last transactions
DEFAULT_SECONDS = 120  # for clients to leave, where an older operator did not say


@dataclass(frozen=True, slots=True)
class Leaving:
    """A database that the pool serves no more. until: unix seconds at which its clients' time is over."""

    database: DatabaseIntent
    until: float


def leaving(known: Mapping[str, Leaving], running: Candidate | None, wanted: Intent, now: float) -> dict[str, Leaving]:
    """What lingers under `wanted`: what did before, and what `running` still serves. One that came back stays. Pure."""
    staying = {each.name for each in wanted.databases}
    found = {name: each for name, each in known.items() if name not in staying}
    seconds = DEFAULT_SECONDS if wanted.drain_seconds is None else wanted.drain_seconds
    for each in running.composition.intent.databases if running is not None else ():
        if each.name not in staying:
            found.setdefault(each.name, Leaving(each, now + seconds))
    return found


def done(each: Leaving, seen: Database | None, now: float) -> bool:
    """Whether nothing more is to be waited for. Pure."""
    if seen is None or (seen.disabled and not seen.clients):
        return True
    rests = seen.paused and not seen.busy
    return now >= each.until and (rests or now >= each.until + TRANSACTION_SECONDS)


class Removal:
    """Remembers what lingers across restarts of the worker, and leads it out. One thread uses it."""

    def __init__(self, settings: Settings) -> None:
        """Take up what an earlier worker has left."""
        self._settings = settings
        self._known = _load(settings)

    @property
    def databases(self) -> tuple[DatabaseIntent, ...]:
        """What is to be in the configuration besides the intent's own."""
        return tuple(each.database for _, each in sorted(self._known.items()))

    def aim(self, running: Candidate | None, wanted: Intent) -> None:
        """Take note of what the wanted configuration serves no more, and of what it serves again."""
        back = [name for name in self._known if name in {each.name for each in wanted.databases}]
        self._keep(leaving(self._known, running, wanted, time.time()))
        self._order(*(f"{word} {bouncer.quoted(name)}" for name in back for word in ("ENABLE", "RESUME")))

    def step(self, running: Candidate) -> bool:
        """Refuse newcomers, pause what is due; whether something has left and the configuration can do without it."""
        if not self._known:
            return False
        try:
            seen = bouncer.look(self._settings).databases
        except (Unreachable, CommandRefused):
            return False
        now = time.time()
        loaded = {each.name for each in running.composition.lingering}
        for name, each in self._known.items():
            found = seen.get(name)
            if found is None or name not in loaded:
                continue
            if not found.disabled:
                self._order(f"DISABLE {bouncer.quoted(name)}")
            if now >= each.until and not found.paused:
                self._order(f"PAUSE {bouncer.quoted(name)}")
        left = {name: each for name, each in self._known.items() if name in loaded and done(each, seen.get(name), now)}
        self._keep({name: each for name, each in self._known.items() if name not in left})
        return bool(left)

    def _order(self, *commands: str) -> None:
        """One by one: a database that is not paused refuses RESUME, and one that waits for a transaction is slow."""
        for each in commands:
            try:
                bouncer.order(self._settings, each)
            except (Unreachable, CommandRefused):
                continue

    def _keep(self, known: dict[str, Leaving]) -> None:
        if known != self._known:
            self._known = known
            document = {name: [asdict(each.database), each.until] for name, each in known.items()}
            files.write({str(self._settings.run_dir / MEMORY): json.dumps(document).encode()})


def _load(settings: Settings) -> dict[str, Leaving]:
    try:
        document = json.loads((settings.run_dir / MEMORY).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return {name: Leaving(DatabaseIntent(**database), until) for name, (database, until) in document.items()}
