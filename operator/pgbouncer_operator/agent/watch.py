"""When the backend is tested: after a start and after each change, then only while something is wrong."""

import threading
import time
from dataclasses import dataclass

from pgbouncer_operator.agent import backend, bouncer
from pgbouncer_operator.agent.bouncer import CommandRefused, Unreachable
from pgbouncer_operator.agent.compose import Candidate
from pgbouncer_operator.agent.mounts import Mounts
from pgbouncer_operator.agent.settings import Settings
from pgbouncer_operator.agent.state import Backend, Figures
from pgbouncer_operator.pgbouncer.intent import SYSTEM_CA

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0
UNTESTED = Backend()


@dataclass(frozen=True, slots=True)
class Last:
    """The last test: of what, its result, when it ended (monotonic), and how long to wait before another."""

    subject: str = ""
    found: Backend = UNTESTED
    ended: float = 0.0
    pause: float = FIRST_PAUSE_SECONDS


def due(last: Last, subject: str, figures: Figures, now: float) -> bool:
    """Whether to test now. Never at rest: a server that works and is idle is left alone."""
    if subject != last.subject:
        return True
    starved = figures.waiting > 0 and figures.open == 0
    return (not last.found.ok or starved) and now >= last.ended + last.pause


def after(last: Last, subject: str, found: Backend, now: float) -> Last:
    """The record of a test that ended now; the pause doubles while the same thing stays wrong."""
    if found.ok or subject != last.subject:
        return Last(subject, found, now)
    return Last(subject, found, now, min(last.pause * 2, LONGEST_PAUSE_SECONDS))


class Watch:
    """Runs the tests in a thread of their own, one at a time."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is known before the first test."""
        self._settings = settings
        self._last = Last()
        self._thread: threading.Thread | None = None

    def found(self, running: Candidate | None) -> Backend:
        """The last result for what runs: of another server, database or login it would say nothing about this one."""
        last = self._last
        return last.found if running is not None and last.subject == subject(running) else UNTESTED

    def owes(self, running: Candidate | None) -> bool:
        """Whether what runs has not been tested and nothing is being tested, so that a test should begin at once."""
        return running is not None and not self.testing and self._last.subject != subject(running)

    @property
    def testing(self) -> bool:
        """Whether a test runs: then one client of PgBouncer is ours."""
        return self._thread is not None and self._thread.is_alive()

    def look(self, running: Candidate, mounts: Mounts, figures: Figures) -> None:
        """Start a test when one is due and none runs."""
        if self.testing:
            return
        about = subject(running)
        if not due(self._last, about, figures, time.monotonic()):
            return
        test = plan(running, mounts, self._settings)
        self._thread = threading.Thread(target=self._run, args=(about, test), name="backend", daemon=True)
        self._thread.start()

    def _run(self, about: str, test: backend.Test) -> None:
        self._last = after(self._last, about, backend.run(test, self._serves), time.monotonic())

    def _serves(self, database: str) -> bool:
        try:
            found = bouncer.look(self._settings).databases.get(database)
        except (Unreachable, CommandRefused):
            return False
        return found is not None and found.open > 0


def subject(running: Candidate) -> str:
    """What a test is about: servers, databases, logins, TLS; never how long a client may wait. No secret is in it."""
    intent = running.composition.intent
    tls = sorted(item for item in intent.settings.items() if item[0].startswith("server_tls"))
    return repr((intent.databases, intent.users, intent.server_tls, tls, running.composition.credentials))


def plan(running: Candidate, mounts: Mounts, settings: Settings) -> backend.Test:
    """The test of what runs."""
    composition = running.composition
    tls = composition.intent.server_tls
    ca = {"": None, SYSTEM_CA: settings.system_ca}.get(tls.ca, settings.run_dir / "ca" / tls.ca)
    verified = ca if tls.mode.startswith("verify-") else None
    servers = {(each.host, each.port): None for each in composition.intent.databases}
    logins = [
        (handle, user.credential.login, user.credential.password)
        for handle, user in mounts.users.items()
        if user.credential is not None
    ]
    return backend.Test(
        servers=tuple(backend.Server(host, port, tls.mode, verified) for host, port in servers),
        pairs=backend.pairs([each.name for each in composition.intent.databases], logins),
        socket_dir=str(settings.run_dir),
        port=settings.port,
    )
