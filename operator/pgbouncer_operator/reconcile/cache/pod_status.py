"""What the status of a Pod says of its containers, and that of a Deployment of pods that may not be made. Pure."""

from collections.abc import Mapping
from typing import Any

Body = Mapping[str, Any]
FINISHED = {"Succeeded", "Failed"}  # phases
REFUSAL_MAX = 700  # characters; a webhook may answer with any text, and a condition's message has room for 1,024


def ended(status: Body) -> bool:
    """Whether no container runs any more.

    The phase alone does not say so: pods of lost nodes are marked Failed, too.
    """
    states = [(each.get("state") or {}, each.get("lastState")) for each in _containers(status)]
    ended = all("terminated" in now or not ("running" in now or before) for now, before in states)
    return ended and status.get("phase") in FINISHED


def _containers(status: Body) -> list[Body]:
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def trouble(status: Body) -> str:
    """The first reason that Kubernetes gives: unschedulable, image not found, crash loop, out of memory. Empty without
    one.
    """
    for each in status.get("conditions") or ():
        if each["type"] == "PodScheduled" and each["status"] == "False":
            return f"{each.get('reason', '')}: {each.get('message', '')}"
    for each in _containers(status):
        waiting = (each.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason") not in {None, "PodInitializing", "ContainerCreating"}:
            return f"container {each['name']}: {waiting['reason']}: {waiting.get('message', '')}"
    return ""


def refusal(status: Body) -> str:
    """Why the API server refuses a Deployment's pods, on one line, at most REFUSAL_MAX characters; empty without one.

    A quota, a LimitRange, Pod Security or a webhook refuses the pod, not the Deployment. The condition has the words:
    https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#failed-deployment
    """
    for each in status.get("conditions") or ():
        if each.get("type") == "ReplicaFailure" and each.get("status") == "True":
            words = " ".join(str(each.get("message") or each.get("reason") or "no reason given").split())
            return words if len(words) <= REFUSAL_MAX else words[: REFUSAL_MAX - 1] + "…"
    return ""
