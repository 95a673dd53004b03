"""When pods are replaced: for another spec at once, for another operator's template when the user lets it. Pure."""

from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.spec import UpgradePolicy
from pgbouncer_operator.reconcile.cache.views import ChildView, DeploymentProgress
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.resources.desired import Desired


def progress(observed: Observed, wanted: Desired) -> DeploymentProgress | None:
    """Where the Deployment stands; None when there is none."""
    child = observed.child(wanted.deployment)
    return child.rollout if child else None


def rolls(observed: Observed, wanted: Desired) -> bool:
    """Whether the pods are to be replaced by others that are made another way."""
    standing = progress(observed, wanted)
    return standing is not None and (
        standing.rolls_for(_ours(wanted)) or (automatic(observed) and newer(standing, wanted))
    )


def respecified(observed: Observed, wanted: Desired) -> bool:
    """Whether pods of the present spec are made of other inputs than those there are."""
    standing = progress(observed, wanted)
    return standing is not None and standing.rolls_for(_ours(wanted))


def image(deployment: Any) -> str:
    """The image that pods of this Deployment run; "" for what is no Deployment."""
    try:
        found: str = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    except (KeyError, IndexError, TypeError):
        return ""
    return found


def new_image(observed: Observed, wanted: Desired) -> bool:
    """Whether the pods to come run another image than those there are."""
    child: ChildView | None = observed.child(wanted.deployment)
    return child is not None and image(child.unpack()) != image(wanted.deployment)


def newer(standing: DeploymentProgress, wanted: Desired) -> bool:
    """Made of the same inputs, and yet another: only an operator of another version, or its settings, can do that."""
    ours = _ours(wanted)
    return standing.template != ours and not standing.rolls_for(ours)


def automatic(observed: Observed) -> bool:
    """Whether the user lets another operator's template roll the pods."""
    return observed.spec.spec.upgrade_policy is UpgradePolicy.AUTOMATIC


def _ours(wanted: Desired) -> str:
    found: str = wanted.deployment["metadata"]["annotations"][naming.ANNOTATION_TEMPLATE]
    return found
