"""The agent's worker: reads the mounts, brings PgBouncer to what they say, and reports its state."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence

import pgbouncer_operator
from pgbouncer_operator import naming
from pgbouncer_operator.agent import candidate, certificates, console, grant, mounts, needs, run_dir, server
from pgbouncer_operator.agent.backend_schedule import BackendSchedule
from pgbouncer_operator.agent.candidate import Candidate, CandidateInputs
from pgbouncer_operator.agent.console import ConsoleAnswer, Shown
from pgbouncer_operator.agent.console_reader import ConsoleReader, Verified
from pgbouncer_operator.agent.draining import Draining, DrainResult
from pgbouncer_operator.agent.inotify import Inotify
from pgbouncer_operator.agent.mounts import Mounts
from pgbouncer_operator.agent.pause import TrafficControl
from pgbouncer_operator.agent.reconnect import Reconnector
from pgbouncer_operator.agent.reload import Reloader
from pgbouncer_operator.agent.removed_databases import RemovedDatabases
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.agent.supervisor import write_log
from pgbouncer_operator.protocol.reasons import Phase, ProblemReason
from pgbouncer_operator.protocol.state import MOST_ROLES, AgentProblem, AgentState, UserState


def main(arguments: Sequence[str] = ()) -> int:
    """Run until SIGTERM or SIGINT. There are no arguments; settings.py names the environment variables."""
    if arguments:
        print(f"the worker takes no arguments, got {' '.join(arguments)}", file=sys.stderr)
        return 2
    settings = AgentSettings.from_environment(os.environ)
    worker, inotify, stop = Worker(settings), Inotify(settings.poll), threading.Event()
    signal.set_wakeup_fd(inotify.waker)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    inotify.watch([*mounts.volumes(settings), str(settings.run_dir)])  # a running pod's volumes stay the same
    server.serve(worker)
    while not stop.is_set():
        worker.step()
        inotify.wait(worker.pause)
    worker.log()
    return 0


class Worker:
    """One loop in one thread. Other threads may call `state`, `shown`, `ready` and `drained`."""

    def __init__(self, settings: AgentSettings) -> None:
        """Read what an earlier worker of this pod left in the run directory."""
        self.settings = settings
        self.reloader = Reloader(settings)
        self._identity = run_dir.identity(settings)
        self._credentials = run_dir.credentials(settings)
        self._retired = run_dir.logins(settings)
        self._grant = run_dir.accepted_grant(settings)
        self._open_files = 0
        self._started = time.monotonic()
        self._read_at = self._started
        self._fingerprint: tuple[str, ...] | None = None
        self._mounts = Mounts()
        self._wanted: Candidate | None = None
        self._problems: tuple[AgentProblem, ...] = ()
        self._grant_problem = ""
        self._beat_at = 0.0
        self._draining = Draining(settings)
        self._backend = BackendSchedule(settings)
        self._needs = needs.Needs()
        self._removed = RemovedDatabases(settings)
        self._traffic = TrafficControl(settings)
        self._reconnector = Reconnector(settings)
        self._reader = ConsoleReader(settings, self._verified, lambda: self._backend.testing)
        self._unreadable: AgentProblem | None = None

    @property
    def ready(self) -> bool:
        """Whether the first configuration is installed, which needs a grant. PgBouncer may start then."""
        return self.reloader.running is not None

    @property
    def pause(self) -> float:
        """Seconds until the next turn, when no file changes before."""
        if self.reloader.busy(self._wanted):
            return self.settings.poll
        return min(max(0.0, self._beat_at + self.settings.beat - time.monotonic()), self._traffic.pause)

    def step(self) -> None:
        """One turn: everything that is due, and nothing that waits."""
        if not self._draining.begun or not self.ready:
            self._follow_mounts()
        if self._wanted is not None:
            self.reloader.advance(self._wanted, self._read_at)
            if self.reloader.refuses(self._wanted):
                self._regrant()
        self.reloader.check()
        self._draining.confirm(self.reloader.running, self.reloader.most)
        self._pause_and_reconnect()
        self.log()
        now = time.monotonic()
        untested = self.reloader.read and self._backend.needs_test(self.reloader.running) and not self._traffic.asked
        leaves = self._draining.asked and not self._draining.begun
        if untested or leaves or now - self._beat_at >= self.settings.beat:
            self._beat_at = now
            self._beat()

    def log(self) -> None:
        """Log the result of a drain, once: it is the pod's last line."""
        if line := self._draining.log_line():
            write_log(line)

    @property
    def drained(self) -> DrainResult | None:
        """What became of the clients of a drain; None when the pod does not drain."""
        return self._draining.result

    @property
    def login_failures(self) -> Mapping[str, int]:
        """Tests of a login to PostgreSQL that failed since this worker started, by reason."""
        return self._backend.failures

    def state(self) -> AgentState:
        """The document of /state, with the figures of now, or with the last ones and their age."""
        reloader, reading, accepted = self.reloader, self._reader.read(), self._grant
        standing = reloader.problem or (reading.problem if self.ready else None)
        expired = certificates.problem(self._mounts.expired)
        problems = (self._unreadable, expired, *self._problems, reloader.refusal, standing, self._traffic.problem())
        wanted = self._wanted.cap if self._wanted else accepted.cap
        figures, confirmed = reading.figures, reading.verified.confirmed
        return AgentState(
            uid=self._mounts.uid,
            version=pgbouncer_operator.__version__,
            pgbouncer=reloader.version,
            phase=self._phase(),
            digest=confirmed.digest,
            seq=confirmed.seq if accepted.cap else accepted.seq,
            cap=max(confirmed.cap, reloader.confirmed.cap, wanted),
            keeps=reading.verified.keeps,
            open=figures.open,
            busy=figures.busy,
            waiting=figures.waiting,
            clients=figures.clients,
            clients_max=reloader.running.composition.clients if reloader.running else None,
            totals=figures.totals,
            problems=tuple(each for each in problems if each is not None),
            users={
                handle: UserState(user.credential is not None, user.message, user.generation)
                for handle, user in self._mounts.users.items()
            },
            certificates=self._mounts.generations,
            validities=certificates.validities(self._mounts.ca, self._mounts.certificate),
            backend=self._backend.result(self.reloader.running),
            md5_roles=self._backend.md5_roles(self.reloader.running)[:MOST_ROLES],
            reload=reloader.reload,
            traffic=reading.flow,
            lingering=tuple(each.name for each in self._removed.databases),
            reconnected=self._reconnector.token,
            age=reading.age(time.monotonic()),
        )

    def shown(self) -> Shown | None:
        """What PgBouncer shows now; None while it does not answer."""
        answer = self._observe()
        return answer.shown if answer else None

    def _observe(self) -> ConsoleAnswer | None:
        """What PgBouncer answers now. None when it does not answer within console.ANSWER_SECONDS."""
        asked = time.monotonic()
        reading = self._reader.read(console.ANSWER_SECONDS)
        return reading.answer if reading.began >= asked else None

    def _verified(self) -> Verified:
        return Verified(self.reloader.confirmed, self._draining.keeps)

    def _phase(self) -> Phase:
        if self._draining.begun:
            return Phase.DRAINING
        return Phase.RUNNING if self.reloader.confirmed.digest else Phase.WAITING

    def _read(self) -> bool:
        """Read the mounts when a generation changed. True when it did. What is unreadable stays as it was read last."""
        began = time.monotonic()
        try:
            fingerprint = mounts.fingerprint(mounts.volumes(self.settings))
            again = fingerprint != self._fingerprint or bool(self._mounts.unknown)
            before, self._mounts = (
                self._mounts,
                mounts.read(self.settings, self._credentials) if again else self._mounts,
            )
        except mounts.Unreadable as error:
            known = "the pod waits" if self._fingerprint is None else "the pod keeps to what it read last"
            message = f"the pod's volumes cannot be read, so {known}; check the pod's node: {error}"
            self._unreadable = AgentProblem(ProblemReason.MOUNT_UNREADABLE, message)
            return False
        unknown = ", ".join(self._mounts.unknown)
        message = f"the volumes of {unknown} cannot be read; what was read before stays in use; check the pod's node"
        self._unreadable = AgentProblem(ProblemReason.MOUNT_UNREADABLE, message) if unknown else None
        if fingerprint == self._fingerprint and self._mounts == before:
            return False
        self._fingerprint, self._read_at = fingerprint, began
        usable = {handle: user.credential for handle, user in self._mounts.users.items() if user.credential is not None}
        if self._mounts.intent is not None and usable != self._credentials:
            self._credentials = usable
            with contextlib.suppress(OSError):  # a later worker reads the Secrets again
                run_dir.keep_credentials(self.settings, self._credentials)
        return True

    def _follow_mounts(self, again: bool = False) -> None:
        """Choose what should run when the mounts or the limit of open files changed. again: also when none did."""
        changed = self._read()
        if self._fingerprint is None:
            return  # nothing has been read yet, so nothing is known to be absent
        if self._accept_grant() or changed or again or self._open_files != run_dir.open_files(self.settings):
            self._choose(None if changed else time.monotonic())

    def _accept_grant(self) -> bool:
        """Use the grant of the mounted ledger. True when the cap, a sequence or the problem changed.

        A grant that a later worker would not know of is not used.
        """
        waited, before = time.monotonic() - self._started, (self._grant, self._grant_problem)
        accepted = grant.accept(self._mounts, self._grant, waited, self.settings.static_after)
        self._grant_problem = accepted.problem
        if accepted.grant != self._grant:
            try:
                run_dir.keep_accepted_grant(self.settings, accepted.grant)
                self._grant = accepted.grant
            except OSError as error:
                self._grant_problem = f"{self.settings.run_dir} does not take the new grant: {error}; replace the pod"
        return (self._grant, self._grant_problem) != before

    def _choose(self, began: float | None) -> None:
        """Compose the configuration that should run now. began: when its cause came; None for the mounts' last read."""
        self._read_at = self._read_at if began is None else began
        running = self.reloader.running
        if running is not None:
            self._retired |= {each.login for each in running.composition.logins}
        if self._mounts.intent is not None and candidate.mount_problem(self._mounts) is None:
            self._removed.update(running, self._mounts.intent)
        self._open_files = run_dir.open_files(self.settings)
        removed, demand = self._removed.databases, self._needs.demand
        inputs = CandidateInputs(self._identity, self.settings, self._retired, removed, self._open_files, demand)
        target = candidate.target(self._mounts, self._grant, running, inputs)
        self._wanted = self._draining.bounded(target.candidate, self._grant) or running
        no_grant = (AgentProblem(ProblemReason.NO_GRANT, self._grant_problem),) if self._grant_problem else ()
        limited = candidate.limited(target.candidate)
        self._problems = (*target.problems, *no_grant, *((limited,) if limited else ()))

    def _regrant(self) -> None:
        """PgBouncer refused the wanted configuration: the running one goes on under the new grant."""
        running = self.reloader.running
        if running is None:
            return
        demand = self._needs.demand
        regranted = self._draining.bounded(candidate.regranted(running, self._grant, demand), self._grant)
        if regranted is not None and regranted.marker != running.marker:
            self.reloader.advance(regranted, self._read_at)

    def _pause_and_reconnect(self) -> None:
        """Pause, resume and renew connections as the operator asks. Nothing here waits."""
        running = self.reloader.running
        if running is None or self._fingerprint is None:
            return
        if self._traffic.step(self._mounts.pause_until, self._draining.asked):
            self._backend.request_test()
        token = self._mounts.annotations.get(naming.ANNOTATION_RECONNECT, "")
        if self.reloader.read and self._reconnector.step(token, running.shares):
            self._backend.request_test()

    def _beat(self) -> None:
        """Observe PgBouncer once, and do what depends on its clients."""
        observation, drained = self._observe(), self._draining.asked
        draining = self._draining.update()  # also while PgBouncer hangs: it may be the one that drains
        if drained and not draining:
            self._follow_mounts(again=True)  # PgBouncer restarted instead of stopping: it serves again
        if observation is None or self.reloader.running is None:
            return
        self.reloader.check_limits(observation)
        if draining:
            self._wanted = self._draining.next_candidate(self.reloader.running, observation)
            self._read_at = self._beat_at
            self.reloader.advance(self._wanted, self._read_at)
        elif self._removed.step(self.reloader.running) or self._moves(self.reloader.running, observation):
            self._choose(self._beat_at)  # clients have left a removed database, its time is over, or shares move
        elif self.reloader.read and not self._traffic.asked:
            self._backend.start_if_due(self.reloader.running, self._mounts, observation.figures)

    def _moves(self, running: Candidate, observation: ConsoleAnswer) -> bool:
        """Look at what databases need. True when their shares should follow."""
        before, self._needs = self._needs, needs.look(self._needs, self._beat_at, running, self._grant.cap, observation)
        return self._needs.demand != before.demand


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
