"""When the agent tests the backend: after a start, after a change, while a test fails, and regularly while in use."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pgbouncer_operator.agent import backend, console, files, looked_up_roles
from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.agent.console import CommandRefused, Figures, Unreachable
from pgbouncer_operator.agent.looked_up_roles import Md5Roles, Question
from pgbouncer_operator.agent.mounts import AUTH_QUERY, Mounts
from pgbouncer_operator.agent.pooled_query import DatabaseLogin
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.protocol.intent import SYSTEM_CA
from pgbouncer_operator.protocol.reasons import BackendReason
from pgbouncer_operator.protocol.state import BackendTest

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0
AWAY_PAUSE_SECONDS = 2.0  # for a server that is away, which a test does not burden
USED_PAUSE_SECONDS = 10.0  # after a failover every connection may work and none may write
LATELY_SECONDS = 30.0  # after that, PgBouncer may have closed the connections because they were idle
WRITERS = "writers"
UNTESTED = BackendTest()
# PgBouncer's messages for a login that it closed itself. It reports them to the next client; PostgreSQL did not refuse.
_CUT = ("pause mode", "connect string changed")
_AWAY = {BackendReason.HOST_NOT_RESOLVED, BackendReason.UNREACHABLE, BackendReason.READ_ONLY}


@dataclass(frozen=True, slots=True)
class LastTest:
    """The last test of the backend."""

    subject: str = ""
    """What was tested; see `subject`."""
    result: BackendTest = UNTESTED
    ended: float = 0.0
    """When the test ended; monotonic seconds."""
    pause: float = FIRST_PAUSE_SECONDS
    """Seconds to wait before another test while this one's result is a failure."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """Tests that failed until now, whatever they tested, by reason."""


def due(last: LastTest, subject: str, figures: Figures, now: float, used: float) -> bool:
    """Whether to test now. A server that works and is idle is not tested.

    now, used: monotonic seconds; used is when PgBouncer last counted a new transaction. A pool that was used since the
    last test and has no server connection has lost them: clients whose logins fail at once never show as waiting.
    """
    if subject != last.subject:
        return True
    starved = figures.waiting > 0 and figures.busy == 0  # open connections may be logins that get no answer
    if not last.result.ok or starved:
        return now >= last.ended + last.pause
    lost = figures.open == 0 and used > last.ended and now < used + LATELY_SECONDS
    return (figures.busy > 0 or lost) and now >= last.ended + USED_PAUSE_SECONDS


def after(last: LastTest, subject: str, result: BackendTest, now: float) -> LastTest:
    """The record of a test that ended now. The pause doubles while tests of the same subject fail."""
    failures = dict(last.failures)
    if not result.ok:
        failures[result.reason] = failures.get(result.reason, 0) + 1
    if result.ok or subject != last.subject:
        return LastTest(subject, result, now, failures=failures)
    longest = AWAY_PAUSE_SECONDS if result.reason in _AWAY else LONGEST_PAUSE_SECONDS
    return LastTest(subject, result, now, min(last.pause * 2, longest), failures)


