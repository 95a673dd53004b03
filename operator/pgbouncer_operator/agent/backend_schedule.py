"""When the backend is tested: after a start and each change, while something is wrong, now and then while in use."""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pgbouncer_operator.agent import backend, console, files
from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.agent.console import CommandRefused, Figures, Unreachable
from pgbouncer_operator.agent.mounts import AUTH_QUERY, Mounts
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.protocol.intent import SYSTEM_CA
from pgbouncer_operator.protocol.state import BackendReason, BackendTest

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0
RETURN_PAUSE_SECONDS = 2.0  # for a server that is away: looking whether it is back costs it nothing
USED_PAUSE_SECONDS = 10.0  # a failover may leave every connection working, and none able to write
LATELY_SECONDS = 30.0  # after which connections that are gone may as well have been closed for being idle
WRITERS = "writers"
UNTESTED = BackendTest()
# PgBouncer's words for a login that it cut itself, which it hands to whoever comes next: PostgreSQL said nothing.
_CUT = ("pause mode", "connect string changed")
_AWAY = {BackendReason.HOST_NOT_RESOLVED, BackendReason.UNREACHABLE, BackendReason.READ_ONLY}


@dataclass(frozen=True, slots=True)
class Last:
    """The last test: of what, its result, when it ended (monotonic), and how long to wait before another."""

    subject: str = ""
    found: BackendTest = UNTESTED
    ended: float = 0.0
    pause: float = FIRST_PAUSE_SECONDS


def due(last: Last, subject: str, figures: Figures, now: float, used: float) -> bool:
    """Whether to test now. Never at rest: a server that works and is idle is left alone.

    used: when transactions were last seen to be done. A pool that was used since the last test and holds no connection
    at all has lost them: clients whose logins fail at once are never seen to wait.
    """
    if subject != last.subject:
        return True
    starved = figures.waiting > 0 and figures.busy == 0  # open ones may be logins that nobody answers
    if not last.found.ok or starved:
        return now >= last.ended + last.pause
    lost = figures.open == 0 and used > last.ended and now < used + LATELY_SECONDS
    return (figures.busy > 0 or lost) and now >= last.ended + USED_PAUSE_SECONDS


def after(last: Last, subject: str, found: BackendTest, now: float) -> Last:
    """The record of a test that ended now; the pause doubles while the same thing stays wrong."""
    if found.ok or subject != last.subject:
        return Last(subject, found, now)
    longest = RETURN_PAUSE_SECONDS if found.reason in _AWAY else LONGEST_PAUSE_SECONDS
    return Last(subject, found, now, min(last.pause * 2, longest))


