"""When a status is worth a write, and when a pool is worth another look. Pure.

Every write is work for the API server and for everybody who watches pools, so that figures and messages wait.
"""

from pgbouncer_operator.api.status import Configuration, PoolStatus, ServerConnectionsStatus, Summary
from pgbouncer_operator.reconcile.observed import Observation, Observed
from pgbouncer_operator.reconcile.status.checks import refusal
from pgbouncer_operator.reconcile.status.decided import Decided

FIGURES_EVERY = 30.0  # seconds between two writes that change figures only
MESSAGES_EVERY = 5.0  # seconds between two writes that change messages only
FIRST_STATUS = 20.0  # seconds that the first status waits for the pods to be created
FIRST_VERDICT = 60.0  # seconds that the first status waits for the scheduler to place the created pods

AT_REST = 15.0  # seconds to the next look at the pods' figures
BROKEN = 3.0  # seconds to the next look while PostgreSQL or the API server refuses
LACKING = 2.0  # seconds to the next look while a user's Secret is missing
TRYING = 0.075  # seconds to the next look, at least, while one pod tries a configuration
SOONEST = 0.15  # seconds to the next look, at least, while something is under way
LONGEST_WAIT = 5.0  # seconds to the next look, at most, while something is under way


def worth_writing(status: PoolStatus, before: PoolStatus, age: float) -> bool:
    """Whether to write this status now: facts at once, messages after a while, figures after longer.

    before: the status in the cluster. age: seconds since the last write of status, infinite when unknown.
    """
    connections = before.server_connections
    sized = connections is not None and connections.size is not None  # an older CRD drops the size each time
    if _facts(status, sized) != _facts(before, sized) or (age >= FIGURES_EVERY and status != before):
        return True
    return age >= MESSAGES_EVERY and _messages(status) != _messages(before)


def first_status_waits(observed: Observed, decided: Decided) -> bool:
    """Whether the first status waits until each wanted pod is placed or in trouble: one write instead of two.

    That takes tenths of a second, and longer in a burst of pools. What the user has to correct is written at once.
    """
    if observed.status.observed_generation is not None:
        return False
    if observed.missing or observed.memory.refusals or decided.wanted.fit.shortage or refusal(observed, decided):
        return False
    judged = sum(pod.ready or pod.placed or bool(pod.trouble) for pod in observed.living)
    age = observed.now - (observed.memory.pending_since or observed.now)
    replicas = decided.wanted.fit.replicas
    return judged < replicas and age < (FIRST_STATUS if len(observed.living) < replicas else FIRST_VERDICT)


def next_look(observed: Observation, pending: bool) -> float:
    """Seconds to the next look: soon after a change, and ever more rarely while it lasts.

    pending: something is under way since `memory.pending_since`.
    """
    memory, trial = observed.memory, observed.memory.trial
    if observed.missing:
        return LACKING
    if trial is not None and trial.again is not None:
        return min(max(trial.again - observed.now, TRYING), BROKEN)
    if trial is not None:
        return min(max(TRYING, (observed.now - trial.since) / 10), LONGEST_WAIT)
    if not pending or memory.pending_since is None:
        refused = any(state is not None and state.backend.ok is False for state in observed.states.values())
        return BROKEN if refused or memory.refusals else AT_REST
    if not any(pod.address for pod in observed.pods):
        return LONGEST_WAIT if observed.status.observed_generation else FIRST_STATUS
    return float(min(max(SOONEST, (observed.now - memory.pending_since) / 10), LONGEST_WAIT))


def _messages(status: PoolStatus) -> list[str]:
    return [each.message for each in status.conditions or ()]


def _facts(status: PoolStatus, sized: bool) -> PoolStatus:
    """A status without its figures and messages. sized: the size is a fact."""
    servers, summary = status.server_connections, status.summary
    return status.model_copy(
        update={
            "clients": None,
            "replicas": None,
            "pods_without_fixes": None,
            "conditions": tuple(each.model_copy(update={"message": ""}) for each in status.conditions or ()),
            "configuration": status.configuration and Configuration(hash=status.configuration.hash),
            "server_connections": servers
            and ServerConnectionsStatus(max=servers.max, size=servers.size if sized else None),
            "recommendation": None,
            "advice": None,
            "summary": summary and Summary(pods=summary.pods),
        }
    )
