"""When pods are replaced: for another spec at once, for another operator's template when the user lets it. Pure."""

from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.api.spec import UpgradePolicy
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.projections import ChildView, Rollout
from pgbouncer_operator.resources.desired import Desired


def rollout(seen: Observed, wanted: Desired) -> Rollout | None:
    """Where the Deployment stands; None when there is none."""
    child = seen.child(wanted.deployment)
    return child.rollout if child else None


def rolls(seen: Observed, wanted: Desired) -> bool:
    """Whether the pods are to be replaced by others that are made another way."""
    standing = rollout(seen, wanted)
    return standing is not None and (
        standing.rolls_for(_ours(wanted)) or (_automatic(seen) and _newer(standing, wanted))
    )


def replacing(seen: Observed, wanted: Desired) -> Condition | None:
    """What is told while pods are not all of the present spec, and be it that none has been replaced yet."""
    standing = rollout(seen, wanted)
    if standing is None:
        return None
    due = rolls(seen, wanted)
    if not due and standing.observed and standing.existing <= standing.updated:
        return None
    done = 0 if due or not standing.observed else standing.updated
    message = f"{done} of {wanted.fit.replicas} pods are made by the present spec; the others are replaced one by one."
    return Condition(
        type=ConditionType.READY, status=ConditionStatus.FALSE, reason=Reason.WAITING_FOR_PODS, message=message
    )


def respecified(seen: Observed, wanted: Desired) -> bool:
    """Whether pods of the present spec are made of other inputs than those there are."""
    standing = rollout(seen, wanted)
    return standing is not None and standing.rolls_for(_ours(wanted))


def update(seen: Observed, wanted: Desired) -> Condition:
    """Has this operator other pods to offer, of the same spec?"""
    kind, child = ConditionType.UPDATE_AVAILABLE, seen.child(wanted.deployment)
    if child is None or child.rollout is None or not _newer(child.rollout, wanted):
        message = "The pods are made as this operator makes them."
        return Condition(type=kind, status=ConditionStatus.FALSE, reason=Reason.UP_TO_DATE, message=message)
    before, after = image(child.unpack()), image(wanted.deployment)
    told = "another pod template" if before == after else f"image {before} → {after}"
    when = "It rolls as soon as there is room." if _automatic(seen) else "The next roll brings it."
    message = f"This operator has {told}. {when}"
    return Condition(type=kind, status=ConditionStatus.TRUE, reason=Reason.UPDATE_AVAILABLE, message=message)


def image(deployment: Any) -> str:
    """The image that pods of this Deployment run; "" for what is no Deployment."""
    try:
        found: str = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    except (KeyError, IndexError, TypeError):
        return ""
    return found


def new_image(seen: Observed, wanted: Desired) -> bool:
    """Whether the pods to come run another image than those there are."""
    child: ChildView | None = seen.child(wanted.deployment)
    return child is not None and image(child.unpack()) != image(wanted.deployment)


def _newer(standing: Rollout, wanted: Desired) -> bool:
    """Made of the same inputs, and yet another: only an operator of another version, or its settings, can do that."""
    ours = _ours(wanted)
    return standing.template != ours and not standing.rolls_for(ours)


def _automatic(seen: Observed) -> bool:
    return isinstance(seen.spec, ConnectionPool) and seen.spec.spec.upgrade_policy is UpgradePolicy.AUTOMATIC


def _ours(wanted: Desired) -> str:
    found: str = wanted.deployment["metadata"]["annotations"][naming.ANNOTATION_TEMPLATE]
    return found
