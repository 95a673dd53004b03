"""Small questions about a look at a pool, each answered by one condition. Pure."""

import re
from collections.abc import Container
from datetime import UTC, datetime

from pgbouncer_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.api.spec import Traffic
from pgbouncer_operator.pgbouncer import parameters
from pgbouncer_operator.pgbouncer.session import OUTLIVES
from pgbouncer_operator.protocol.grants import Grants
from pgbouncer_operator.protocol.state import AgentState, BackendReason, Flow
from pgbouncer_operator.reconcile.budget.size import PoolSize
from pgbouncer_operator.reconcile.cache.views import PodView
from pgbouncer_operator.reconcile.observed import Observation, Observed
from pgbouncer_operator.reconcile.rollout.delivery import follows
from pgbouncer_operator.reconcile.rollout.template import automatic, image, newer, progress, rolls
from pgbouncer_operator.reconcile.rollout.verdict import REFUSALS
from pgbouncer_operator.resources.desired import Desired
from pgbouncer_operator.sizing.fit import Fit
from pgbouncer_operator.sizing.ledger import kept

# What poolers are called, and the ports that PgBouncer and Supavisor listen on; PostgreSQL's own is 5432.
POOLERS, POOLER_PORTS = {"pooler", "pgbouncer", "pgcat", "pgpool", "supavisor", "odyssey"}, {6432, 6543}
TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
SPOKEN: dict[str, Reason] = {  # the agent's reasons that have another name in a condition
    BackendReason.CERTIFICATE_INVALID: Reason.BACKEND_NOT_VERIFIED,
    BackendReason.READ_ONLY: Reason.BACKEND_IS_READ_ONLY,
}


def condition(kind: ConditionType, status: ConditionStatus, reason: Reason, message: str) -> Condition:
    """A condition without generation and time, which `report` adds."""
    return Condition(type=kind, status=status, reason=reason, message=message)


def credentials(observed: Observed) -> Condition:
    """Has every user a login and a password?"""
    kind = ConditionType.CREDENTIALS_AVAILABLE
    if observed.missing:
        return condition(kind, FALSE, observed.missing.reason, observed.missing.message)
    states = _states(observed)
    for state in states:
        for finding in state.users.values():
            if finding.ok is False:
                return condition(kind, FALSE, Reason.SECRET_KEY_MISSING, finding.message)
    if states or observed.memory.reading:
        return condition(kind, TRUE, Reason.AVAILABLE, "Every user has a login and a password.")
    return condition(kind, UNKNOWN, Reason.PENDING, "No pod has reported yet.")


def backend(observed: Observed, trying: Container[str] = frozenset()) -> Condition:
    """Does a login to PostgreSQL work from every pod that has tried?

    trying: uids of pods that try another configuration, whose failures are told as its own.
    """
    kind = ConditionType.BACKEND_REACHABLE
    known = [(pod, state) for pod in observed.living if (state := observed.states.get(pod.uid)) is not None]
    settled = [each for each in known if each[0].uid not in trying]
    before = next((each for each in observed.status.conditions or () if each.type is kind), None)
    if before and known and not settled:
        return before
    known = settled or known
    for pod, state in known:
        if state.backend.ok is False:
            reason = _reason(state.backend.reason, Reason.BACKEND_UNREACHABLE)
            return condition(kind, FALSE, reason, f"{state.backend.message} (pod {pod.name})")
    if any(state.backend.ok for _, state in known):
        if sign := pooler(observed.spec):
            told = f"A login works, but {sign} looks like another pooler, so the direct URL would not be direct."
            return condition(kind, TRUE, Reason.BACKEND_IS_POOLER, told)
        return condition(kind, TRUE, Reason.REACHABLE, "A login to PostgreSQL works.")
    if before and observed.pause and not observed.pause.expired:
        return before  # nobody can log in during a pause, which says nothing new of the server
    return condition(kind, UNKNOWN, Reason.PENDING, "No pod has tried to log in yet.")


def pooler(pool: ConnectionPool) -> str:
    """What about the backend looks like another pooler: its host or its port; "" when nothing does.

    Neon: ep-…-pooler.…; Supabase: ….pooler.supabase.com, port 6543; CloudNativePG: a Service of a Pooler's name.
    """
    backend = pool.spec.backend
    if POOLERS & set(re.split("[-._]", backend.address.lower())):
        return f"host {backend.address}"
    return f"port {backend.port}" if backend.port in POOLER_PORTS else ""


