"""`kubectl pgbouncer refresh`: brings new content of Secrets to the pods at once, and waits until each was told."""

from pgbouncer_operator import naming
from pgbouncer_operator.plugin.fields import at
from pgbouncer_operator.plugin.kubectl import POOLS, Body, Kubectl, KubectlError, Scope
from pgbouncer_operator.plugin.traffic import DIAGNOSE, Outcome
from pgbouncer_operator.plugin.waiting import Clock, until
from pgbouncer_operator.reconcile.rollout.delivery import refreshed

PATIENCE = 30.0  # seconds until the command gives up


def refresh(kubectl: Kubectl, scope: Scope, name: str, clock: Clock) -> Outcome:
    """Ask the operator to read the Secrets again. Raises KubectlError.

    No status says when a pod has new content. The operator marks each pod, which makes its kubelet look at once.
    """
    value = clock.now().isoformat()
    (before,) = kubectl.pools(scope, name)
    namespace = before["metadata"]["namespace"]
    patch = {"metadata": {"annotations": {naming.ANNOTATION_REFRESH: value}}}
    kubectl.merge(POOLS, namespace, name, patch)
    try:
        pods = until(clock, PATIENCE, lambda: _marked(kubectl, namespace, name, value))
    except KubectlError as error:
        return Outcome(namespace, name, True, error.reason, (f"The operator was asked. {error}",))
    if pods is None:
        message = f"Not every pod was told within {PATIENCE:.0f} seconds. {DIAGNOSE}"
        return Outcome(namespace, name, False, "", (message,))
    message = f"{len(pods)} of {len(pods)} pods were told to read their Secrets again. Allow a few seconds."
    return Outcome(namespace, name, True, "", (message,))


def _marked(kubectl: Kubectl, namespace: str, name: str, value: str) -> list[Body] | None:
    """The pool's living pods, once each has the mark of this refresh."""
    pods = [each for each in kubectl.pods(namespace, name) if at(each, "metadata", "deletionTimestamp") is None]
    told = (refreshed(at(each, "metadata", "annotations", naming.ANNOTATION_POKE) or "", value) for each in pods)
    return pods if all(told) else None
