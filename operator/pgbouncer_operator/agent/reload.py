"""Bring a configuration into force: prove → install → reload → verify, one step at a time, never waiting.

RELOAD is not atomic: PgBouncer applies the lines before a bad one and resets the settings after it to their defaults.
So a configuration is proved before and verified after. RELOAD: https://www.pgbouncer.org/usage.html#process-controlling-commands
"""

import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pgbouncer_operator.agent import console, files, install, prove, share_steps
from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.agent.console import CommandRefused, ConsoleAnswer, Unreachable
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.protocol.reasons import ProblemReason, ReloadKind
from pgbouncer_operator.protocol.state import AgentProblem, Reload

RETRY_REFUSED_SECONDS = 10.0  # the fault is mostly in the configuration, but the node may have been out of memory
RETRY_SECONDS = 0.5
CONSOLE_SILENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What PgBouncer runs, verified."""

    digest: str = ""
    """Hash of the intent; empty before the first."""
    seq: int = 0
    """Sequence of the ledger."""
    cap: int = 0
    """The most server connections of the pod: no database holds more than its share of it."""


class Reloader:
    """Brings the running PgBouncer to a wanted configuration. One thread uses it; others read its public attributes."""

    def __init__(self, settings: AgentSettings) -> None:
        """Remove what an earlier worker left of a proof. Nothing is installed yet."""
        prove.clean(settings)
        files.clean(settings.run_dir)
        self.running: Candidate | None = None  # what the files in the run directory say
        self.confirmed = Confirmed()
        self.reload: Reload | None = None
        self.version = ""
        self.problem: AgentProblem | None = None  # of the running configuration
        self.refusal: AgentProblem | None = None  # of the wanted configuration
        self.over: Mapping[str, int] | None = None  # what databases above their shares hold; None while not verified
        self.read = False  # PgBouncer has read the running configuration; databases may still be over their limits
        self.settled = False  # PgBouncer has read the running configuration and no database is over its limit
        self.most: int | None = None  # see Verification
        self._settings = settings
        self._refused: dict[str, float] = {}
        self._kind = ReloadKind.START
        self._renewal_due = False  # the change needs new server connections and is not verified yet
        self._loaded = False  # PgBouncer has accepted the commands that bring the installed configuration into force
        self._begun: float | None = None  # when the agent read the change that is under way; None without one
        self._installed_at = 0.0
        self._load_at = 0.0
        self._reconnected_at = 0.0
        self._process_at = 0.0  # when the process was last another one
        self._process = console.NO_PROCESS

    def advance(self, wanted: Candidate, begun: float) -> None:
        """Take one step towards `wanted`, which was read at `begun` (monotonic). Does nothing when it runs already."""
        if self.running is not None and self.running.marker == wanted.marker:
            self._refused, self.refusal = {}, None
            self._relabel(wanted)
            return
        if time.monotonic() < self._refused.get(wanted.marker, 0.0):
            return
        step = share_steps.next_step(self.running, wanted if self.running else self._taken_up(wanted), self.over)
        if step is not None:
            self._install(step, wanted.marker, begun)

    def refuses(self, wanted: Candidate) -> bool:
        """Whether PgBouncer has refused this configuration."""
        return wanted.marker in self._refused

    def busy(self, wanted: Candidate | None) -> bool:
        """Whether a change is under way, so that the next `check` is due soon."""
        if time.monotonic() - max(self._installed_at, self._process_at) > CONSOLE_SILENCE_SECONDS:
            return False  # PgBouncer is down, or a long transaction goes on: once in a beat is enough
        return not self.settled or (
            wanted is not None and self.running is not None and wanted.marker != self.running.marker
        )

    def check(self) -> None:
        """Verify that PgBouncer runs what is installed. Load it where it does not, and enforce its limits."""
        if self.running is None:
            return
        process = console.process(self._settings)
        if process != self._process:
            self.read = self.settled = False  # another process: it has read the files, and is not verified
            self.most = None
            self._process, self._process_at = process, time.monotonic()
        if self.settled:
            return
        try:
            self._verify(self.running, console.observe(self._settings, whole=True))
        except Unreachable as error:
            if error.gone:
                self.over = {}
            self.problem = AgentProblem(
                ProblemReason.CONSOLE_UNREACHABLE, f"{error}; the agent tries again until it answers"
            )
        except CommandRefused as error:
            self.problem = AgentProblem(
                ProblemReason.VERIFY_FAILED,
                f"PgBouncer's console refused to show its settings: {error}; the agent tries again",
            )

    def check_limits(self, observation: ConsoleAnswer) -> None:
        """Enforce a limit that is passed while no change is under way. observation: made for other reasons."""
        if self.running is not None and install.over_limit(self.running, observation):
            self.settled = False

    def _install(self, step: Candidate, marker: str, begun: float) -> None:
        """Take the step towards the configuration of `marker`. What fails of the step counts for the whole of it."""
        try:
            prove.prove(step, self._settings)
        except prove.ConfigurationRefused as error:
            self._refuse(marker)
            self.refusal = AgentProblem(
                ProblemReason.CANDIDATE_REFUSED, f"PgBouncer refuses the configuration: {error}"
            )
            return
        except OSError as error:
            self._not_written(marker, error)
            return
        kind, removed = share_steps.kind(self.running, step), share_steps.removed(self.running, step)
        try:
            install.write(step)
        except OSError as error:
            self._not_written(marker, error)
            return
        self._renewal_due = self._renewal_due or kind is ReloadKind.RECONNECT
        self._kind = ReloadKind.RECONNECT if self._renewal_due else kind
        self.running, self.over, self.read, self.settled, self.most = step, None, False, False, None
        self._begun, self._installed_at, self._load_at = begun, time.monotonic(), 0.0
        if kind is ReloadKind.START:  # PgBouncer has not started yet, or runs since an earlier worker
            with contextlib.suppress(Unreachable, CommandRefused):
                # An earlier worker may have been killed in the middle of a renewal.
                console.lift_user_limit(self._settings)
            self.reload = Reload(step.composition.intent.digest, self._installed_at - begun, kind)
            self._begun = None
        else:
            install.pause_removed(self._settings, removed)
            self._load(step)

    def _refuse(self, marker: str) -> None:
        """Try the configuration again later, and no other's time is changed."""
        now = time.monotonic()
        waiting = {each: until for each, until in self._refused.items() if until > now}
        self._refused = {**waiting, marker: now + RETRY_REFUSED_SECONDS}

    def _not_written(self, marker: str, error: OSError) -> None:
        """The run directory does not take the files: what runs goes on, and the step is tried again later."""
        self._refuse(marker)
        self.refusal = AgentProblem(
            ProblemReason.RELOAD_FAILED,
            f"the configuration cannot be written to {self._settings.run_dir}: {error}; the agent tries again every "
            f"{RETRY_REFUSED_SECONDS:g} s: make it smaller, or replace the pod",
        )

    def _taken_up(self, wanted: Candidate) -> Candidate:
        """An earlier worker may have ended before databases gave back the connections that others should get now."""
        try:
            databases = console.observe(self._settings).databases
        except (Unreachable, CommandRefused):
            return wanted
        return share_steps.taken_up(wanted, {name: each.limit for name, each in databases.items() if each.limit})

    def _load(self, step: Candidate) -> None:
        if time.monotonic() < self._load_at + RETRY_SECONDS:
            return
        self._load_at = time.monotonic()
        # What a process of an earlier worker runs is not known, so its connections are renewed too.
        renews = self._renewal_due or self._kind is ReloadKind.START
        self.problem = install.load(self._settings, step.shares if renews else ())
        self._loaded = self.problem is None

    def _verify(self, running: Candidate, observation: ConsoleAnswer) -> None:
        result = install.verify(running, observation)
        self.version, self.over, self.read = observation.version, result.known_over, result.read
        self.most = result.most
        if not result.read:
            self.problem = AgentProblem(ProblemReason.VERIFY_FAILED, result.message)
        if not result.read or (self._renewal_due and not self._loaded):
            self._load(running)
            return
        self.problem, self._renewal_due = None, False
        digest = running.composition.intent.digest
        if result.over:
            self.confirmed = Confirmed(digest, self.confirmed.seq, self.confirmed.cap)
            self._enforce(result.over)
            return
        self.settled = True
        self.confirmed = Confirmed(digest, running.seq, running.cap)
        if self._begun is not None:
            self.reload = Reload(digest, time.monotonic() - self._begun, self._kind)
        self._begun, self._kind = None, ReloadKind.RELOAD

    def _relabel(self, wanted: Candidate) -> None:
        """`wanted` has the bytes of what runs, and another sequence or cap: a ledger that changes no share here."""
        self.running = wanted
        if self.settled:
            self.confirmed = Confirmed(wanted.composition.intent.digest, wanted.seq, wanted.cap)

    def _enforce(self, over: Iterable[str]) -> None:
        """Renew the server connections of databases over their limit, each at the end of its transaction.

        A lowered max_db_connections closes no connection by itself.
        """
        now = time.monotonic()
        if now - self._installed_at < self._settings.tick or now - self._reconnected_at < RETRY_SECONDS:
            return
        self._reconnected_at, self._kind = now, ReloadKind.RECONNECT
        # This is not urgent, so logins that are under way get time to end.
        console.command(self._settings, *console.reconnect(over), login_wait=CONSOLE_SILENCE_SECONDS)
