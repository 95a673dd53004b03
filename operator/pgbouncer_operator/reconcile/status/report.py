"""What the user is told: status, events, and when to look again. Pure."""

from dataclasses import replace

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason, merge
from pgbouncer_operator.api.status import Configuration, PoolStatus, ServerConnectionsStatus, Summary
from pgbouncer_operator.api.tuning import SizingMode
from pgbouncer_operator.reconcile.memory import Memory
from pgbouncer_operator.reconcile.observed import Observation, Observed, ObservedInvalid
from pgbouncer_operator.reconcile.rollout.last_change import arrived
from pgbouncer_operator.reconcile.status.conditions import Decided, conditions
from pgbouncer_operator.reconcile.status.figures import with_figures
from pgbouncer_operator.reconcile.steps import Action, Announcement, Plan, Step

FIGURES_EVERY = 30.0  # seconds between writes that change nothing but figures
FIRST_STATUS = 20.0  # seconds in which the first status waits for the pods to be made; the CRD's stands
FIRST_VERDICT = 60.0  # seconds in which it waits to tell what has become of those that were
WORDS_EVERY = 5.0  # seconds between writes that change nothing but the wording
AT_REST = 15.0  # seconds between two looks at the pods' figures
BROKEN = 3.0  # the same while PostgreSQL or the API server refuses: what was mended is told soon
TRYING = 0.075  # the same while one pod tries a configuration and the others wait for its word
LONGEST_WAIT = 5.0  # seconds between two looks while something is on its way
RESIZED = "Resized"  # the reason of events about the pool's size
QUIET = {  # on the way, or the absence of something: no event
    Reason.PENDING,
    Reason.APPLYING_CONFIGURATION,
    Reason.MOVING_CONNECTIONS,
    Reason.PAUSING,
    Reason.UP_TO_DATE,
}
NEUTRAL = {ConditionType.PAUSED, ConditionType.UPDATE_AVAILABLE}  # neither way is better


def report(observed: Observed | ObservedInvalid, outlook: Decided, phases: tuple[tuple[Step, ...], ...]) -> Plan:
    """The plan with status and events added, where they differ from what is already told."""
    found = conditions(observed, outlook)
    merged = merge(observed.status.conditions or (), _dated(observed, found), observed.today)
    pending = any(phases) or not _settled(observed, found) or any(observed.owes(pod.uid) for pod in observed.living)
    told = PoolStatus(observed_generation=observed.view.generation, conditions=merged)
    memory = observed.memory
    if (
        isinstance(observed, Observed)
        and outlook.wanted is not None
        and outlook.capacity is not None
        and outlook.size is not None
    ):
        told = with_figures(told, observed, outlook.wanted, outlook.capacity, outlook.size)
        if memory.trial is not None and memory.trial.again is not None:
            memory = replace(memory, change=None)  # what has failed has not arrived
        if memory.change is not None and not pending:
            told = told.model_copy(update={"last_change": arrived(memory.change, observed)})
            memory = replace(memory, change=None)
    else:
        told = observed.status.model_copy(
            update={"observed_generation": observed.view.generation, "conditions": merged}
        )
    memory = replace(memory, pending_since=(memory.pending_since or observed.now) if pending else None)
    age = float("inf") if memory.figures_at is None else observed.now - memory.figures_at
    held_back = _waits_for_pods(observed, outlook)
    memory = replace(memory, made=tuple(told.connection_secrets or ()) if held_back else ())
    if not held_back and _worth_writing(told, observed.status, age):
        phases = (*phases, (_status_step(observed, told),))
        memory = replace(memory, figures_at=observed.now)
    announcements = () if held_back else _announcements(observed.status.conditions or (), merged)
    announcements += _resized(observed, told)
    phases = tuple(filter(None, phases))
    # A refused write is tried again after a while, although nothing that we see may have changed. Pods without an
    # address have nothing to say: Kubernetes' own news of them come by the watch.
    waiting = pending and any(pod.address for pod in observed.pods)
    at_rest = not phases and not waiting and told == observed.status and not memory.refusals and memory.trial is None
    return Plan(phases, announcements, _requeue(observed, memory, pending and not at_rest), memory, at_rest)


def _dated(observed: Observation, conditions: list[Condition]) -> list[Condition]:
    return [each.model_copy(update={"observed_generation": observed.view.generation}) for each in conditions]


def _settled(observed: Observation, conditions: list[Condition]) -> bool:
    """Whether there is nothing to wait for: a backend's return is watched at the pace of rest, a roll is not."""
    moving = {Reason.WAITING_FOR_PODS, Reason.APPLYING_CONFIGURATION, Reason.PODS_UNREACHABLE, Reason.PENDING}
    return not observed.leaving and not any(each.reason in moving for each in conditions)


