"""The conditions of a pool: one list of checks in their order, and the three that summarise them. Pure.

Each check is a function of `checks` or `backend`; no condition of a pool is made elsewhere.
Ready, Reconciling and Stalled follow kstatus: https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus
"""

from collections.abc import Callable, Iterable, Sequence

from pgbouncer_operator.api.conditions import Condition, ConditionType, Reason
from pgbouncer_operator.reconcile.observed import Observed, ObservedInvalid
from pgbouncer_operator.reconcile.status import backend, checks, update
from pgbouncer_operator.reconcile.status.checks import FALSE, TRUE, Cause, condition
from pgbouncer_operator.reconcile.status.decided import Decided

Check = Callable[[Observed, Decided], Condition]
Wait = Callable[[Observed, Decided], Cause | None]

REQUIRED: tuple[Check, ...] = (
    checks.within_budget,
    checks.credentials_available,
    checks.configuration_applied,
    backend.backend_reachable,
)
"""Ready depends on these. WithinBudget alone may be False in a pool that is Ready: fewer pods serve than wanted."""

OTHER: tuple[Check, ...] = (
    checks.paused,
    update.update_available,
)
"""Ready does not depend on these."""

WAITS: tuple[Wait, ...] = (
    checks.pods_not_ready,
    checks.pods_not_replaced,
)
"""What ends by itself: the pool is Reconciling while one of these holds."""

UNDER_WAY = {Reason.APPLYING_CONFIGURATION, Reason.PODS_UNREACHABLE, Reason.PGBOUNCER_NOT_ANSWERING}
"""Reasons of required conditions that make the pool Reconciling."""

STALLING = {
    Reason.BUDGET_TOO_SMALL,
    Reason.BUDGET_EXCEEDED,
    Reason.CONFIGURATION_REFUSED,
    Reason.CANARY_FAILED,
    Reason.PARAMETER_UNSUPPORTED,
}
"""Reasons of required conditions that make the pool Stalled: somebody has to change something."""

USER_FAULTS = {ConditionType.CREDENTIALS_AVAILABLE, ConditionType.BACKEND_REACHABLE}
"""Conditions that explain Ready before anything that the pool waits for."""


def conditions(observed: Observed, decided: Decided) -> list[Condition]:
    """Every condition of a pool whose spec can be used. Reconciling and Stalled are there only while they are true."""
    required = [check(observed, decided) for check in REQUIRED]
    other = [check(observed, decided) for check in OTHER]
    stalled = checks.write_refused(observed) or _with_reason(required, STALLING)
    waiting = _first(wait(observed, decided) for wait in WAITS)
    blocking = _first((stalled, _user_fault(required), waiting))
    checked = [_ready(observed, decided, required, blocking), *required, *other]
    if stalled:
        checked.append(condition(ConditionType.STALLED, TRUE, stalled.reason, stalled.message))
    elif reconciling := waiting or _with_reason(required, UNDER_WAY):
        checked.append(condition(ConditionType.RECONCILING, TRUE, reconciling.reason, reconciling.message))
    return checked


def conditions_of_invalid(observed: ObservedInvalid) -> list[Condition]:
    """Ready, and Stalled or Reconciling, of a pool whose spec cannot be used."""
    cause = checks.spec_unusable(observed)
    summary = ConditionType.RECONCILING if cause.reason is Reason.PENDING else ConditionType.STALLED
    return [
        condition(ConditionType.READY, FALSE, cause.reason, cause.message),
        condition(summary, TRUE, cause.reason, cause.message),
    ]


def _ready(observed: Observed, decided: Decided, required: Sequence[Condition], blocking: Cause | None) -> Condition:
    """The summary. blocking: what keeps the pool from being Ready, whatever the required conditions say."""
    if blocking:
        return condition(ConditionType.READY, blocking.status, blocking.reason, blocking.message)
    if decided.wanted.fit.replicas == 0:
        return checks.scaled_to_zero()
    unfinished = (each for each in required if each.type is not ConditionType.WITHIN_BUDGET and each.status is not TRUE)
    if part := next(unfinished, None):
        return condition(ConditionType.READY, part.status, part.reason, part.message)
    return checks.ready(observed)


def _user_fault(parts: Iterable[Condition]) -> Cause | None:
    return next((_cause(each) for each in parts if each.type in USER_FAULTS and each.status is FALSE), None)


def _with_reason(parts: Iterable[Condition], reasons: set[Reason]) -> Cause | None:
    return next((_cause(each) for each in parts if each.reason in reasons), None)


def _cause(part: Condition) -> Cause:
    return Cause(part.reason, part.message, part.status)


def _first(causes: Iterable[Cause | None]) -> Cause | None:
    return next((each for each in causes if each), None)
