"""The reload ladder: prove → install → reload → verify, one rung at a time, never waiting for connections."""

import contextlib
import time
from dataclasses import dataclass

from pgbouncer_operator.agent import console, install, prove, share_steps
from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.agent.console import CommandRefused, Look, Unreachable
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.protocol.state import AgentProblem, ProblemReason, Reload, ReloadKind

RETRY_REFUSED_SECONDS = 10.0  # a refusal is of the configuration, but the machine may have been out of memory
RETRY_SECONDS = 0.5
CONSOLE_SILENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What PgBouncer has been seen to obey."""

    digest: str = ""
    seq: int = 0
    cap: int = 0


class Ladder:
    """Brings the running PgBouncer to a wanted configuration. One thread uses it; others read its public values."""

    def __init__(self, settings: AgentSettings) -> None:
        """Start with nothing installed by us."""
        prove.clean(settings)
        self.running: Candidate | None = None  # what the files say
        self.confirmed = Confirmed()
        self.reload: Reload | None = None
        self.version = ""
        self.problem: AgentProblem | None = None  # with the running configuration
        self.refusal: AgentProblem | None = None  # of a wanted one
        self.over: tuple[str, ...] | None = None  # None while nobody has seen the running configuration obeyed
        self.read = False  # the running configuration is verified, whether or not its limits are kept yet
        self.settled = False  # the running configuration is verified, with its limits kept
        self._settings = settings
        self._refused: dict[str, float] = {}
        self._kind = ReloadKind.START
        self._owed = False  # server connections are to be renewed for a configuration that nobody has seen obeyed yet
        self._given = False  # PgBouncer has taken the commands that bring the installed configuration into force
        self._begun: float | None = None  # when the change in work was read; None when none is
        self._installed = 0.0
        self._loaded = 0.0
        self._reconnected = 0.0
        self._lost = 0.0
        self._process = console.NOBODY

    def climb(self, wanted: Candidate, begun: float) -> None:
        """Go one rung towards `wanted`, first read at `begun` (monotonic). Does nothing when it is what runs."""
        if self.running is not None and self.running.marker == wanted.marker:
            self._refused, self.refusal = {}, None
            self._obey(wanted)
            return
        if time.monotonic() < self._refused.get(wanted.marker, 0.0):
            return
        step = share_steps.next_step(self.running, wanted if self.running else self._taken_up(wanted), self.over)
        if step is not None:
            self._install(step, begun)

    def refuses(self, wanted: Candidate) -> bool:
        """Whether PgBouncer has refused this very configuration."""
        return wanted.marker in self._refused

    def busy(self, wanted: Candidate | None) -> bool:
        """Whether a change is under way, so that the next look is due soon."""
        if time.monotonic() - max(self._installed, self._lost) > CONSOLE_SILENCE_SECONDS:
            return False  # PgBouncer is down, or a long transaction holds on: once in a beat is enough
        return not self.settled or (
            wanted is not None and self.running is not None and wanted.marker != self.running.marker
        )

    def check(self) -> None:
        """Look whether PgBouncer runs what is installed; load it, or enforce its limits, where it does not."""
        if self.running is None:
            return
        process = console.process(self._settings)
        if process != self._process:
            self.read = self.settled = False  # another process: it has read the files, but nobody has seen it
            self._process, self._lost = process, time.monotonic()
        if self.settled:
            return
        try:
            self._verify(self.running, console.look(self._settings, whole=True))
        except Unreachable as error:
            if error.gone:
                self.over = ()
            self.problem = AgentProblem(ProblemReason.CONSOLE_UNREACHABLE, f"{error}; asked again until it answers")
        except CommandRefused as error:
            self.problem = AgentProblem(
                ProblemReason.VERIFY_FAILED, f"the console refused to show its settings: {error}"
            )

    def noticed(self, seen: Look) -> None:
        """Take note of a look made for other reasons: a limit passed at rest is enforced as after a change."""
        if self.running is not None and install.passed(self.running, seen):
            self.settled = False

    def _install(self, step: Candidate, begun: float) -> None:
        try:
            prove.prove(step, self._settings)
        except prove.Refused as error:
            self._refused = {step.marker: time.monotonic() + RETRY_REFUSED_SECONDS}
            self.refusal = AgentProblem(
                ProblemReason.CANDIDATE_REFUSED, f"PgBouncer refuses the configuration: {error}"
            )
            return
        kind, removed = share_steps.kind(self.running, step), share_steps.removed(self.running, step)
        self._owed = self._owed or kind is ReloadKind.RECONNECT
        self._kind = ReloadKind.RECONNECT if self._owed else kind
        install.write(step)
        self.running, self.over, self.read, self.settled = step, None, False, False
        self._begun, self._installed, self._loaded = begun, time.monotonic(), 0.0
        if kind is ReloadKind.START:  # when PgBouncer comes up is not of our making
            with contextlib.suppress(Unreachable, CommandRefused):
                console.unbound(self._settings)  # an earlier worker may have been killed in the middle of a renewal
            self.reload = Reload(step.composition.intent.digest, self._installed - begun, kind)
            self._begun = None
        else:
            install.quiet(self._settings, removed)
            self._load(step)

    def _taken_up(self, wanted: Candidate) -> Candidate:
        """An earlier worker may have been killed before databases gave back what others are to have now."""
        try:
            databases = console.look(self._settings).databases
        except (Unreachable, CommandRefused):
            return wanted
        return share_steps.taken_up(wanted, {name: each.limit for name, each in databases.items() if each.limit})

    def _load(self, step: Candidate) -> None:
        if time.monotonic() < self._loaded + RETRY_SECONDS:
            return
        self._loaded = time.monotonic()
        # A process that was started by an earlier worker runs we do not know what: its connections are renewed too.
        renews = self._owed or self._kind is ReloadKind.START
        self.problem = install.load(self._settings, step.shares if renews else ())
        self._given = self.problem is None

    def _verify(self, running: Candidate, seen: Look) -> None:
        verdict = install.verify(running, seen)
        self.version, self.over, self.read = seen.version, verdict.known, verdict.read
        if not verdict.read:
            self.problem = AgentProblem(ProblemReason.VERIFY_FAILED, verdict.complaint)
        if not verdict.read or (self._owed and not self._given):
            self._load(running)
            return
        self.problem, self._owed = None, False
        digest = running.composition.intent.digest
        if verdict.over:
            self.confirmed = Confirmed(digest, self.confirmed.seq, self.confirmed.cap)
            self._enforce(verdict.over)
            return
        self.settled = True
        self.confirmed = Confirmed(digest, running.seq, running.cap)
        if self._begun is not None:
            self.reload = Reload(digest, time.monotonic() - self._begun, self._kind)
        self._begun, self._kind = None, ReloadKind.RELOAD

    def _obey(self, wanted: Candidate) -> None:
        """A newer ledger that says the same of this pod is obeyed already, and so is a cap it could not use whole."""
        self.running = wanted
        if self.settled:
            self.confirmed = Confirmed(wanted.composition.intent.digest, wanted.seq, wanted.cap)

    def _enforce(self, over: tuple[str, ...]) -> None:
        """A lowered limit closes nothing by itself; renewing does, each connection at the end of its transaction."""
        now = time.monotonic()
        if now - self._installed < self._settings.tick or now - self._reconnected < RETRY_SECONDS:
            return
        self._reconnected, self._kind = now, ReloadKind.RECONNECT
        # Nobody's recovery hangs on this, so logins under way get time to end.
        console.command(self._settings, *console.reconnect(over), calm=CONSOLE_SILENCE_SECONDS)
