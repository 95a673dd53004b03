"""The single checks of a pool: each looks at one thing and answers with one condition, or with a cause. Pure."""

from collections.abc import Collection, Container
from dataclasses import dataclass
from datetime import UTC, datetime

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason
from pgbouncer_operator.api.spec import Traffic
from pgbouncer_operator.pgbouncer import parameters
from pgbouncer_operator.protocol.reasons import BackendReason, Flow, ProblemReason
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.budget.unlabelled import unlabelled
from pgbouncer_operator.reconcile.cache.views import PodView
from pgbouncer_operator.reconcile.observed import Observed, ObservedInvalid
from pgbouncer_operator.reconcile.rollout.delivery import follows
from pgbouncer_operator.reconcile.rollout.template import progress, rolls
from pgbouncer_operator.reconcile.rollout.verdict import HARMLESS, REFUSALS, unchanged
from pgbouncer_operator.reconcile.status.certificates import expired
from pgbouncer_operator.reconcile.status.decided import Decided
from pgbouncer_operator.sizing.fit import Fit
from pgbouncer_operator.sizing.ledger import kept
from pgbouncer_operator.wording import counted

TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
# Reasons of the agent that a pool gives another name: the pool's say what is wrong with the backend.
REASONS_OF_AGENTS: dict[str, Reason] = {
    BackendReason.CERTIFICATE_INVALID: Reason.BACKEND_NOT_VERIFIED,
    BackendReason.READ_ONLY: Reason.BACKEND_IS_READ_ONLY,
}


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a pool is not Ready."""

    reason: Reason
    message: str
    status: ConditionStatus = FALSE
    """Status of Ready for this cause: False, or Unknown."""


def condition(kind: ConditionType, status: ConditionStatus, reason: Reason, message: str) -> Condition:
    """A condition without generation and time, which `report` adds."""
    return Condition(type=kind, status=status, reason=reason, message=message)


# Conditions that Ready depends on.


def within_budget(observed: Observed, decided: Decided) -> Condition:
    """Do the wanted pods fit into what the pool, and its server, allow? Names lost pods that are charged, too."""
    found = _within_budget(observed, decided)
    return found.model_copy(update={"message": found.message + unlabelled(observed, decided.capacity.round.grants)})


def _within_budget(observed: Observed, decided: Decided) -> Condition:
    kind, fit, member = ConditionType.WITHIN_BUDGET, decided.wanted.fit, observed.membership
    allocation, namespace = decided.size.allocation, observed.view.namespace
    if member is None or allocation is None:
        return _within_max(fit)
    if not member.gives:
        message = (
            f"PostgresServer {member.server} gives no connections, because another one has the same host and port: "
            "this pool keeps only the connections that its pods need at least. Refer to the other one, if you may."
        )
        return condition(kind, FALSE, Reason.HOST_TAKEN, message)
    if not member.welcome:
        message = (
            f"PostgresServer {member.server} no longer allows pools of namespace {namespace}: this pool keeps only the "
            "connections that its pods need at least. Ask the server's owner to set allowedNamespaces."
        )
        return condition(kind, FALSE, Reason.SERVER_NOT_SHARED, message)
    if fit.shortage is None or allocation >= decided.size.wanted:
        return _within_max(fit)
    replicas = observed.spec.spec.replicas
    message = (
        f"{replicas} wanted, {fit.replicas} fit: PostgresServer {member.server} gives this pool "
        f"{counted(allocation, 'connection')}, and each pod needs at least {fit.floor}. "
        f"Raise the server's budget or the share of namespace {namespace}, or lower replicas."
    )
    return condition(kind, FALSE, Reason.REPLICAS_CLAMPED if fit.replicas else Reason.BUDGET_EXCEEDED, message)


def _within_max(fit: Fit) -> Condition:
    """Do the wanted pods fit in serverConnections.max?"""
    kind = ConditionType.WITHIN_BUDGET
    if fit.shortage is None:
        return condition(kind, TRUE, Reason.FITS, "The wanted pods fit in serverConnections.max.")
    reason = Reason.REPLICAS_CLAMPED if fit.replicas else Reason.BUDGET_TOO_SMALL
    return condition(kind, FALSE, reason, fit.shortage)


def credentials_available(observed: Observed, decided: Decided) -> Condition:  # noqa: ARG001
    """Has every user a login and a password?"""
    kind = ConditionType.CREDENTIALS_AVAILABLE
    if observed.missing:
        return condition(kind, FALSE, observed.missing.reason, observed.missing.message)
    states = _states(observed)
    for state in states:
        for finding in state.users.values():
            if finding.ok is False and finding.generation:  # without one, the pod is older than the entry
                return condition(kind, FALSE, Reason.SECRET_KEY_MISSING, finding.message)
    if message := expired(observed):
        return condition(kind, FALSE, Reason.CERTIFICATE_EXPIRED, message)
    if states or observed.memory.reading:
        return condition(kind, TRUE, Reason.AVAILABLE, "Every user has a login and a password.")
    return condition(kind, UNKNOWN, Reason.PENDING, "No pod has reported yet.")


def configuration_applied(observed: Observed, decided: Decided) -> Condition:
    """Has every pod that is not terminating loaded and confirmed this configuration?"""
    kind, digest, grants = (
        ConditionType.CONFIGURATION_APPLIED,
        decided.wanted.intent.digest,
        decided.capacity.round.grants,
    )
    following = [
        pod for pod in observed.living if follows(observed.states.get(pod.uid), digest, grants.concerning(pod.uid))
    ]
    pods = max(len(observed.living), decided.wanted.fit.replicas)
    message = f"{len(following)} of {pods} pods run configuration {digest}."
    if len(following) == pods:
        return condition(kind, TRUE, Reason.APPLIED, message + _lingering(observed) + _limited(observed))
    if fault := _configuration_fault(observed, following):
        return condition(kind, FALSE, fault.reason, fault.message)
    hanging = hangs(observed)
    silent = [pod.name for pod in observed.living if pod.ready and observed.states.get(pod.uid) is None]
    foreign = [pod.name for pod in observed.living if pod.foreign]
    if foreign:
        message += f" {', '.join(foreign)}: not made by this pool. Remove the label {naming.LABEL_POOL} there."
        return condition(kind, UNKNOWN, Reason.PODS_UNREACHABLE, message)
    if hanging:
        return condition(kind, UNKNOWN, Reason.PGBOUNCER_NOT_ANSWERING, f"{message}{hanging}")
    if silent:
        message += f" No answer from {', '.join(silent)}: let the operator reach port {naming.AGENT_PORT} of the pods."
        return condition(kind, UNKNOWN, Reason.PODS_UNREACHABLE, message)
    problems = (each for state in _states(observed) for each in state.problems)
    problem = next((each.message for each in problems if each.reason not in HARMLESS), "")
    return condition(kind, FALSE, Reason.APPLYING_CONFIGURATION, f"{message} {problem}".rstrip())


def _configuration_fault(observed: Observed, following: Collection[PodView]) -> Cause | None:
    """Why a pod does not take this configuration, where somebody has to change it. following: pods that run it."""
    if message := _unsupported(observed, following):
        return Cause(Reason.PARAMETER_UNSUPPORTED, message)
    trial = observed.memory.trial
    if trial and trial.reason:
        return Cause(trial.reason, trial.message)
    for pod in observed.living:
        state = observed.states.get(pod.uid)
        if pod not in following and state is not None:
            refusal = next((each for each in state.problems if each.reason in REFUSALS), None)
            if refusal:
                return Cause(Reason.CONFIGURATION_REFUSED, unchanged(f"Pod {pod.name}: {refusal.message}"))
    return None


def _unsupported(observed: Observed, following: Container[PodView]) -> str:
    """Which parameter a pod's PgBouncer is too old or too new for, of the pods that do not follow; "" for none."""
    for pod in observed.living:
        state = observed.states.get(pod.uid)
        if state is None or not state.pgbouncer or pod in following:
            continue
        for name, value in sorted((observed.spec.spec.parameters or {}).items()):
            if problem := parameters.check(name, value, state.pgbouncer):
                return unchanged(f"Pod {pod.name}: {problem.message}")
    return ""


