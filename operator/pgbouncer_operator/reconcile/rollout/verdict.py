"""Whether the pod that tries a configuration is the worse for it. Pure."""

from dataclasses import dataclass
from enum import Enum, auto

from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.protocol.state import AgentState, ProblemReason
from pgbouncer_operator.reconcile.cache.views import PodView
from pgbouncer_operator.reconcile.memory import Trial
from pgbouncer_operator.reconcile.observed import Observed

REFUSALS = {ProblemReason.CANDIDATE_REFUSED}  # PgBouncer does not take the configuration
TROUBLES = {ProblemReason.VERIFY_FAILED, ProblemReason.RELOAD_FAILED}  # the agent tries again, which may do
STALE = 0.7  # seconds after a pod was told in which its complaint may be about what it was told before
TROUBLED = 10.0  # seconds in which a reload may yet succeed
NO_WORD = 30.0  # seconds for anything at all
UNTESTED = 20.0  # seconds for a login to PostgreSQL; the agent's own limit is 5 s for each server and login


class Outcome(Enum):
    """What to do: go on waiting, tell the others, take it back, or tell all because this pod cannot try."""

    WAIT = auto()
    GOOD = auto()
    WORSE = auto()
    UNKNOWING = auto()


@dataclass(frozen=True, slots=True)
class Verdict:
    """A word, and for a candidate that is worse the reason and the pod's own words."""

    word: Outcome
    reason: Reason | None = None
    message: str = ""


WAIT, GOOD, UNKNOWING = Verdict(Outcome.WAIT), Verdict(Outcome.GOOD), Verdict(Outcome.UNKNOWING)


def refusal(state: AgentState) -> Verdict | None:
    """PgBouncer's own no, None while there is none."""
    found = next((each for each in state.problems if each.reason in REFUSALS), None)
    return Verdict(Outcome.WORSE, Reason.CONFIGURATION_REFUSED, found.message) if found else None


def unchanged(message: str) -> str:
    """The message about a configuration that a pod does not take, with what the pods run instead."""
    return f"{message.removesuffix('.')}. The previous configuration stays in use."


def judge(observed: Observed, pod: PodView, base: str, trial: Trial) -> Verdict:
    """The verdict on a trial by that pod. base: hash of what the other pods run."""
    poked = observed.memory.poked.get(pod.uid)
    age = observed.now - max(trial.since, poked[1] if poked and poked[0].endswith("-0") else trial.since)
    state = observed.states.get(pod.uid)
    if state is None or state.digest != trial.digest:
        return _unconfirmed(pod, state, age)
    return _confirmed(observed, pod, base, trial)


def _unconfirmed(pod: PodView, state: AgentState | None, age: float) -> Verdict:
    if state is not None and not state.candidates:
        return UNKNOWING
    problems = state.problems if state else ()
    reasons = {each.reason for each in problems}
    refused = refusal(state) if state else None
    if refused:
        told = Verdict(refused.word, refused.reason, f"{refused.message} (pod {pod.name})")
        return told if age >= STALE else WAIT
    if age >= NO_WORD or (age >= TROUBLED and reasons & TROUBLES):
        words = " ".join(each.message for each in problems) or "it gives no answer"
        message = f"Pod {pod.name} was the first to try it and did not confirm it in {age:.0f} s: {words}"
        return Verdict(Outcome.WORSE, Reason.CANARY_FAILED, message)
    return WAIT


def _confirmed(observed: Observed, pod: PodView, base: str, trial: Trial) -> Verdict:
    """It runs there. A login that fails counts only where it worked before: an outage must not keep out what mends it.

    While the pool is paused nobody can log in, which says nothing.
    """
    state = observed.states[pod.uid]
    assert state is not None
    if observed.pause and not observed.pause.expired:
        return GOOD
    others = [observed.states.get(each.uid) for each in observed.living if each.uid != pod.uid]
    known = [each.backend.ok for each in others if each and each.digest == base and each.backend.ok is not None]
    worked = any(known) if known else trial.sound
    if state.backend.ok or not worked:
        return GOOD
    if state.backend.ok is None:
        return WAIT if observed.now - trial.since < UNTESTED else GOOD
    message = f"{state.backend.message} (pod {pod.name}, the only one that tried it)"
    return Verdict(Outcome.WORSE, Reason.CANARY_FAILED, message)