class BackendSchedule:
    """Runs the tests in a thread of their own, one at a time."""

    def __init__(self, settings: AgentSettings) -> None:
        """Nothing is known before the first test but who could write before, in this pod's life."""
        self._settings = settings
        self._last = Last()
        self._thread: threading.Thread | None = None
        self._doubted = False
        self._done: int | None = None
        self._used = float("-inf")
        self._writers = _writers(settings)
        self._credentials = ""

    def found(self, running: Candidate | None) -> BackendTest:
        """The last result for what runs: of another server, database or login it would say nothing about this one."""
        last = self._last
        return last.found if running is not None and last.subject == subject(running) else UNTESTED

    def owes(self, running: Candidate | None) -> bool:
        """Whether what runs has not been tested and nothing is being tested, so that a test should begin at once."""
        return running is not None and not self.testing and (self._doubted or self._last.subject != subject(running))

    def doubt(self) -> None:
        """Something has changed about the server: test once more, as soon as possible. The last result stands."""
        self._doubted = True

    @property
    def testing(self) -> bool:
        """Whether a test runs: then one client of PgBouncer is ours."""
        return self._thread is not None and self._thread.is_alive()

    def look(self, running: Candidate, mounts: Mounts, figures: Figures) -> None:
        """Start a test when one is due and none runs."""
        if self.testing:
            self._done = None
            return
        about = subject(running)
        self._count(figures)
        if not self._doubted and not due(self._last, about, figures, time.monotonic(), self._used):
            return
        self._doubted, self._done = False, None
        # An open connection says nothing of a new password. Without clients nobody misses it, so a new one is made;
        # with clients it stays: it serves them whichever of Secret and role was changed first.
        rotated = running.composition.credentials != self._credentials
        fresh = tuple(running.shares) if rotated and self._credentials and not figures.clients else ()
        self._credentials = running.composition.credentials
        test, places = plan(running, mounts, self._settings), _places(running, mounts)
        self._thread = threading.Thread(
            target=self._run, args=(about, test, places, fresh), name="backend", daemon=True
        )
        self._thread.start()

    def _count(self, figures: Figures) -> None:
        """Notice transactions; a test's own are not counted, since what was done before it is forgotten with it."""
        done = figures.totals.transactions if figures.totals else None
        if done is not None and self._done is not None and done > self._done:
            self._used = time.monotonic()
        self._done = done

    def _run(self, about: str, test: backend.Test, places: Callable[[str, str], str], fresh: tuple[str, ...]) -> None:
        with contextlib.suppress(Unreachable, CommandRefused):
            console.command(self._settings, *console.reconnect(fresh))
        finding = backend.run(test, self._serves)
        if finding.backend.message.endswith(_CUT):
            self._doubted = True
            return
        if self._paused():
            return  # a test waits behind a pause as everybody does, which says nothing of the server
        found = self._judged(finding, places)
        self._last = after(self._last, about, found, time.monotonic())

    def _judged(self, finding: backend.LoginTest, places: Callable[[str, str], str]) -> BackendTest:
        """The result, with logins that could write and cannot any more told, and their connections renewed.

        So are those whose clients get settings of before.
        """
        writers = self._writers | {places(*each) for each in finding.writing}
        if writers != self._writers:
            self._writers = writers
            files.write({str(self._settings.run_dir / WRITERS): json.dumps(sorted(writers)).encode()})
        lost = [each for each in finding.reading if places(*each) in writers]
        renewed = dict.fromkeys((*finding.outdated, *(database for database, _ in lost)))
        if renewed:
            with contextlib.suppress(Unreachable, CommandRefused):  # the next test asks again
                console.command(self._settings, *console.reconnect(renewed))
        return backend.read_only(*lost[0]) if lost else finding.backend

    def _serves(self, database: str) -> bool:
        try:
            seen = console.look(self._settings)
        except (Unreachable, CommandRefused):
            return False
        found = seen.databases.get(database)
        return found is not None and found.open > 0 and seen.figures.busy > 0  # not merely logging in

    def _paused(self) -> bool:
        try:
            return any(each.paused for each in console.look(self._settings).databases.values())
        except (Unreachable, CommandRefused):
            return False


def subject(running: Candidate) -> str:
    """What a test is about: servers, databases, logins, TLS; never how long a client may wait. No secret is in it."""
    intent = running.composition.intent
    tls = sorted(item for item in intent.settings.items() if item[0].startswith("server_tls"))
    return repr((intent.databases, intent.users, intent.server_tls, tls, running.composition.credentials))


def plan(running: Candidate, mounts: Mounts, settings: AgentSettings) -> backend.Test:
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
    users = [each for each in logins if each[0] != AUTH_QUERY]
    pairs = backend.pairs([each.name for each in composition.intent.databases], users)
    if query := composition.intent.auth_query:
        pairs += tuple(backend.Pair(query.database, *each) for each in logins if each[0] == AUTH_QUERY)
    return backend.Test(
        servers=tuple(backend.BackendAddress(host, port, tls.mode, verified) for host, port in servers),
        pairs=pairs,
        socket_dir=str(settings.run_dir),
        port=settings.port,
    )


def _places(running: Candidate, mounts: Mounts) -> Callable[[str, str], str]:
    """How a login to a database is remembered: by server, database there and role. Another one is a new start."""
    servers = {each.name: f"{each.host}:{each.port}/{each.dbname}" for each in running.composition.intent.databases}
    roles = {handle: user.credential.login for handle, user in mounts.users.items() if user.credential is not None}
    return lambda database, handle: f"{roles[handle]}@{servers[database]}"


def _writers(settings: AgentSettings) -> frozenset[str]:
    try:
        return frozenset(json.loads((settings.run_dir / WRITERS).read_bytes()))
    except (FileNotFoundError, ValueError):
        return frozenset()