def _lingering(observed: Observed) -> str:
    """What was removed from the spec and still has clients; PgBouncer refuses new ones."""
    names = sorted({name for state in _states(observed) for name in state.lingering})
    if not names:
        return ""
    seconds = observed.spec.spec.drain.timeout_seconds
    return f" Removed: {', '.join(names)}. Connected clients may stay for {seconds} s; new clients are refused."


def _limited(observed: Observed) -> str:
    """Why pods accept fewer clients than the pool wants; empty where they accept as many."""
    problems = (each for state in _states(observed) for each in state.problems)
    limited = next((each for each in problems if each.reason == ProblemReason.CLIENTS_LIMITED), None)
    return f" Fewer clients: {limited.message}." if limited else ""


# Conditions that Ready does not depend on.


def paused(observed: Observed, decided: Decided) -> Condition:  # noqa: ARG001
    """Does every pod hold queries back?"""
    kind, pause = ConditionType.PAUSED, observed.pause
    if observed.spec.spec.traffic is Traffic.FLOWING:
        return condition(kind, FALSE, Reason.FLOWING, "Queries reach the server.")
    if pause is not None and pause.expired:
        message = (
            "The pause has reached pauseTimeoutSeconds, and queries reach the server. Set spec.traffic to Flowing."
        )
        return condition(kind, FALSE, Reason.PAUSE_TIMED_OUT, message)
    states = [observed.states.get(pod.uid) for pod in observed.living if pod.ready]
    holding = sum(state is not None and state.traffic == Flow.PAUSED for state in states)
    message = f"{holding} of {len(states)} pods hold queries back"
    if pause is not None and holding == len(states):
        end = datetime.fromtimestamp(pause.until, UTC).strftime("%H:%M:%S")
        return condition(kind, TRUE, Reason.PAUSED, f"{message}, until {end} UTC at the latest.")
    return condition(kind, FALSE, Reason.PAUSING, f"{message}; the others wait for running transactions to end.")


