"""The agent's worker: looks at the mounts and at PgBouncer, climbs the ladder, tells what it knows."""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import pgbouncer_operator
from pgbouncer_operator import naming
from pgbouncer_operator.agent import candidate, console, grant, mounts, run_dir, server
from pgbouncer_operator.agent.backend_schedule import BackendSchedule
from pgbouncer_operator.agent.candidate import Candidate, Fresh
from pgbouncer_operator.agent.console import CommandRefused, Figures, Look, Unreachable
from pgbouncer_operator.agent.draining import Drainage, Drained
from pgbouncer_operator.agent.inotify import Notice
from pgbouncer_operator.agent.mounts import Mounts
from pgbouncer_operator.agent.pause import TrafficControl, flow
from pgbouncer_operator.agent.reconnect import Renewal
from pgbouncer_operator.agent.reload import Ladder
from pgbouncer_operator.agent.removed_databases import Removal
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.protocol.state import AgentProblem, AgentState, Flow, Phase, ProblemReason, UserState


def main(arguments: Sequence[str] = ()) -> int:
    """Run until SIGTERM or SIGINT. There are no arguments; settings.py names the environment variables."""
    if arguments:
        print(f"the worker takes no arguments, got {' '.join(arguments)}", file=sys.stderr)
        return 2
    settings = AgentSettings.from_environment(os.environ)
    worker, notice, stop = Worker(settings), Notice(settings.poll), threading.Event()
    signal.set_wakeup_fd(notice.waker)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    notice.watch([*mounts.volumes(settings), str(settings.run_dir)])  # a pod's volumes are what they are
    server.serve(worker)
    while not stop.is_set():
        worker.step()
        notice.wait(worker.pause)
    worker.log()
    return 0


