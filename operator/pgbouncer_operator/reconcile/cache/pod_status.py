"""What a Pod's status says of its containers. Pure."""

from collections.abc import Mapping
from typing import Any

Body = Mapping[str, Any]
FINISHED = {"Succeeded", "Failed"}  # phases


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
