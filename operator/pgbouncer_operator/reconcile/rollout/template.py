"""When pods are replaced: for another spec at once, for another operator's template as the user says. Pure.

The user says so by upgradePolicy for every template, or by an annotation for the pods of old versions.
"""

from collections.abc import Iterable
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.spec import UpgradePolicy
from pgbouncer_operator.reconcile.cache.views import ChildView, DeploymentProgress, PodView, PoolView
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.resources.desired import Desired
from pgbouncer_operator.resources.template_version import VERSION

AT_ONCE = 3
"""Pools that replace old pods at the same time: where a replacement gets stuck, the others wait."""


def progress(observed: Observed, wanted: Desired) -> DeploymentProgress | None:
    """How far the Deployment and its controller are; None without a Deployment."""
    child = observed.child(wanted.deployment)
    return child.rollout if child else None


def rolls(observed: Observed, wanted: Desired) -> bool:
    """Whether the pods are to be replaced by pods of another template."""
    standing = progress(observed, wanted)
    return standing is not None and (
        standing.rolls_for(_ours(wanted)) or (_lets_newer(observed) and newer(standing, wanted))
    )


def lacking(observed: Observed) -> tuple[PodView, ...]:
    """The pods that lack security fixes of this operator's template."""
    return tuple(pod for pod in observed.living if not pod.foreign and pod.template_version < VERSION)


def behind(pool: PoolView, pods: Iterable[PodView]) -> bool:
    """Whether the pool's user wants pods of a version that some of these pods have not."""
    return any(pod.template_version < _least(pool) for pod in pods if _stays(pod))


def begun(pool: PoolView, pods: Iterable[PodView]) -> bool:
    """Whether some of these pods have the version that the pool's user wants."""
    return any(pod.template_version >= _least(pool) for pod in pods if _stays(pod))


def _least(pool: PoolView) -> int:
    """The version that the pool's user wants at least, as far as this operator has it."""
    return min(pool.template_version, VERSION)


def _stays(pod: PodView) -> bool:
    """Whether the pod is one of the pool's own, and not on its way out."""
    return not (pod.terminating or pod.finished or pod.foreign)


def respecified(observed: Observed, wanted: Desired) -> bool:
    """Whether the spec gives the pods another template than that of the present pods."""
    standing = progress(observed, wanted)
    return standing is not None and standing.rolls_for(_ours(wanted))


def image(deployment: Any) -> str:
    """The image of the pods of this Deployment; "" for any other object."""
    try:
        name: str = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    except (KeyError, IndexError, TypeError):
        return ""
    return name


def new_image(observed: Observed, wanted: Desired) -> bool:
    """Whether the next pods run another image than the present ones."""
    child: ChildView | None = observed.child(wanted.deployment)
    return child is not None and image(child.unpack()) != image(wanted.deployment)


def newer(standing: DeploymentProgress, wanted: Desired) -> bool:
    """Whether another operator, or one with other settings, makes another template of the same spec."""
    ours = _ours(wanted)
    return standing.template != ours and not standing.rolls_for(ours)


def _lets_newer(observed: Observed) -> bool:
    """Whether another operator's template may replace the pods now."""
    return automatic(observed) or (observed.turn and behind(observed.view, observed.pods))


def automatic(observed: Observed) -> bool:
    """Whether upgradePolicy lets another operator's template replace the pods."""
    return observed.spec.spec.upgrade_policy is UpgradePolicy.AUTOMATIC


def _ours(wanted: Desired) -> str:
    """The template annotation as this operator writes it now."""
    annotation: str = wanted.deployment["metadata"]["annotations"][naming.ANNOTATION_TEMPLATE]
    return annotation