class Worker:
    """One loop in one thread; `state()` and `ready` may be asked from others."""

    def __init__(self, settings: AgentSettings) -> None:
        """Remember what an earlier worker of this pod left in the run directory."""
        self.settings = settings
        self.ladder = Ladder(settings)
        self._identity = run_dir.identity(settings)
        self._credentials = run_dir.credentials(settings)
        self._retired = run_dir.logins(settings)
        self._seen = run_dir.seen(settings)
        self._born = time.monotonic()
        self._read_at = self._born
        self._fingerprint: tuple[str, ...] | None = None
        self._mounts = Mounts()
        self._wanted: Candidate | None = None
        self._problems: tuple[AgentProblem, ...] = ()
        self._complaint = ""
        self._beaten = 0.0
        self._drainage = Drainage(settings)
        self._watch = BackendSchedule(settings)
        self._removal = Removal(settings)
        self._traffic = TrafficControl(settings)
        self._renewal = Renewal(settings)
        self._flow = Flow.FLOWING
        self._figures = Figures()
        self._unreachable: AgentProblem | None = None
        self._looking = threading.Lock()

    @property
    def ready(self) -> bool:
        """Whether the first configuration is installed, which needs a grant: PgBouncer may start."""
        return self.ladder.running is not None

    @property
    def pause(self) -> float:
        """Seconds until the next turn, if nothing is noticed before."""
        if self.ladder.busy(self._wanted):
            return self.settings.poll
        return min(max(0.0, self._beaten + self.settings.beat - time.monotonic()), self._traffic.pause)

    def step(self) -> None:
        """One turn: everything that is due, nothing that waits."""
        if not self._drainage.begun or not self.ready:
            changed = self._read()
            if self._hold() or changed:
                self._aim()
        if self._wanted is not None:
            self.ladder.climb(self._wanted, self._read_at)
            if self.ladder.refuses(self._wanted):
                self._fall_back()
        self.ladder.check()
        self._steer()
        self.log()
        now = time.monotonic()
        untested = self.ladder.read and self._watch.owes(self.ladder.running) and not self._traffic.asked
        if untested or now - self._beaten >= self.settings.beat:
            self._beaten = now
            self._beat()

    def log(self) -> None:
        """Tell what a drain has come to, once: it is the last that is heard of the pod."""
        if line := self._drainage.line():
            print(line, file=sys.stderr, flush=True)

    @property
    def drained(self) -> Drained | None:
        """What became of the clients of a drain; None when the pod does not drain."""
        return self._drainage.result

    def state(self) -> AgentState:
        """All that is known now, with fresh figures."""
        ladder = self.ladder
        confirmed = ladder.confirmed  # before the figures: connections seen are never older than the limit they kept to
        self.look()
        standing = ladder.problem or (self._unreachable if self.ready else None)
        found = (*self._problems, ladder.refusal, standing, self._traffic.problem())
        figures = self._figures
        return AgentState(
            uid=self._mounts.uid,
            version=pgbouncer_operator.__version__,
            pgbouncer=ladder.version,
            phase=self._phase(),
            digest=confirmed.digest,
            seq=confirmed.seq if self._seen.cap else self._seen.seq,
            cap=max(confirmed.cap, self._wanted.cap if self._wanted else self._seen.cap),
            open=figures.open,
            busy=figures.busy,
            waiting=figures.waiting,
            clients=figures.clients,
            totals=figures.totals,
            problems=tuple(each for each in found if each is not None),
            users={
                handle: UserState(user.credential is not None, user.message, user.generation)
                for handle, user in self._mounts.users.items()
            },
            certificates=self._mounts.generations,
            backend=self._watch.found(self.ladder.running),
            reload=ladder.reload,
            traffic=self._flow,
            lingering=tuple(each.name for each in self._removal.databases),
            reconnected=self._renewal.token,
        )

    def look(self) -> Look | None:
        """Refresh the figures; what was seen, or None."""
        with self._looking:
            tested = self._watch.testing
            try:
                seen = console.look(self.settings, totals=True)
            except (Unreachable, CommandRefused) as error:
                self._unreachable = AgentProblem(
                    ProblemReason.CONSOLE_UNREACHABLE, f"{error}; asked again until it answers"
                )
                if isinstance(error, Unreachable) and error.gone:
                    self._figures = Figures()  # else it hangs, and holds what it held
                self._flow = Flow.FLOWING
                return None
            # A test that ran before or after we looked may have been seen as a client, though nobody's.
            before = self._figures if tested or self._watch.testing else seen.figures
            self._figures = replace(seen.figures, waiting=before.waiting, clients=before.clients)
            self._flow = flow(seen)
            self._unreachable = None
            return seen

    def _phase(self) -> Phase:
        if self._drainage.begun:
            return Phase.DRAINING
        return Phase.RUNNING if self.ladder.confirmed.digest else Phase.WAITING

    def _read(self) -> bool:
        """Read the mounts when a generation changed."""
        fingerprint = mounts.fingerprint(mounts.volumes(self.settings))
        if fingerprint == self._fingerprint:
            return False
        self._read_at = time.monotonic()
        self._mounts = mounts.read(self.settings, self._credentials)
        self._fingerprint = fingerprint
        usable = {handle: user.credential for handle, user in self._mounts.users.items() if user.credential is not None}
        if self._mounts.intent is not None and usable != self._credentials:
            self._credentials = usable
            run_dir.keep_credentials(self.settings, self._credentials)
        return True

    def _hold(self) -> bool:
        """Take the ledger's word; whether the cap or its sequence changed."""
        held = grant.hold(self._mounts, self._seen, time.monotonic() - self._born, self.settings.static_after)
        self._complaint = held.complaint
        if held.seen == self._seen:
            return False
        self._seen = held.seen
        run_dir.keep_seen(self.settings, held.seen)
        return True

    def _aim(self) -> None:
        """Compose what should run now."""
        running = self.ladder.running
        if running is not None:
            self._retired |= {each.login for each in running.composition.logins}
        if self._mounts.intent is not None and candidate.gate(self._mounts) is None:
            self._removal.aim(running, self._mounts.intent)
        fresh = Fresh(self._identity, self.settings, self._retired, self._removal.databases)
        aim = candidate.target(self._mounts, self._seen, running, fresh)
        self._wanted = aim.candidate
        complaint = (AgentProblem(ProblemReason.NO_GRANT, self._complaint),) if self._complaint else ()
        self._problems = (*aim.problems, *complaint)

    def _fall_back(self) -> None:
        """A refused configuration does not keep a grant from being obeyed: what runs goes on under the new cap."""
        running = self.ladder.running
        if running is None:
            return
        regranted = candidate.regranted(running, self._seen)
        if regranted.marker != running.marker:
            self.ladder.climb(regranted, self._read_at)

    def _steer(self) -> None:
        """Pauses and renewals that the operator asks for; neither waits for anything."""
        running = self.ladder.running
        if running is None or self._fingerprint is None:
            return
        if self._traffic.step(self._mounts.pause_until, self._drainage.asked):
            self._watch.doubt()
        token = self._mounts.annotations.get(naming.ANNOTATION_RECONNECT, "")
        if self.ladder.read and self._renewal.step(token, running.shares):
            self._watch.doubt()

    def _beat(self) -> None:
        """What is looked at when nothing changes."""
        seen = self.look()
        if seen is None or self.ladder.running is None:
            return
        self.ladder.noticed(seen)
        drained = self._drainage.begun
        if self._drainage.due():
            self._wanted = self._drainage.next(self.ladder.running, seen)
        elif drained:
            self._aim()  # PgBouncer was restarted, not stopped: back to what it should run
        elif self._removal.step(self.ladder.running):
            self._aim()  # clients have left a removed database, or their time is over
        elif self.ladder.read and not self._traffic.asked:
            self._watch.look(self.ladder.running, self._mounts, seen.figures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
