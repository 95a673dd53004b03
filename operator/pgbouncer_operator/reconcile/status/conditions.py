"""The conditions of a pool: every check in its order, and the three that summarise them (kstatus). Pure.

No condition of a pool is made elsewhere but in `checks`. kstatus: https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus
"""

from dataclasses import dataclass

from pgbouncer_operator.api.conditions import Condition, ConditionType, Reason
from pgbouncer_operator.reconcile.budget.capacity import Capacity
from pgbouncer_operator.reconcile.budget.size import PoolSize
from pgbouncer_operator.reconcile.observed import Observed, ObservedInvalid
from pgbouncer_operator.reconcile.rollout.canary import Rollout
from pgbouncer_operator.reconcile.status import checks
from pgbouncer_operator.reconcile.status.checks import FALSE, TRUE, UNKNOWN, condition
from pgbouncer_operator.resources.desired import Desired

STALLING = {
    Reason.BUDGET_TOO_SMALL,
    Reason.BUDGET_EXCEEDED,
    Reason.CONFIGURATION_REFUSED,
    Reason.CANARY_FAILED,
    Reason.PARAMETER_UNSUPPORTED,
}
UNDER_WAY = {Reason.APPLYING_CONFIGURATION, Reason.PODS_UNREACHABLE}
USERS_FAULTS = {ConditionType.CREDENTIALS_AVAILABLE, ConditionType.BACKEND_REACHABLE}


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided, None for all when the spec cannot be used."""

    wanted: Desired | None
    capacity: Capacity | None
    course: Rollout | None = None
    size: PoolSize | None = None


def conditions(observed: Observed | ObservedInvalid, outlook: Decided) -> list[Condition]:
    """Every condition of this look. Reconciling and Stalled are there while they are true."""
    parts, asides = _parts(observed, outlook), _asides(observed, outlook)
    waiting = _waiting(observed, outlook)
    stalled = _stalled(observed, parts)
    found = [_ready(observed, outlook, parts, stalled or waiting), *parts, *asides]
    cause = waiting or next((each for each in parts if each.reason in UNDER_WAY), None)
    if stalled:
        return [*found, stalled]
    if cause:
        found.append(condition(ConditionType.RECONCILING, TRUE, cause.reason, cause.message))
    return found


def _parts(observed: Observed | ObservedInvalid, outlook: Decided) -> list[Condition]:
    """The checks that Ready depends on, in the order in which they are told."""
    if outlook.wanted is None or outlook.capacity is None or isinstance(observed, ObservedInvalid):
        return []
    return [
        checks.budget(observed, outlook.wanted.fit, outlook.size),
        checks.credentials(observed),
        checks.configuration(observed, outlook.wanted, outlook.capacity.round.grants),
        checks.backend(observed, outlook.course.trying if outlook.course else frozenset()),
    ]


def _asides(observed: Observed | ObservedInvalid, outlook: Decided) -> list[Condition]:
    """The checks that Ready does not depend on."""
    if outlook.wanted is None or outlook.capacity is None or isinstance(observed, ObservedInvalid):
        return []
    return [checks.paused(observed), checks.update(observed, outlook.wanted)]


def _waiting(observed: Observed | ObservedInvalid, outlook: Decided) -> Condition | None:
    """What the pool waits for without anybody's doing: its server, its pods, or the end of a roll."""
    if outlook.wanted is None or outlook.capacity is None or isinstance(observed, ObservedInvalid):
        return checks.awaited(observed)
    pods = checks.pods(observed, outlook.wanted.fit, outlook.capacity.round.grants)
    return pods or checks.replacing(observed, outlook.wanted)


def _stalled(observed: Observed | ObservedInvalid, parts: list[Condition]) -> Condition | None:
    """What somebody has to change before the pool can become what it should be."""
    kind = ConditionType.STALLED
    if isinstance(observed, ObservedInvalid):
        if checks.awaited(observed):
            return None
        if observed.membership and observed.membership.obstacle:
            return condition(kind, TRUE, observed.membership.obstacle.reason, observed.membership.obstacle.message)
        return condition(kind, TRUE, Reason.INVALID_SPEC, str(observed.fault))
    for (what, name), refusal in sorted(observed.memory.refusals.items()):
        return condition(kind, TRUE, refusal.reason, f"{what} {name}: {refusal.message}")
    part = next((each for each in parts if each.reason in STALLING), None)
    return part and condition(kind, TRUE, part.reason, part.message)


def _ready(
    observed: Observed | ObservedInvalid, outlook: Decided, parts: list[Condition], obstacle: Condition | None
) -> Condition:
    """The summary: the first thing that stands in the way, the user's own faults before ours."""
    kind = ConditionType.READY
    faults = [each for each in parts if each.type in USERS_FAULTS and each.status is FALSE]
    pending = [each for each in parts if each.type is not ConditionType.WITHIN_BUDGET and each.status is not TRUE]
    if outlook.wanted is not None and outlook.wanted.fit.replicas == 0 and not obstacle and not faults:
        return condition(kind, TRUE, Reason.SCALED_TO_ZERO, "replicas is 0: no pod is wanted.")
    stalled = [obstacle] if obstacle and obstacle.type is ConditionType.STALLED else []
    waiting = [obstacle] if obstacle and not stalled else []
    for cause in (*stalled, *faults, *waiting, *pending):
        return condition(kind, UNKNOWN if cause.status is UNKNOWN else FALSE, cause.reason, cause.message)
    return condition(kind, TRUE, Reason.READY, f"{len(observed.living)} pods serve; a login to PostgreSQL works.")