# Causes that the summaries are made of.


def write_refused(observed: Observed) -> Cause | None:
    """Which object the API server does not let the operator write."""
    for (kind, name), refusal in sorted(observed.memory.refusals.items()):
        return Cause(refusal.reason, f"{kind} {name}: {refusal.message}")
    return None


def pods_not_ready(observed: Observed, decided: Decided) -> Cause | None:
    """What keeps the wanted pods from being ready; None when they all are."""
    replicas, ready = decided.wanted.fit.replicas, sum(pod.ready for pod in observed.living)
    if ready >= replicas and len(observed.living) == replicas:
        return None
    message = f"{ready} of {replicas} pods are ready."
    if len(observed.living) < replicas and (refused := pods_refused(observed, decided, message)):
        return refused
    if len(observed.living) > replicas:
        message = f"Pods: {len(observed.living)} run, {replicas} wanted; the others have yet to stop."
    if reserved := kept(decided.capacity.round.grants):
        message += (
            f" Server connections reserved for pods that disappeared: {reserved}, "
            f"for up to {observed.intervals.sessions} s, because PostgreSQL may still count their sessions."
        )
    trouble = next((f" {pod.name}: {pod.trouble}" for pod in observed.living if pod.trouble), "")
    if not trouble and (hanging := hangs(observed)):
        return Cause(Reason.PGBOUNCER_NOT_ANSWERING, message + hanging)
    return Cause(Reason.WAITING_FOR_PODS, message + trouble)


def hangs(observed: Observed) -> str:
    """In which pod PgBouncer hangs while the agent answers, and for how long; empty where none does."""
    pods = ((pod, observed.hanging.get(pod.uid)) for pod in observed.living)
    return next((f" PgBouncer of {pod.name} has not answered for more than {age} s." for pod, age in pods if age), "")


def pods_not_replaced(observed: Observed, decided: Decided) -> Cause | None:
    """How far a roll is, from the change that calls for it until the last pod of the old template is gone."""
    standing = progress(observed, decided.wanted)
    if standing is None:
        return None
    due = rolls(observed, decided.wanted)
    if not due and standing.observed and standing.existing <= standing.updated:
        return None
    done = 0 if due or not standing.observed else standing.updated
    message = (
        f"{done} of {decided.wanted.fit.replicas} pods have the new pod template; the others are replaced in turn."
    )
    return pods_refused(observed, decided, message) or Cause(Reason.WAITING_FOR_PODS, message)


def refusal(observed: Observed, decided: Decided) -> str:
    """Why the Deployment may not make its pods, in the words of whoever refuses; empty while nobody does."""
    return child.rollout.refusal if (child := observed.child(decided.wanted.deployment)) and child.rollout else ""


def pods_refused(observed: Observed, decided: Decided, standing: str) -> Cause | None:
    """Who does not let the Deployment make its pods; None while nobody objects. standing: how far the pool is."""
    if not (words := refusal(observed, decided)):
        return None
    remedy = "Correct the field of spec.pod that this is about, or the quota or policy named here."
    return Cause(Reason.PODS_REFUSED, f"{standing} Kubernetes refuses more pods: {words} {remedy}")


def spec_unusable(observed: ObservedInvalid) -> Cause:
    """Why the spec cannot be used: its PostgresServer, the Secret that names its server, or its own faults."""
    obstacle = observed.obstacle
    return Cause(obstacle.reason, obstacle.message) if obstacle else Cause(Reason.INVALID_SPEC, str(observed.fault))


def scaled_to_zero() -> Condition:
    """Ready of a pool whose spec wants no pod."""
    message = "replicas is 0: no pod is wanted. Raise it to serve clients."
    return condition(ConditionType.READY, TRUE, Reason.SCALED_TO_ZERO, message)


def ready(observed: Observed) -> Condition:
    """Ready of a pool that has nothing against it."""
    pods = len(observed.living)
    message = f"{pods} of {pods} pods serve; a login to PostgreSQL works."
    return condition(ConditionType.READY, TRUE, Reason.READY, message)


def _states(observed: Observed) -> list[AgentState]:
    """What the living pods say that answer."""
    return [state for pod in observed.living if (state := observed.states.get(pod.uid)) is not None]


def reason_of_agent(name: str, otherwise: Reason) -> Reason:
    """The agent's reason as one of a pool; an agent of another version may have reasons that this operator lacks."""
    return Reason(name) if name in set(Reason) else REASONS_OF_AGENTS.get(name, otherwise)
