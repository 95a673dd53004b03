"""Small questions about a look at a pool, each answered by one condition. Pure."""

from pgbouncer_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason
from pgbouncer_operator.api.connection_pool import InvalidSpec
from pgbouncer_operator.pgbouncer.grants import Grants
from pgbouncer_operator.reconcile.agent_state import AgentState
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.pokes import follows
from pgbouncer_operator.resources.desired import Desired
from pgbouncer_operator.sizing.fit import Fit

REFUSALS = {"CandidateRefused"}  # the agent's words for a configuration that PgBouncer does not take
TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
SPOKEN = {
    "BackendCertificateInvalid": Reason.BACKEND_NOT_VERIFIED,  # the agent's word: the pool's is about what to do
}


def condition(kind: ConditionType, status: ConditionStatus, reason: Reason, message: str) -> Condition:
    """A condition without generation and time, which `report` adds."""
    return Condition(type=kind, status=status, reason=reason, message=message)


def credentials(seen: Observed) -> Condition:
    """Has every user a login and a password?"""
    kind = ConditionType.CREDENTIALS_AVAILABLE
    if seen.missing:
        return condition(kind, FALSE, seen.missing.reason, seen.missing.message)
    states = _states(seen)
    for state in states:
        for finding in state.users.values():
            if finding.ok is False:
                return condition(kind, FALSE, _reason(finding.reason, Reason.SECRET_KEY_MISSING), finding.message)
    if states or seen.memory.reading:
        return condition(kind, TRUE, Reason.AVAILABLE, "Every user has a login and a password.")
    return condition(kind, UNKNOWN, Reason.PENDING, "No pod has reported yet.")


def backend(seen: Observed) -> Condition:
    """Does a login to PostgreSQL work from every pod that has tried?"""
    kind = ConditionType.BACKEND_REACHABLE
    known = [(pod, state) for pod in seen.living if (state := seen.states.get(pod.uid)) is not None]
    for pod, state in known:
        if state.backend.ok is False:
            reason = _reason(state.backend.reason, Reason.BACKEND_UNREACHABLE)
            return condition(kind, FALSE, reason, f"{state.backend.message} (pod {pod.name})")
    if any(state.backend.ok for _, state in known):
        return condition(kind, TRUE, Reason.REACHABLE, "A login to PostgreSQL works.")
    return condition(kind, UNKNOWN, Reason.PENDING, "No pod has tried to log in yet.")


def configuration(seen: Observed, wanted: Desired, grants: Grants) -> Condition:
    """Has every pod that is not terminating loaded and confirmed this configuration?"""
    kind, digest = ConditionType.CONFIGURATION_APPLIED, wanted.intent.digest
    following = [pod for pod in seen.living if follows(seen.states.get(pod.uid), digest, grants.concerning(pod.uid))]
    pods = max(len(seen.living), wanted.fit.replicas)
    message = f"{len(following)} of {pods} pods run {digest}."
    if len(following) == pods:
        return condition(kind, TRUE, Reason.APPLIED, message)
    for pod in seen.living:
        state = seen.states.get(pod.uid)
        if pod not in following and state is not None:
            refusal = next((each for each in state.problems if each.reason in REFUSALS), None)
            if refusal:
                told = f"{refusal.message} (pod {pod.name}); the configuration before it keeps serving"
                return condition(kind, FALSE, Reason.CONFIGURATION_REFUSED, told)
    silent = [pod.name for pod in seen.living if pod.ready and seen.states.get(pod.uid) is None]
    if silent:
        return condition(kind, UNKNOWN, Reason.PODS_UNREACHABLE, f"{message} No answer from {', '.join(silent)}.")
    problem = next((each for state in _states(seen) for each in state.problems), None)
    if problem:
        message += f" {problem.message}"
    return condition(kind, FALSE, Reason.APPLYING_CONFIGURATION, message)


def budget(fit: Fit) -> Condition:
    """Do the pods wanted fit?"""
    kind = ConditionType.WITHIN_BUDGET
    if fit.shortage is None:
        return condition(kind, TRUE, Reason.FITS, "The pods wanted fit in serverConnections.max.")
    reason = Reason.REPLICAS_CLAMPED if fit.replicas else Reason.BUDGET_TOO_SMALL
    return condition(kind, FALSE, reason, fit.shortage)


def stalled(seen: Observed, parts: list[Condition]) -> Condition | None:
    """Has somebody to act before the pool can become what it should be?"""
    kind = ConditionType.STALLED
    if isinstance(seen.spec, InvalidSpec):
        return condition(kind, TRUE, Reason.INVALID_SPEC, str(seen.spec))
    for (what, name), refusal in sorted(seen.memory.refusals.items()):
        return condition(kind, TRUE, refusal.reason, f"{what} {name}: {refusal.message}")
    for part in parts:
        if part.reason in {Reason.BUDGET_TOO_SMALL, Reason.CONFIGURATION_REFUSED, Reason.PARAMETER_UNSUPPORTED}:
            return condition(kind, TRUE, part.reason, part.message)
    return None


def pods(seen: Observed, fit: Fit) -> Condition | None:
    """What keeps the wanted pods from being ready; None when they all are."""
    ready = sum(pod.ready for pod in seen.living)
    if ready >= fit.replicas and len(seen.living) == fit.replicas:
        return None
    message = f"{ready} of {fit.replicas} pods are ready."
    if len(seen.living) > fit.replicas:
        message = f"{len(seen.living)} pods run, {fit.replicas} wanted: some have yet to leave."
    trouble = next((f" {pod.name}: {pod.trouble}" for pod in seen.living if pod.trouble), "")
    return condition(ConditionType.READY, FALSE, Reason.WAITING_FOR_PODS, message + trouble)


def _states(seen: Observed) -> list[AgentState]:
    return [state for pod in seen.living if (state := seen.states.get(pod.uid)) is not None]


def _reason(word: str, otherwise: Reason) -> Reason:
    """The agent's word as a reason of ours; an agent of another version may use words we do not know."""
    return Reason(word) if word in set(Reason) else SPOKEN.get(word, otherwise)
