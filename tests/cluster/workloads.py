"""Deployments of clients that work through a pool, each pod with an account of its own in its log."""

import copy
import json
from collections.abc import Sequence
from typing import Any

from tests.cluster import programs
from tests.cluster.pools import Namespace, Object
from tests.localcluster import traffic

LIGHT = ("--clients", "2", "--think", "0.1", "--work", "0.03")


def deployment(here: Namespace, name: str, secret: str, replicas: int, arguments: Sequence[str] = LIGHT) -> Object:
    """Its pods are ready as soon as they run, and let their transactions end when they are to go."""
    lasting = (*arguments, "--seconds", str(programs.LONG_SECONDS))
    body = traffic.Traffic(name, 1, lasting, secret).manifest(0, here.site.reference("clients"))
    spec: dict[str, Any] = copy.deepcopy(body["spec"])
    spec |= {"restartPolicy": "Always", "terminationGracePeriodSeconds": 15}
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def ready(here: Namespace, name: str) -> int:
    """How many of its pods are."""
    return int(here.get("deployment", name)["status"].get("readyReplicas", 0))


def accounts(here: Namespace, name: str) -> list[dict[str, Any]]:
    """The latest account of every pod that runs, is not terminating and has said one."""
    living = [each for each in here.all("pods", f"app={name}") if "deletionTimestamp" not in each["metadata"]]
    pods = [each for each in living if each["status"].get("phase") == "Running"]
    lines = [here.kubectl("logs", each["metadata"]["name"], "--tail=1").strip() for each in pods]
    return [json.loads(line) for line in lines if line.startswith("{")]


def remove(here: Namespace, name: str) -> None:
    """Delete it, and wait until no pod of it is left."""
    here.kubectl("delete", "deployment", name, "--ignore-not-found", "--wait=true")
    here.wait(lambda: not here.all("pods", f"app={name}"), "no client is left")