def unsupported(observed: Observed, following: Container[PodView]) -> str:
    """Which parameter a pod's PgBouncer is too old or too new for, of the pods that do not follow; "" for none."""
    given = observed.spec.spec.parameters or {}
    for pod in observed.living:
        state = observed.states.get(pod.uid)
        if state is None or not state.pgbouncer or pod in following:
            continue
        for name, value in sorted(given.items()):
            if problem := parameters.check(name, value, state.pgbouncer):
                return f"{problem.message} (pod {pod.name}); the configuration before it keeps serving"
    return ""


def configuration(observed: Observed, wanted: Desired, grants: Grants) -> Condition:
    """Has every pod that is not terminating loaded and confirmed this configuration?"""
    kind, digest = ConditionType.CONFIGURATION_APPLIED, wanted.intent.digest
    following = [
        pod for pod in observed.living if follows(observed.states.get(pod.uid), digest, grants.concerning(pod.uid))
    ]
    pods = max(len(observed.living), wanted.fit.replicas)
    message = f"{len(following)} of {pods} pods run {digest}."
    if len(following) == pods:
        return condition(kind, TRUE, Reason.APPLIED, message + _lingering(observed))
    if told := unsupported(observed, following):
        return condition(kind, FALSE, Reason.PARAMETER_UNSUPPORTED, told)
    if observed.memory.trial and observed.memory.trial.reason:
        return condition(kind, FALSE, observed.memory.trial.reason, observed.memory.trial.message)
    for pod in observed.living:
        state = observed.states.get(pod.uid)
        if pod not in following and state is not None:
            refusal = next((each for each in state.problems if each.reason in REFUSALS), None)
            if refusal:
                told = f"{refusal.message} (pod {pod.name}); the configuration before it keeps serving"
                return condition(kind, FALSE, Reason.CONFIGURATION_REFUSED, told)
    silent = [pod.name for pod in observed.living if pod.ready and observed.states.get(pod.uid) is None]
    if silent:
        return condition(kind, UNKNOWN, Reason.PODS_UNREACHABLE, f"{message} No answer from {', '.join(silent)}.")
    problem = next((each for state in _states(observed) for each in state.problems), None)
    if problem:
        message += f" {problem.message}"
    return condition(kind, FALSE, Reason.APPLYING_CONFIGURATION, message)


def _lingering(observed: Observed) -> str:
    """What was removed and still has clients; new ones are refused."""
    names = sorted({name for state in _states(observed) for name in state.lingering})
    if not names:
        return ""
    seconds = observed.spec.spec.drain.timeout_seconds
    return f" Removed: {', '.join(names)}; clients that are connected may stay for {seconds} s, new ones are refused."


def paused(observed: Observed) -> Condition:
    """Are queries held back on every pod?"""
    kind, pause = ConditionType.PAUSED, observed.pause
    if observed.spec.spec.traffic is Traffic.FLOWING:
        return condition(kind, FALSE, Reason.FLOWING, "Queries reach the server.")
    if pause is not None and pause.expired:
        told = "The pause has lasted as long as it may, and queries flow again. Set spec.traffic to Flowing."
        return condition(kind, FALSE, Reason.PAUSE_TIMED_OUT, told)
    states = [observed.states.get(pod.uid) for pod in observed.living if pod.ready]
    resting = sum(state is not None and state.traffic == Flow.PAUSED for state in states)
    if pause is not None and resting == len(states):
        end = datetime.fromtimestamp(pause.until, UTC).strftime("%H:%M:%S")
        return condition(kind, TRUE, Reason.PAUSED, f"{resting} pods hold queries back until {end} UTC at the latest.")
    told = f"{resting} of {len(states)} pods hold queries back; the others let running transactions end."
    return condition(kind, FALSE, Reason.PAUSING, told)


def _within_max(fit: Fit) -> Condition:
    """Whether the wanted pods fit in serverConnections.max."""
    kind = ConditionType.WITHIN_BUDGET
    if fit.shortage is None:
        return condition(kind, TRUE, Reason.FITS, "The pods wanted fit in serverConnections.max.")
    reason = Reason.REPLICAS_CLAMPED if fit.replicas else Reason.BUDGET_TOO_SMALL
    return condition(kind, FALSE, reason, fit.shortage)


