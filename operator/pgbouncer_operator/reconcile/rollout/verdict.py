"""Whether the pod that tries a configuration is worse for it. Pure."""

from dataclasses import dataclass, replace
from enum import Enum, auto

from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.protocol.reasons import ProblemReason
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.cache.views import PodView
from pgbouncer_operator.reconcile.memory import Trial
from pgbouncer_operator.reconcile.observed import Observed

REFUSALS = {ProblemReason.CANDIDATE_REFUSED}  # PgBouncer does not take the configuration
HARMLESS = {ProblemReason.CLIENTS_LIMITED, ProblemReason.CERTIFICATE_EXPIRED}  # the configuration runs all the same
TROUBLES = {ProblemReason.VERIFY_FAILED, ProblemReason.RELOAD_FAILED}  # the agent tries again and may succeed
STALE = 0.7  # seconds after an assignment in which a refusal may still be about the configuration before
TROUBLED = 10.0  # seconds in which a reload may still succeed
UNCONFIRMED = 30.0  # seconds for a pod to confirm the configuration
UNTESTED = 20.0  # seconds for a login to PostgreSQL; the agent's own limit is 5 s for each server and login


class Judgement(Enum):
    """What the trial of a candidate shows so far."""

    WAIT = auto()
    """Nothing yet."""
    GOOD = auto()
    """The others may have it."""
    WORSE = auto()
    """The pod has to get current back."""
    CANNOT_TRY = auto()
    """The pod's agent is older than candidates: every pod gets the configuration at once."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement on a candidate."""

    judgement: Judgement
    reason: Reason | None = None
    """Why the candidate is worse; None for any other judgement."""
    message: str = ""
    """What the pod reports, where the candidate is worse."""


WAIT, GOOD, CANNOT_TRY = Verdict(Judgement.WAIT), Verdict(Judgement.GOOD), Verdict(Judgement.CANNOT_TRY)


def refusal(state: AgentState) -> Verdict | None:
    """The verdict on a configuration that PgBouncer itself refuses; None while it refuses none."""
    problem = next((each for each in state.problems if each.reason in REFUSALS), None)
    return Verdict(Judgement.WORSE, Reason.CONFIGURATION_REFUSED, problem.message) if problem else None


def unchanged(message: str) -> str:
    """The message about a configuration that a pod does not take, with what the pods run instead."""
    return f"{message.removesuffix('.')}. The previous configuration stays in use."


def judge(observed: Observed, pod: PodView, base: str, trial: Trial) -> Verdict:
    """The verdict on the trial by this pod. base: hash of the configuration that the other pods run."""
    poked = observed.memory.poked.get(pod.uid)
    age = observed.now - max(trial.since, poked[1] if poked and poked[0].endswith("-0") else trial.since)
    state = observed.states.get(pod.uid)
    if state is None or state.digest != trial.digest:
        return _unconfirmed(pod, state, age)
    return _confirmed(observed, pod, base, trial)


def _unconfirmed(pod: PodView, state: AgentState | None, age: float) -> Verdict:
    if state is not None and not state.candidates:
        return CANNOT_TRY
    problems = state.problems if state else ()
    reasons = {each.reason for each in problems}
    refused = refusal(state) if state else None
    if refused:
        named = replace(refused, message=f"Pod {pod.name}: {refused.message}")
        return named if age >= STALE else WAIT
    if age >= UNCONFIRMED or (age >= TROUBLED and reasons & TROUBLES):
        messages = [each.message for each in problems if each.reason not in HARMLESS]
        report = "; ".join(messages) or "it does not answer"
        message = (
            f"Pod {pod.name}, the first to try the new configuration, did not confirm it within {age:.0f} s: {report}"
        )
        return Verdict(Judgement.WORSE, Reason.CANARY_FAILED, message)
    return WAIT


def _confirmed(observed: Observed, pod: PodView, base: str, trial: Trial) -> Verdict:
    """The verdict on a pod that runs the candidate.

    A login that fails counts only where a login worked before: an outage must not keep out the change that ends it.
    Nobody can log in while the pool is paused, so a failure says nothing then.
    """
    state = observed.states[pod.uid]
    assert state is not None
    if observed.pause and not observed.pause.expired:
        return GOOD
    others = [observed.states.get(each.uid) for each in observed.living if each.uid != pod.uid]
    tested = [each.backend.ok for each in others if each and each.digest == base and each.backend.ok is not None]
    worked = any(tested) if tested else trial.sound
    if state.backend.ok or not worked:
        return GOOD
    if state.backend.ok is None:
        return WAIT if observed.now - trial.since < UNTESTED else GOOD
    message = f"Pod {pod.name}, the only one that tried the new configuration: {state.backend.message}"
    return Verdict(Judgement.WORSE, Reason.CANARY_FAILED, message)
