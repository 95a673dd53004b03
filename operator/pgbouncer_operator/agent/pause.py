"""Hold every database's traffic back until a deadline, and let it flow again: PAUSE and RESUME of this PgBouncer.

The agent keeps the deadline alone, so traffic flows again whether or not anybody is there to say so. PAUSE is given
without waiting for its answer, which comes only when the transactions of every paused database have ended: one long
transaction would hold the others back. Whether a database rests is seen in SHOW POOLS instead.
A database that somebody else paused by hand is none of ours, so a file remembers that the pause is.
"""

import time

from pgbouncer_operator.agent import console, files
from pgbouncer_operator.agent.console import CommandRefused, Look, Unreachable
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.protocol.state import AgentProblem, Flow, ProblemReason

HELD = "paused-by-agent"
HURRY_SECONDS = 5.0  # how long transactions are watched closely; a longer one is looked at once in a beat


def flow(seen: Look) -> Flow:
    """Paused only when every database is, and none of their transactions runs any more. Pure."""
    rests = bool(seen.databases) and all(each.paused for each in seen.databases.values()) and not seen.figures.busy
    return Flow.PAUSED if rests else Flow.FLOWING


def holds(until: int | None, now: float, draining: bool) -> bool:
    """Whether traffic is to be held back at `now` (unix time). A draining pod's clients must be able to leave. Pure."""
    return until is not None and now < until and not draining


class TrafficControl:
    """Brings PgBouncer to what is asked. One thread uses it."""

    def __init__(self, settings: AgentSettings) -> None:
        """An earlier worker may have paused: its mark is in the run directory."""
        self.asked = False  # whether traffic is held back now
        self._settings = settings
        self._mark = settings.run_dir / HELD
        self._until: int | None = None
        self._begun = 0.0
        self._rests = True

    @property
    def pause(self) -> float:
        """Seconds until there is something to do again."""
        left = max(0.0, self._until - time.time()) if self.asked and self._until is not None else float("inf")
        hurried = not self._rests and time.monotonic() < self._begun + HURRY_SECONDS
        return min(left, self._settings.poll) if hurried else left

    def step(self, until: int | None, draining: bool) -> bool:
        """Pause or resume as asked; whether anything was changed. until: unix seconds, None for traffic that flows."""
        asked = holds(until, time.time(), draining)
        if asked != self.asked:
            self._begun, self._rests = time.monotonic(), False
        self.asked, self._until = asked, until
        if not asked and not self._mark.exists():
            self._rests = True
            return False
        try:
            seen = console.look(self._settings)
            return self._hold(seen) if asked else self._release(seen)
        except (Unreachable, CommandRefused):
            return False  # a PgBouncer that comes up again is paused then, or flows anyway

    def problem(self) -> AgentProblem | None:
        """That a pause is still asked for and its time is over."""
        if self._until is None or time.time() < self._until:
            return None
        return AgentProblem(
            ProblemReason.PAUSE_TIMED_OUT,
            "the pause took longer than pauseTimeoutSeconds, so traffic flows again; "
            "set traffic to Flowing before you pause again, and raise pauseTimeoutSeconds if more time is needed",
        )

    def _hold(self, seen: Look) -> bool:
        flowing = [name for name, each in seen.databases.items() if not each.paused]
        if flowing:
            files.kept(self._mark, b"")
            console.pause(self._settings, flowing)
        self._rests = flow(seen) is Flow.PAUSED
        return bool(flowing)

    def _release(self, seen: Look) -> bool:
        paused = [name for name, each in seen.databases.items() if each.paused]
        console.unbound(self._settings)  # a worker that was killed in the middle of a pause may have left it
        console.command(self._settings, *(f"RESUME {console.quoted(name)}" for name in paused))
        self._mark.unlink(missing_ok=True)
        self._rests = True
        return bool(paused)
