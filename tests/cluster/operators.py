"""The installed operator's pods and processes: who leads, and the death of one."""

import contextlib
import json
import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.pools import DEADLINE, Object
from tests.localcluster.deploy import NAMESPACE, RELEASE, Site
from tests.localcluster.problem import Problem
from tests.localcluster.waiting import until

from pgbouncer_operator import naming

PROC = Path("/proc")
SELECTOR = f"app.kubernetes.io/instance={RELEASE}"


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a pod, as the host sees it."""

    pid: int
    command: tuple[str, ...]
    directory: Path


def processes(uids: Iterable[str]) -> list[Process]:
    """The processes of these pods, by their cgroup; none where the node is not this machine (kind)."""
    wanted = {uid: uid.replace("-", "_") for uid in uids}
    found = []
    for directory in PROC.iterdir():
        if not directory.name.isdecimal():
            continue
        try:
            cgroup = (directory / "cgroup").read_text()
            command = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it ended meanwhile
        if any(f"pod{uid}" in cgroup or f"pod{other}" in cgroup for uid, other in wanted.items()):
            found.append(Process(int(directory.name), tuple(command), directory))
    return found


def kill_process(uids: Iterable[str], program: str) -> int:
    """SIGKILL the processes of these pods that run a program (its path, or a part of its arguments); how many."""
    return signal_process(uids, program, signal.SIGKILL)


def signal_process(uids: Iterable[str], program: str, number: signal.Signals) -> int:
    """The same with any signal."""
    told = 0
    for victim in processes(uids):
        if program in victim.command or victim.command[0].startswith(program):
            try:
                os.kill(victim.pid, number)
            except ProcessLookupError:
                continue  # it went with its parent
            told += 1
    return told


def pods(site: Site) -> list[Object]:
    """The operator's pods that are not terminating."""
    return [pod for pod in everyone(site) if "deletionTimestamp" not in pod["metadata"]]


def leader(site: Site) -> str:
    """Name of the pod that holds the lease; empty while nobody does."""
    try:
        lease = json.loads(site.kubectl("get", "lease", naming.LEASE_NAME, "-n", NAMESPACE, "--output=json"))
    except Problem:
        return ""
    holder: str = lease["spec"].get("holderIdentity") or ""
    return holder if holder in {pod["metadata"]["name"] for pod in pods(site)} else ""


def wait_leader(site: Site) -> str:
    """Wait until a living pod leads; its name."""
    until(lambda: "" if leader(site) else "a leader among the operator's pods", DEADLINE)
    return leader(site)


def kill(site: Site, name: str) -> int:
    """SIGKILL every process of that pod; how many there were. Its Deployment then gets another pod in its place.

    The dead pod is removed, since kubelet would wait ever longer before it starts a container again that keeps dying.
    """
    uid = next((pod["metadata"]["uid"] for pod in pods(site) if pod["metadata"]["name"] == name), None)
    victims = [each for each in processes([uid] if uid else []) if "pgbouncer_operator" in each.command]
    for victim in victims:
        os.kill(victim.pid, signal.SIGKILL)
    site.kubectl("delete", "pod", name, "-n", NAMESPACE, "--grace-period=0", "--force", "--ignore-not-found")
    return len(victims)


def forget_lease(site: Site) -> None:
    """Spare the test the time that the successor of a dead leader waits for the lease to run out."""
    site.kubectl("delete", "lease", naming.LEASE_NAME, "-n", NAMESPACE, "--ignore-not-found")


@contextlib.contextmanager
def absent(site: Site) -> Iterator[None]:
    """No operator runs meanwhile; after it one that leads."""
    resource = ("deployment", RELEASE, "-n", NAMESPACE)
    wanted = json.loads(site.kubectl("get", *resource, "--output=json"))["spec"]["replicas"]
    site.kubectl("scale", *resource, "--replicas=0")
    until(lambda: "" if not everyone(site) else "the end of every operator", DEADLINE)
    try:
        yield
    finally:
        site.kubectl("scale", *resource, f"--replicas={wanted}")
        site.kubectl("rollout", "status", *resource, "--timeout=120s")
        wait_leader(site)


def everyone(site: Site) -> list[Object]:
    """The operator's pods, terminating ones too."""
    listed = json.loads(site.kubectl("get", "pods", "-n", NAMESPACE, f"--selector={SELECTOR}", "--output=json"))
    found: list[Object] = listed["items"]
    return found
