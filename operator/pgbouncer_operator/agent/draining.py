"""The agent's part in a drain: it acts alone, since a terminating pod gets no grant and no configuration."""

import json
from dataclasses import dataclass, replace

from pgbouncer_operator.agent import candidate, console
from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.agent.console import CommandRefused, Look, Unreachable
from pgbouncer_operator.agent.settings import AgentSettings

FLAG = "draining"  # written by drain.py
RESULT = "drained"  # likewise


@dataclass(frozen=True, slots=True)
class Drained:
    """What became of the clients of a pod that drains: see drain.py."""

    left: int
    closed: int
    cut: int
    seconds: float
    done: bool
    """Whether drain.py has ended: the numbers are final."""

    def __str__(self) -> str:
        """The line of the log."""
        return (
            f"drained in {self.seconds:.1f} s: {self.left} clients left by themselves, "
            f"{self.closed} closed at a transaction boundary, {self.cut} cut"
        )


class Drainage:
    """Knows whether the pod drains, and what it should run then."""

    def __init__(self, settings: AgentSettings) -> None:
        """Nothing is known before the first `due`."""
        self.begun = False
        self._settings = settings
        self._process = console.NOBODY
        self._told = False

    def due(self) -> bool:
        """Whether the pod drains now.

        kubelet calls preStop also before it restarts an unhealthy container: a PgBouncer that came up after the drain
        began serves again, and the drain is over.
        """
        flag = self._settings.run_dir / FLAG
        process = console.process(self._settings)
        if not flag.exists():
            self.begun = False
        elif not self.begun:
            self.begun, self._process = True, process
            self._resume()
        elif process not in {console.NOBODY, self._process}:
            flag.unlink()
            (self._settings.run_dir / RESULT).unlink(missing_ok=True)
            self.begun = self._told = False
        return self.begun

    @property
    def asked(self) -> bool:
        """Whether the pod is to drain, known before the next `due`."""
        return self.begun or (self._settings.run_dir / FLAG).exists()

    @property
    def result(self) -> Drained | None:
        """What became of the clients so far; None before the first of them was counted, and after the drain is over."""
        if not self.asked:
            return None
        try:
            found = json.loads((self._settings.run_dir / RESULT).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        drained = Drained(**found)
        # The container ends with PgBouncer, and drain.py with it: then nobody was left to say that it is done.
        return replace(drained, done=drained.done or console.process(self._settings) == console.NOBODY)

    def line(self) -> str:
        """What to write into the log, once; empty before the drain is done, and after."""
        result = self.result
        if self._told or result is None or not result.done:
            return ""
        self._told = True
        return str(result)

    def next(self, running: Candidate, seen: Look) -> Candidate:
        """What to run for the clients that are left, once no more are sent here: nothing given back is had again."""
        if self._expects():
            return running
        return candidate.shrunk(running, {name: each.clients for name, each in seen.databases.items()})

    def _expects(self) -> bool:
        """Whether newcomers are to be expected; so it is as long as nobody said that they are not."""
        try:
            return bool(json.loads((self._settings.run_dir / FLAG).read_bytes())["newcomers"])
        except (FileNotFoundError, ValueError):
            return True

    def _resume(self) -> None:
        """Clients of a paused database would wait until they are cut."""
        try:
            paused = [name for name, each in console.look(self._settings).databases.items() if each.paused]
            console.command(self._settings, *(f"RESUME {console.quoted(name)}" for name in paused))
        except (Unreachable, CommandRefused):
            pass  # it stops already: nobody waits any more
