"""Reads PgBouncer's connections, one reading at a time. Nobody waits for a PgBouncer that hangs.

A reading is one console session in a thread of its own. Who asks gets a reading that began after the question. When
that takes too long, the answer is the last reading that ended, and its age says so.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pgbouncer_operator.agent import console
from pgbouncer_operator.agent.console import CommandRefused, ConsoleAnswer, Figures, Unreachable
from pgbouncer_operator.agent.pause import flow
from pgbouncer_operator.agent.reload import Confirmed
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.protocol.reasons import Flow, ProblemReason
from pgbouncer_operator.protocol.state import OLDEST, AgentProblem

PATIENCE_SECONDS = 0.3  # the operator waits 1 s for /state; a reading takes a few milliseconds


@dataclass(frozen=True, slots=True)
class Verified:
    """What PgBouncer is verified to do."""

    confirmed: Confirmed = field(default_factory=Confirmed)
    """What it runs."""
    keeps: int | None = None
    """See AgentState."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of PgBouncer's connections."""

    began: float = float("-inf")
    """When they were read (monotonic seconds); -inf before the first answer."""
    verified: Verified = field(default_factory=Verified)
    """What was verified before they were read. So a confirmed limit is never newer than the connections beside it."""
    figures: Figures = field(default_factory=Figures)
    """The connections; none where no process listens."""
    flow: Flow = Flow.FLOWING
    """Whether queries flow."""
    answer: ConsoleAnswer | None = None
    """The whole answer; None when the last attempt got none."""
    problem: AgentProblem | None = None
    """Why the last attempt got no answer; None when it got one."""

    def age(self, now: float) -> int:
        """Whole seconds since they were read, at most OLDEST. now: monotonic seconds."""
        return int(min(max(0.0, now - self.began), OLDEST))


class ConsoleReader:
    """Makes readings when somebody asks. Any thread may ask."""

    def __init__(self, settings: AgentSettings, verified: Callable[[], Verified], testing: Callable[[], bool]) -> None:
        """Read nothing yet. verified: what is verified now. testing: whether one of its clients is the agent's."""
        self._settings = settings
        self._verified = verified
        self._testing = testing
        self._latest = Reading()
        self._changed = threading.Condition()
        self._asked = self._begun = self._ended = 0  # numbers of readings
        self._began = 0.0
        self._running = False

    def read(self, patience: float = PATIENCE_SECONDS) -> Reading:
        """A reading that begins now, when it ends within `patience` seconds; else the last one that ended.

        A reading that already takes longer than `patience` makes nobody else wait.
        """
        with self._changed:
            wanted = self._begun + 1
            self._asked = wanted
            if self._running:
                patience = min(patience, self._began + patience - time.monotonic())
            else:
                self._running, self._began = True, time.monotonic()
                threading.Thread(target=self._run, name="console", daemon=True).start()
            self._changed.wait_for(lambda: self._ended >= wanted, max(0.0, patience))
            return self._latest

    def _run(self) -> None:
        """Make readings until nobody asks for another."""
        try:
            while self._begins():
                reading = self._once(self._latest)
                with self._changed:
                    self._latest, self._ended = reading, self._begun
                    self._changed.notify_all()
        except BaseException:
            with self._changed:
                self._running = False  # so that the next question begins another reading
            raise

    def _begins(self) -> bool:
        """Whether somebody asks for another reading, which begins now."""
        with self._changed:
            self._running = self._asked > self._begun
            if self._running:
                self._begun += 1
                self._began = time.monotonic()
            return self._running

    def _once(self, before: Reading) -> Reading:
        verified = self._verified()  # before the connections: see Reading.verified
        began, testing = time.monotonic(), self._testing()
        try:
            answer = console.observe(self._settings, totals=True)
        except (Unreachable, CommandRefused) as error:
            problem = AgentProblem(
                ProblemReason.CONSOLE_UNREACHABLE, f"{error}; the agent tries again until it answers"
            )
            if isinstance(error, Unreachable) and error.gone:
                return Reading(began, verified, problem=problem)
            return replace(before, flow=Flow.FLOWING, answer=None, problem=problem)  # it hangs, and keeps what it has
        # A test of the backend is a client of PgBouncer for a moment, and no application's.
        clients = before.figures if testing or self._testing() else answer.figures
        figures = replace(answer.figures, waiting=clients.waiting, clients=clients.clients)
        return Reading(began, verified, figures, flow(answer), answer)