def awaited(observed: Observation) -> Condition | None:
    """What its server has yet to do for the pool, without anybody's doing."""
    obstacle = observed.membership.obstacle if observed.membership else None
    if obstacle is None or obstacle.reason is not Reason.PENDING:
        return None
    return condition(ConditionType.READY, FALSE, obstacle.reason, obstacle.message)


def pods(observed: Observed, fit: Fit, grants: Grants) -> Condition | None:
    """What keeps the wanted pods from being ready; None when they all are. grants: as the ledger is about to be."""
    ready = sum(pod.ready for pod in observed.living)
    if ready >= fit.replicas and len(observed.living) == fit.replicas:
        return None
    message = f"{ready} of {fit.replicas} pods are ready."
    if len(observed.living) > fit.replicas:
        message = f"{len(observed.living)} pods run, {fit.replicas} wanted: some have yet to leave."
    if kept(grants):
        message += (
            f" {kept(grants)} server connections are kept for up to {OUTLIVES} s for pods whose end nobody saw: "
            "PostgreSQL may still count their sessions."
        )
    trouble = next((f" {pod.name}: {pod.trouble}" for pod in observed.living if pod.trouble), "")
    return condition(ConditionType.READY, FALSE, Reason.WAITING_FOR_PODS, message + trouble)


def _states(observed: Observed) -> list[AgentState]:
    return [state for pod in observed.living if (state := observed.states.get(pod.uid)) is not None]


def _reason(word: str, otherwise: Reason) -> Reason:
    """The agent's word as a reason of ours; an agent of another version may use words we do not know."""
    return Reason(word) if word in set(Reason) else SPOKEN.get(word, otherwise)


def budget(observed: Observed, fit: Fit, size: PoolSize | None) -> Condition:
    """Do the pods wanted fit into what the server lets the pool hold?"""
    member, kind = observed.membership, ConditionType.WITHIN_BUDGET
    if member is None or size is None or size.allocation is None:
        return _within_max(fit)
    if not member.welcome:
        message = f"PostgresServer {member.server} does not allow this namespace any more: the pool keeps its least."
        return condition(kind, FALSE, Reason.SERVER_NOT_SHARED, message)
    if fit.shortage is None or size.allocation >= size.wanted:
        return _within_max(fit)
    wanted = observed.spec.spec.replicas
    message = (
        f"{wanted} wanted, {fit.replicas} fit: PostgresServer {member.server} gives this pool {size.allocation} "
        f"connections, and {wanted} pods need at least {wanted * fit.floor}. Raise its budget or the share of "
        f"namespace {observed.view.namespace}, or lower replicas."
    )
    reason = Reason.REPLICAS_CLAMPED if fit.replicas else Reason.BUDGET_EXCEEDED
    return condition(kind, FALSE, reason, message)


def replacing(observed: Observed, wanted: Desired) -> Condition | None:
    """What is told while pods are not all of the present spec, and be it that none has been replaced yet."""
    standing = progress(observed, wanted)
    if standing is None:
        return None
    due = rolls(observed, wanted)
    if not due and standing.observed and standing.existing <= standing.updated:
        return None
    done = 0 if due or not standing.observed else standing.updated
    message = f"{done} of {wanted.fit.replicas} pods are made by the present spec; the others are replaced one by one."
    return condition(ConditionType.READY, FALSE, Reason.WAITING_FOR_PODS, message)


def update(observed: Observed, wanted: Desired) -> Condition:
    """Has this operator other pods to offer, of the same spec?"""
    kind, child = ConditionType.UPDATE_AVAILABLE, observed.child(wanted.deployment)
    if child is None or child.rollout is None or not newer(child.rollout, wanted):
        message = "The pods are made as this operator makes them."
        return condition(kind, FALSE, Reason.UP_TO_DATE, message)
    before, after = image(child.unpack()), image(wanted.deployment)
    told = "another pod template" if before == after else f"image {before} → {after}"
    when = "It rolls as soon as there is room." if automatic(observed) else "The next roll brings it."
    message = f"This operator has {told}. {when}"
    return condition(kind, TRUE, Reason.UPDATE_AVAILABLE, message)