def _worth_writing(told: PoolStatus, before: PoolStatus, age: float) -> bool:
    """Whether the news can wait no longer: facts at once, other words for the same facts soon, figures now and then.

    age: seconds since the last write of status.
    """
    known = before.server_connections
    sized = known is not None and known.size is not None  # an older CRD drops it each time
    if _plain(told, sized) != _plain(before, sized) or (age >= FIGURES_EVERY and told != before):
        return True
    return age >= WORDS_EVERY and _messages(told) != _messages(before)


def _waits_for_pods(observed: Observation, outlook: Decided) -> bool:
    """Whether the first status waits for a verdict on the pods, which comes in tenths of a second: one write, not two.

    In a burst of pools it comes later. What the user has to mend is told at once.
    """
    if outlook.wanted is None or observed.status.observed_generation is not None:
        return False
    if observed.missing or observed.memory.refusals or outlook.wanted.fit.shortage:
        return False
    judged = sum(pod.ready or pod.placed or bool(pod.trouble) for pod in observed.living)
    age = observed.now - (observed.memory.pending_since or observed.now)
    wanted = outlook.wanted.fit.replicas
    return judged < wanted and age < (FIRST_STATUS if len(observed.living) < wanted else FIRST_VERDICT)


def _messages(status: PoolStatus) -> list[str]:
    return [each.message for each in status.conditions or ()]


def _plain(status: PoolStatus, sized: bool) -> PoolStatus:
    """A status without its figures and words, whose changes can wait. sized: the size can not."""
    servers, summary = status.server_connections, status.summary
    return status.model_copy(
        update={
            "clients": None,
            "replicas": None,
            "conditions": tuple(each.model_copy(update={"message": ""}) for each in status.conditions or ()),
            "configuration": status.configuration and Configuration(hash=status.configuration.hash),
            "server_connections": servers
            and ServerConnectionsStatus(max=servers.max, size=servers.size if sized else None),
            "recommendation": None,
            "advice": None,
            "summary": summary and Summary(pods=summary.pods),
        }
    )


def _status_step(observed: Observation, told: PoolStatus) -> Step:
    metadata = {"namespace": observed.view.namespace, "name": observed.view.name, "uid": observed.view.uid}
    body = {"apiVersion": naming.API_VERSION, "kind": naming.KIND, "metadata": metadata, "status": told.wire()}
    return Step(Action.APPLY, body, subresource="status")


def _announcements(old: tuple[Condition, ...], new: tuple[Condition, ...]) -> tuple[Announcement, ...]:
    """One event for each condition that turned, except for what is merely on its way."""
    before = {each.type: each for each in old}
    told = []
    for each in new:
        known = before.get(each.type)
        if each.type is ConditionType.RECONCILING or each.reason in QUIET:
            continue
        if known is None and _good(each) and each.type is not ConditionType.READY:
            continue  # well from the start: no news
        if known is None or (known.status, known.reason) != (each.status, each.reason):
            told.append(
                Announcement(
                    not _good(each) and each.reason is not Reason.WAITING_FOR_PODS,
                    each.reason.value,
                    f"{each.type.value} is {each.status.value}: {each.message}",
                )
            )
    return tuple(told)


def _resized(observed: Observation, told: PoolStatus) -> tuple[Announcement, ...]:
    """One event for each change of the size that the user did not make."""
    before, now = observed.status.server_connections, told.server_connections
    if before is None or now is None or told.recommendation is None or before.size in {None, now.size}:
        return ()
    if isinstance(observed, Observed) and observed.spec.spec.server_connections.sizing.mode is SizingMode.FIXED:
        return ()
    why = f"{told.recommendation.reason}: {told.recommendation.inputs}"
    return (Announcement(False, RESIZED, f"{before.size} server connections become {now.size}. {why}."),)


def _good(each: Condition) -> bool:
    if each.type in NEUTRAL:
        return each.reason is not Reason.PAUSE_TIMED_OUT
    return each.status is (ConditionStatus.FALSE if each.type is ConditionType.STALLED else ConditionStatus.TRUE)


def _requeue(observed: Observation, memory: Memory, pending: bool) -> float:
    """Look again soon after a change and ever more rarely while it lasts; at rest only for the figures."""
    if observed.missing:
        return 2.0
    trial = memory.trial
    if trial is not None and trial.again is not None:
        return min(max(trial.again - observed.now, TRYING), BROKEN)
    if trial is not None:
        return min(max(TRYING, (observed.now - trial.since) / 10), LONGEST_WAIT)
    if not pending or memory.pending_since is None:
        refused = any(state is not None and state.backend.ok is False for state in observed.states.values())
        return BROKEN if refused or memory.refusals else AT_REST
    if not any(pod.address for pod in observed.pods):
        return LONGEST_WAIT if observed.status.observed_generation else FIRST_STATUS
    return float(min(max(0.15, (observed.now - memory.pending_since) / 10), LONGEST_WAIT))
