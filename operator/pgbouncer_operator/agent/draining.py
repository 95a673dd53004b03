"""The agent's part in a drain. It acts alone: a terminating pod gets no grant and no configuration any more."""

import contextlib
import json
from dataclasses import dataclass, replace

from pgbouncer_operator.agent import console, handover, run_dir
from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.agent.console import CommandRefused, ConsoleAnswer, Unreachable
from pgbouncer_operator.agent.grant import AcceptedGrant
from pgbouncer_operator.agent.settings import AgentSettings

FLAG = "draining"  # written by drain.py
RESULT = "drained"  # written by drain.py
UNREADY = "unready"  # written by drain.py, read by probe.py


@dataclass(frozen=True, slots=True)
class DrainResult:
    """What became of the clients of a pod that drains. The fields are the keys that drain.py writes."""

    left: int
    """Clients that left by themselves."""
    closed: int
    """Clients that PgBouncer closed between two transactions."""
    cut: int
    """Clients that were closed in the middle of a transaction."""
    seconds: float
    """Since the drain began."""
    done: bool
    """Whether drain.py has ended: the numbers are final."""

    def __str__(self) -> str:
        """The line of the log."""
        return (
            f"drained in {self.seconds:.1f} s; clients that left by themselves: {self.left}, "
            f"closed at a transaction boundary: {self.closed}, cut: {self.cut}"
        )


@dataclass(frozen=True, slots=True)
class _Flag:
    """What drain.py says while a pod drains."""

    process: tuple[int, int]
    """The PgBouncer that drains: see `console.process`."""
    newcomers: bool
    """Whether new clients may still come to this pod."""


class Draining:
    """Knows whether the pod drains, and what PgBouncer should run then."""

    def __init__(self, settings: AgentSettings) -> None:
        """Read nothing before the first `update`."""
        self.begun = False
        self.keeps: int | None = None  # see AgentState
        self._settings = settings
        self._logged = False
        self._handover = run_dir.handover(settings)

    def update(self) -> bool:
        """Read whether the pod drains now, and resume its databases when a drain begins.

        kubelet runs preStop also before it restarts a container that fails its liveness probe. The flag names the
        PgBouncer that drains. Any other one serves, and the drain is over, whether or not this worker saw it begin.
        """
        flag, process = self._flag(), console.process(self._settings)
        if flag is None:
            self.begun = False
        elif process not in {console.NO_PROCESS, flag.process}:
            self.keeps = None
            for name in (FLAG, RESULT, UNREADY):
                (self._settings.run_dir / name).unlink(missing_ok=True)
            self.begun = self._logged = False
        elif not self.begun:
            self.begun = True
            self._resume()
        return self.begun

    @property
    def asked(self) -> bool:
        """Whether the pod should drain, before the next `update` has read it."""
        return self.begun or (self._settings.run_dir / FLAG).exists()

    @property
    def result(self) -> DrainResult | None:
        """What became of the clients so far. None before drain.py has written it, and after the drain is over."""
        if not self.asked:
            return None
        try:
            document = json.loads((self._settings.run_dir / RESULT).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        result = DrainResult(**document)
        # drain.py ends with PgBouncer's container and may not have written that it is done.
        return replace(result, done=result.done or console.process(self._settings) == console.NO_PROCESS)

    def log_line(self) -> str:
        """The line for the log, once: empty before the drain is done, and at every later call."""
        result = self.result
        if self._logged or result is None or not result.done:
            return ""
        self._logged = True
        return str(result)

    def next_candidate(self, running: Candidate, observation: ConsoleAnswer) -> Candidate:
        """What PgBouncer should run for the clients that are left: see handover.py.

        The handover is written before PgBouncer obeys it, so that no later worker gives back more than is left.
        """
        clients = {name: each.clients for name, each in observation.databases.items()}
        before = replace(self._handover or handover.begin(running), seq=0)
        flag = self._flag()
        after = handover.following(before, running, clients, flag is None or flag.newcomers)
        if after != self._handover:
            try:
                run_dir.keep_handover(self._settings, after)
            except OSError:
                return running  # the run directory is full: nothing is handed over before the next look
            self._handover = after
        return handover.bounded(running, after) or running

    def bounded(self, wanted: Candidate | None, grant: AcceptedGrant) -> Candidate | None:
        """What may run of `wanted` beside what the pod has handed over; None to leave PgBouncer as it is.

        grant: the one that the pod uses, as read from its mounts just now.
        """
        if wanted is None or self._handover is None:
            return wanted
        if not self.asked and not self._handover.seq:
            self._handover = replace(self._handover, seq=grant.seq)
            with contextlib.suppress(OSError):  # a later worker then waits for a ledger after its own first one
                run_dir.keep_handover(self._settings, self._handover)
        if not self.asked and handover.over(self._handover, grant):
            self._handover = None
            with contextlib.suppress(OSError):  # a later worker then begins with the lower shares
                run_dir.forget_handover(self._settings)
            return wanted
        return handover.bounded(wanted, self._handover)

    def confirm(self, running: Candidate | None, most: int | None) -> None:
        """Remember what the pod keeps, once PgBouncer runs under the lower limits.

        most: the most server connections under `running` from now on; None while it is not in force.
        """
        if running is None or self._handover is None or most is None or not self.begun:
            return
        if handover.bounded(running, self._handover) is running:
            self.keeps = most if self.keeps is None else min(self.keeps, most)

    def _flag(self) -> _Flag | None:
        """What drain.py says of the drain; None when the pod does not drain."""
        try:
            document = json.loads((self._settings.run_dir / FLAG).read_bytes())
            inode, created = document["process"]
            return _Flag((inode, created), bool(document["newcomers"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):  # not drain.py's: the pod drains, and no more is known
            return _Flag(console.process(self._settings), newcomers=True)

    def _resume(self) -> None:
        """Clients of a paused database would wait until the drain closes them."""
        try:
            databases = console.observe(self._settings).databases
            paused = [name for name, each in databases.items() if each.paused]
            console.command(self._settings, *(f"RESUME {console.quoted(name)}" for name in paused))
        except (Unreachable, CommandRefused):
            pass  # PgBouncer stops already: no client waits any more
