"""The events of a pool: what `kubectl describe` shows of conditions that change, and of changes of the size. Pure."""

from collections.abc import Sequence

from pgbouncer_operator.api.conditions import Condition, ConditionType, Reason, is_well
from pgbouncer_operator.api.status import PoolStatus
from pgbouncer_operator.api.tuning import SizingMode
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.steps import Announcement

RESIZED = "Resized"
"""The reason of events about the size."""

QUIET = {Reason.PENDING, Reason.APPLYING_CONFIGURATION, Reason.PAUSING, Reason.UP_TO_DATE}
"""Reasons without an event: they announce another condition, or that there is nothing to say."""


def of_conditions(before: Sequence[Condition], now: Sequence[Condition]) -> tuple[Announcement, ...]:
    """One event for each condition whose status or reason changed. What is well from the start is no news."""
    old = {each.type: each for each in before}
    events = []
    for each in now:
        if each.type is ConditionType.RECONCILING or each.reason in QUIET:
            continue
        previous = old.get(each.type)
        if previous is None and is_well(each.type, each.status, each.reason) and each.type is not ConditionType.READY:
            continue
        if previous is None or (previous.status, previous.reason) != (each.status, each.reason):
            warning = not is_well(each.type, each.status, each.reason) and each.reason is not Reason.WAITING_FOR_PODS
            message = f"{each.type.value} is {each.status.value}: {each.message}"
            events.append(Announcement(warning, each.reason.value, message))
    return tuple(events)


def of_size(observed: Observed, status: PoolStatus) -> tuple[Announcement, ...]:
    """One event for a change of the size that the user did not make: in mode Fixed every change is the user's."""
    before, now = observed.status.server_connections, status.server_connections
    if before is None or now is None or status.recommendation is None or before.size in {None, now.size}:
        return ()
    if observed.spec.spec.server_connections.sizing.mode is SizingMode.FIXED:
        return ()
    why = f"{status.recommendation.reason}: {status.recommendation.inputs}"
    message = f"The size changes from {before.size} to {now.size} server connections. {why}."
    return (Announcement(False, RESIZED, message),)
