"""The condition UpdateAvailable: what this operator's pods have and the running ones lack. Pure."""

from collections.abc import Sequence

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import Condition, ConditionType, Reason
from pgbouncer_operator.reconcile.cache.views import PodView
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.rollout.template import AT_ONCE, automatic, behind, image, lacking, newer
from pgbouncer_operator.reconcile.status.checks import FALSE, TRUE, condition
from pgbouncer_operator.reconcile.status.decided import Decided
from pgbouncer_operator.resources.template_version import VERSION, fixes_after
from pgbouncer_operator.wording import counted

NAMED = 5  # pods in one message


def update_available(observed: Observed, decided: Decided) -> Condition:
    """Does this operator make the pods of the same spec another way?"""
    kind, child = ConditionType.UPDATE_AVAILABLE, observed.child(decided.wanted.deployment)
    if old := lacking(observed):
        return condition(kind, TRUE, Reason.SECURITY_UPDATE, _security(observed, old))
    if child is None or child.rollout is None or not newer(child.rollout, decided.wanted):
        return condition(kind, FALSE, Reason.UP_TO_DATE, "The pods have the image and template of this operator.")
    before, after = image(child.unpack()), image(decided.wanted.deployment)
    what = "another pod template" if before == after else f"image {after} instead of {before}"
    when = (
        "The pods are replaced as soon as there is room."
        if automatic(observed)
        else "The next change that replaces pods brings it; upgradePolicy: Automatic brings it now."
    )
    return condition(kind, TRUE, Reason.UPDATE_AVAILABLE, f"This operator has {what}. {when}")


def _security(observed: Observed, old: Sequence[PodView]) -> str:
    """Which fixes these pods lack, and how to replace them."""
    names, more = ", ".join(each.name for each in old[:NAMED]), len(old) - NAMED
    pods = names + (f" and {more} more" if more > 0 else "")
    view, fixes = observed.view, "; ".join(fixes_after(min(each.template_version for each in old)))
    if automatic(observed) or (observed.turn and behind(view, old)):
        what = "They are replaced in turn."
    elif behind(view, old):
        what = f"They are replaced when fewer than {AT_ONCE} other pools replace theirs."
    else:
        command = f"kubectl annotate connectionpool {view.name} -n {view.namespace} --overwrite"
        what = f"To replace them: {command} {naming.ANNOTATION_TEMPLATE_VERSION}={VERSION}"
    return f"Security: {len(old)} of {counted(len(observed.living), 'pod')} lack fixes ({fixes}): {pods}. {what}"