class BackendSchedule:
    """Runs the tests in their own thread, one at a time."""

    def __init__(self, settings: AgentSettings) -> None:
        """Read which logins could write earlier in this pod's life. Nothing is tested yet."""
        self._settings = settings
        self._last = LastTest()
        self._thread: threading.Thread | None = None
        self._requested = False
        self._transactions: int | None = None
        self._used = float("-inf")
        self._writers = _writers(settings)
        self._credentials = ""
        self._md5 = Md5Roles()

    def result(self, running: Candidate | None) -> BackendTest:
        """The last result, when it is of the servers, databases and logins of `running`; else untested."""
        last = self._last
        return last.result if running is not None and last.subject == subject(running) else UNTESTED

    @property
    def failures(self) -> Mapping[str, int]:
        """Tests that failed since this process started, by reason."""
        return self._last.failures

    def md5_roles(self, running: Candidate | None) -> tuple[str, ...]:
        """Looked-up roles whose passwords PostgreSQL stores as md5; none without authQuery."""
        return self._md5.names if running is not None and self._md5.subject == subject(running) else ()

    def needs_test(self, running: Candidate | None) -> bool:
        """Whether a test should start at once: what runs has not been tested, and no test runs."""
        return running is not None and not self.testing and (self._requested or self._last.subject != subject(running))

    def request_test(self) -> None:
        """Test as soon as possible, because the server may have changed. The last result stays until then."""
        self._requested = True

    @property
    def testing(self) -> bool:
        """Whether a test runs. Then one client of PgBouncer is the agent's."""
        return self._thread is not None and self._thread.is_alive()

    def start_if_due(self, running: Candidate, mounts: Mounts, figures: Figures) -> None:
        """Start a test when one is due and none runs. figures: PgBouncer's connections now."""
        if self.testing:
            self._transactions = None
            return
        about = subject(running)
        self._count(figures)
        if not self._requested and not due(self._last, about, figures, time.monotonic(), self._used):
            self._ask_if_due(running, mounts, figures)
            return
        self._requested, self._transactions = False, None
        # An open connection does not test a new password, so without clients the test renews it. With clients it stays:
        # it serves them, whether the Secret or the role was changed first.
        rotated = running.composition.credentials != self._credentials
        fresh = tuple(running.shares) if rotated and self._credentials and not figures.clients else ()
        self._credentials = running.composition.credentials
        test, role = plan(running, mounts, self._settings), _roles(running, mounts)
        self._start(self._run, about, test, role, fresh)

    def _ask_if_due(self, running: Candidate, mounts: Mounts, figures: Figures) -> None:
        """Ask about the roles that PgBouncer has looked up, if it has looked up one since the last time."""
        question = _question(running, mounts)
        if question and self._md5.due(question.subject, figures.lookups, time.monotonic()):
            self._transactions = None
            self._start(self._ask, question, figures.lookups)

    def _ask(self, question: Question, lookups: int) -> None:
        self._md5 = looked_up_roles.ask(self._settings, question, self._md5, lookups)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        self._thread = threading.Thread(target=target, args=arguments, name="backend", daemon=True)
        self._thread.start()

    def _count(self, figures: Figures) -> None:
        """Note when PgBouncer counts a new transaction. A test resets the count, so that its own is not noted."""
        transactions = figures.totals.transactions if figures.totals else None
        if transactions is not None and self._transactions is not None and transactions > self._transactions:
            self._used = time.monotonic()
        self._transactions = transactions

    def _run(self, about: str, test: backend.TestPlan, role: Callable[[str, str], str], fresh: tuple[str, ...]) -> None:
        with contextlib.suppress(Unreachable, CommandRefused):
            console.command(self._settings, *console.reconnect(fresh))
        result = backend.run(test, self._serves)
        if result.backend.message.endswith(_CUT):
            self._requested = True
            return
        if self._paused():
            return  # a test waits during a pause as every client does; its result does not concern the server
        self._last = after(self._last, about, self._judged(result, role), time.monotonic())

    def _judged(self, result: backend.TestResult, role: Callable[[str, str], str]) -> BackendTest:
        """The result; read-only is a failure for a login that could write before.

        Renews the connections of such logins, and those of databases whose clients get outdated settings.
        """
        writers = self._writers | {role(*each) for each in result.writing}
        if writers != self._writers:
            self._writers = writers
            files.write({str(self._settings.run_dir / WRITERS): json.dumps(sorted(writers)).encode()})
        lost = [each for each in result.reading if role(*each) in writers]
        renewed = dict.fromkeys((*result.outdated, *(database for database, _ in lost)))
        if renewed:
            with contextlib.suppress(Unreachable, CommandRefused):  # the next test tries again
                console.command(self._settings, *console.reconnect(renewed))
        return backend.read_only(*lost[0]) if lost else result.backend

    def _serves(self, database: str) -> bool:
        try:
            observation = console.observe(self._settings)
        except (Unreachable, CommandRefused):
            return False
        row = observation.databases.get(database)
        return row is not None and row.open > 0 and observation.figures.busy > 0  # busy: not only logins

    def _paused(self) -> bool:
        try:
            return any(each.paused for each in console.observe(self._settings).databases.values())
        except (Unreachable, CommandRefused):
            return False


def subject(running: Candidate) -> str:
    """What a test covers: servers, databases, logins, TLS. Another value needs another test. No secret is in it."""
    intent = running.composition.intent
    tls = sorted(item for item in intent.settings.items() if item[0].startswith("server_tls"))
    return repr((intent.databases, intent.users, intent.server_tls, tls, running.composition.credentials))


def plan(running: Candidate, mounts: Mounts, settings: AgentSettings) -> backend.TestPlan:
    """The test of what runs."""
    composition = running.composition
    tls = composition.intent.server_tls
    ca = {"": None, SYSTEM_CA: settings.system_ca}.get(tls.ca, settings.run_dir / "ca" / tls.ca)
    verified = ca if tls.mode.startswith("verify-") else None
    servers = {(each.host, each.port): None for each in composition.intent.databases}
    credentials = [
        (handle, user.credential.login, user.credential.password)
        for handle, user in mounts.users.items()
        if user.credential is not None
    ]
    users = [each for each in credentials if each[0] != AUTH_QUERY]
    logins = backend.covering_logins([each.name for each in composition.intent.databases], users)
    if query := composition.intent.auth_query:
        lookups = [each for each in credentials if each[0] == AUTH_QUERY]
        logins += tuple(DatabaseLogin(query.database, *each) for each in lookups)
    return backend.TestPlan(
        servers=tuple(backend.BackendAddress(host, port, tls.mode, verified) for host, port in servers),
        logins=logins,
        socket_dir=str(settings.run_dir),
        port=settings.port,
    )


def _question(running: Candidate, mounts: Mounts) -> Question | None:
    """What to ask about looked-up roles; None without authQuery."""
    composition = running.composition
    query, user = composition.intent.auth_query, mounts.users.get(AUTH_QUERY)
    if query is None or user is None or user.credential is None:
        return None
    login = DatabaseLogin(query.database, AUTH_QUERY, user.credential.login, user.credential.password)
    listed = {each.login for each in composition.logins} | {login.login, composition.stats_user, console.CONSOLE}
    return Question(login, query.function, listed, subject(running))


def _roles(running: Candidate, mounts: Mounts) -> Callable[[str, str], str]:
    """A function from database and handle to the name under which the agent remembers that the login could write.

    The name holds role, server and PostgreSQL's database: for another one nothing is remembered.
    """
    servers = {each.name: f"{each.host}:{each.port}/{each.dbname}" for each in running.composition.intent.databases}
    roles = {handle: user.credential.login for handle, user in mounts.users.items() if user.credential is not None}
    return lambda database, handle: f"{roles[handle]}@{servers[database]}"


def _writers(settings: AgentSettings) -> frozenset[str]:
    try:
        return frozenset(json.loads((settings.run_dir / WRITERS).read_bytes()))
    except (FileNotFoundError, ValueError):
        return frozenset()
