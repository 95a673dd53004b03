"""PAUSE and RESUME of this PgBouncer: hold the queries of every database back until a deadline, then let them flow.

The agent keeps the deadline alone, so queries flow again without an operator. It sends PAUSE without waiting for the
answer: PgBouncer answers when all transactions of the database have ended, and one long transaction would delay the
PAUSE of the other databases. SHOW POOLS shows instead whether a database is idle.
The agent resumes only what it has paused: a file remembers that the pause is its own and not an administrator's.
PAUSE: https://www.pgbouncer.org/usage.html#process-controlling-commands
"""

import time

from pgbouncer_operator.agent import console, files
from pgbouncer_operator.agent.console import CommandRefused, ConsoleAnswer, Unreachable
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.protocol.reasons import Flow, ProblemReason
from pgbouncer_operator.protocol.state import AgentProblem

PAUSED_BY_AGENT = "paused-by-agent"
WATCH_SECONDS = 5.0  # the agent watches the last transactions closely for so long; after that once in a beat


def flow(observation: ConsoleAnswer) -> Flow:
    """Paused when every database is paused and no transaction runs. Pure."""
    databases = observation.databases.values()
    paused = bool(databases) and all(each.paused for each in databases) and not observation.figures.busy
    return Flow.PAUSED if paused else Flow.FLOWING


def holds(until: int | None, now: float, draining: bool) -> bool:
    """Whether queries are held back at `now` (Unix seconds). Clients of a draining pod must be able to leave. Pure."""
    return until is not None and now < until and not draining


class TrafficControl:
    """Brings PgBouncer to the traffic that is asked for. One thread uses it."""

    def __init__(self, settings: AgentSettings) -> None:
        """A file in the run directory shows a pause of an earlier worker."""
        self.asked = False  # whether queries are held back now
        self._settings = settings
        self._mark = settings.run_dir / PAUSED_BY_AGENT
        self._until: int | None = None
        self._begun = 0.0
        self._settled = True  # PgBouncer does what is asked

    @property
    def pause(self) -> float:
        """Seconds until the next `step` is due."""
        left = max(0.0, self._until - time.time()) if self.asked and self._until is not None else float("inf")
        watched = not self._settled and time.monotonic() < self._begun + WATCH_SECONDS
        return min(left, self._settings.poll) if watched else left

    def step(self, until: int | None, draining: bool) -> bool:
        """Pause or resume. True when it sent a command. until: Unix seconds, None for queries that flow."""
        asked = holds(until, time.time(), draining)
        if asked != self.asked:
            self._begun, self._settled = time.monotonic(), False
        self.asked, self._until = asked, until
        if not asked and not self._mark.exists():
            self._settled = True
            return False
        try:
            observation = console.observe(self._settings)
            return self._hold(observation) if asked else self._release(observation)
        except (Unreachable, CommandRefused):
            return False  # the next turn pauses a PgBouncer that has started again; without a pause it flows anyway

    def problem(self) -> AgentProblem | None:
        """A problem while the pause is still asked for and its time is over."""
        if self._until is None or time.time() < self._until:
            return None
        return AgentProblem(
            ProblemReason.PAUSE_TIMED_OUT,
            "the pause took longer than pauseTimeoutSeconds, so traffic flows again; "
            "set traffic to Flowing before you pause again, and raise pauseTimeoutSeconds if more time is needed",
        )

    def _hold(self, observation: ConsoleAnswer) -> bool:
        flowing = [name for name, each in observation.databases.items() if not each.paused]
        if flowing:
            files.kept(self._mark, b"")
            console.pause(self._settings, flowing)
        self._settled = flow(observation) is Flow.PAUSED
        return bool(flowing)

    def _release(self, observation: ConsoleAnswer) -> bool:
        paused = [name for name, each in observation.databases.items() if each.paused]
        console.lift_user_limit(self._settings)  # a worker that was killed in the middle of a pause may have left it
        console.command(self._settings, *(f"RESUME {console.quoted(name)}" for name in paused))
        self._mark.unlink(missing_ok=True)
        self._settled = True
        return bool(paused)
