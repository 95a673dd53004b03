"""Deployments of clients that work through a pool, each pod with an account of its own in its log."""

import contextlib
import copy
import json
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.cluster import programs
from tests.cluster.pools import Namespace, Object
from tests.localcluster import traffic
from tests.localcluster.problem import Problem

LIGHT = ("--clients", "2", "--think", "0.1", "--work", "0.03")


def deployment(here: Namespace, name: str, secret: str, replicas: int, arguments: Sequence[str] = LIGHT) -> Object:
    """Its pods are ready as soon as they run, and let their transactions end when they are to go."""
    lasting = (*arguments, "--seconds", str(programs.LONG_SECONDS))
    body = traffic.Traffic(name, 1, lasting, secret).manifest(0, here.site.reference("clients"))
    spec: dict[str, Any] = copy.deepcopy(body["spec"])
    spec |= {"restartPolicy": "Always", "terminationGracePeriodSeconds": 60}
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


def living(here: Namespace, name: str) -> list[Object]:
    """Its pods that are not terminating."""
    return [each for each in here.all("pods", f"app={name}") if "deletionTimestamp" not in each["metadata"]]


def accounts(here: Namespace, name: str) -> list[dict[str, Any]]:
    """The latest account of every pod that runs, is not terminating and has said one."""
    pods = [each for each in living(here, name) if each["status"].get("phase") == "Running"]
    lines = [here.kubectl("logs", each["metadata"]["name"], "--tail=1").strip() for each in pods]
    return [json.loads(line) for line in lines if line.startswith("{")]


@dataclass(slots=True)
class Followed:
    """Every pod of a workload, from its start to its end, by its name.

    latest: its last account. torn: pods whose clients ended otherwise than by letting their transactions end. Those
    that are told to go must have said something: a process that has just begun knows no SIGTERM, and as the first of
    its container it is not even ended by it.
    """

    latest: dict[str, dict[str, Any]] = field(default_factory=dict)
    torn: list[str] = field(default_factory=list)
    processes: "dict[str, subprocess.Popen[str]]" = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def at_work(self, here: Namespace, name: str, replicas: int) -> bool:
        """Whether so many pods run, and every one of them has said something."""
        names = {each["metadata"]["name"] for each in living(here, name)}
        return len(names) == replicas and names <= self.latest.keys()

    def listen(self, name: str) -> None:
        """Take in a pod's log to its end."""
        process = self.processes[name]
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                if line.startswith("{"):
                    self.latest[name] = json.loads(line)
        process.wait()
        if not self.over.is_set() and not self.latest.get(name, {}).get("done"):
            self.torn.append(name)


@contextlib.contextmanager
def followed(here: Namespace, name: str) -> Iterator[Followed]:
    """Follow the workload's pods, those that are there and those that come, while the block runs."""
    found = Followed()

    def look() -> None:
        while not found.over.wait(1.0):
            with contextlib.suppress(Problem):  # kubectl itself, on a busy machine
                for pod in here.all("pods", f"app={name}"):
                    of, states = pod["metadata"]["name"], pod["status"].get("containerStatuses", ())
                    if of not in found.processes and any(each.get("started") for each in states):
                        command = ("kubectl", "logs", "-f", "-n", here.name, of)
                        found.processes[of] = subprocess.Popen(
                            command, stdout=subprocess.PIPE, text=True, env=dict(here.site.env)
                        )
                        threading.Thread(target=found.listen, args=(of,), daemon=True).start()

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield found
    finally:
        found.over.set()
        looking.join()
        for process in found.processes.values():
            process.kill()
            process.wait()


def remove(here: Namespace, name: str) -> None:
    """Delete it, and wait until no pod of it is left."""
    here.kubectl("delete", "deployment", name, "--ignore-not-found", "--wait=true")
    here.wait(lambda: not here.all("pods", f"app={name}"), "no client is left")
