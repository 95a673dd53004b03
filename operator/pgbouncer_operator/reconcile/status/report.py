"""The report of a reconcile: the plan with status and events, and the time of the next look. Pure."""

from collections.abc import Sequence

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import Condition, Reason, merge
from pgbouncer_operator.api.status import PoolStatus
from pgbouncer_operator.reconcile.observed import Observation, Observed, ObservedInvalid
from pgbouncer_operator.reconcile.rollout.last_change import arrived
from pgbouncer_operator.reconcile.status import events
from pgbouncer_operator.reconcile.status.conditions import conditions, conditions_of_invalid
from pgbouncer_operator.reconcile.status.decided import Decided
from pgbouncer_operator.reconcile.status.figures import backend, with_figures
from pgbouncer_operator.reconcile.status.timing import first_status_waits, next_look, worth_writing
from pgbouncer_operator.reconcile.steps import Action, Announcement, Plan, Step

Phases = tuple[tuple[Step, ...], ...]

MOVING = {
    Reason.WAITING_FOR_PODS,
    Reason.PODS_REFUSED,
    Reason.APPLYING_CONFIGURATION,
    Reason.PODS_UNREACHABLE,
    Reason.PENDING,
}
"""Reasons that call for a look soon. A backend that does not answer has a pace of its own: see `next_look`."""


def report(observed: Observed, decided: Decided, phases: Phases) -> Plan:
    """The plan of these writes, with status and events added where they differ from what the cluster has."""
    checked = conditions(observed, decided)
    pending = any(phases) or _moving(observed, checked)
    waits = first_status_waits(observed, decided)
    status = PoolStatus(observed_generation=observed.view.generation, conditions=_merged(observed, checked))
    status = with_figures(status, observed, decided)
    observed, status = _with_arrival(observed, status, pending)
    # A write may fail, so the memory forgets the names only when the status in the cluster has them.
    listed = status.connection_secrets == observed.status.connection_secrets
    secrets = () if listed else tuple(status.connection_secrets or ())
    observed = observed.remember(pending_since=_pending_since(observed, pending), connection_secrets=secrets)
    resized = events.of_size(observed, status)
    if waits:
        return _plan(observed, status, phases, resized)
    return _with_status(observed, status, phases, resized)


def report_invalid(observed: ObservedInvalid) -> Plan:
    """The plan for a pool whose spec cannot be used: its conditions say why, and the figures stay as they are."""
    checked = conditions_of_invalid(observed)
    conditions = _merged(observed, checked)
    facts = {"conditions": conditions, "backend": backend(observed) or observed.status.backend}
    status = observed.status.model_copy(update={"observed_generation": observed.view.generation, **facts})
    observed = observed.remember(pending_since=_pending_since(observed, _moving(observed, checked)))
    return _with_status(observed, status, (), ())


def _moving(observed: Observation, checked: Sequence[Condition]) -> bool:
    """Whether something is under way that ends by itself."""
    owing = any(observed.owes(pod.uid) for pod in observed.living)
    return bool(observed.leaving) or owing or any(each.reason in MOVING for each in checked)


def _merged(observed: Observation, checked: Sequence[Condition]) -> tuple[Condition, ...]:
    """The conditions with the generation of this look and the time of their last transition."""
    dated = [each.model_copy(update={"observed_generation": observed.view.generation}) for each in checked]
    return merge(observed.status.conditions or (), dated, observed.today)


def _with_arrival(observed: Observed, status: PoolStatus, pending: bool) -> tuple[Observed, PoolStatus]:
    """The status with the change that has arrived at every pod. A change that failed on trial does not arrive."""
    change, trial = observed.memory.change, observed.memory.trial
    if trial is not None and trial.again is not None:
        return observed.remember(change=None), status
    if change is None or pending:
        return observed, status
    return observed.remember(change=None), status.model_copy(update={"last_change": arrived(change, observed)})


def _pending_since(observed: Observation, pending: bool) -> float | None:
    """Since when something is under way, in monotonic seconds; None while nothing is."""
    return (observed.memory.pending_since or observed.now) if pending else None


def _with_status(
    observed: Observed | ObservedInvalid, status: PoolStatus, phases: Phases, announcements: tuple[Announcement, ...]
) -> Plan:
    """The plan that also writes the status, if it is worth a write now, and announces what turned."""
    at = observed.memory.figures_at
    if worth_writing(status, observed.status, float("inf") if at is None else observed.now - at):
        phases = (*phases, (_status_step(observed, status),))
        observed = observed.remember(figures_at=observed.now)
    turned = events.of_conditions(observed.status.conditions or (), status.conditions or ())
    return _plan(observed, status, phases, turned + announcements)


def _plan(
    observed: Observed | ObservedInvalid, status: PoolStatus, phases: Phases, announcements: tuple[Announcement, ...]
) -> Plan:
    """The plan, and when to look again.

    A refused write is tried again after a while although nothing in the cluster may have changed. Pods without an
    address have no agent that answers: news of them come by the watch.
    """
    memory, phases = observed.memory, tuple(filter(None, phases))
    pending = memory.pending_since is not None
    waiting = pending and any(pod.address for pod in observed.pods)
    resting = not (phases or waiting or memory.refusals) and memory.trial is None and status == observed.status
    return Plan(phases, announcements, next_look(observed, pending and not resting), memory, resting)


def _status_step(observed: Observation, status: PoolStatus) -> Step:
    metadata = {"namespace": observed.view.namespace, "name": observed.view.name, "uid": observed.view.uid}
    body = {"apiVersion": naming.API_VERSION, "kind": naming.KIND, "metadata": metadata, "status": status.wire()}
    return Step(Action.APPLY, body, subresource="status")
