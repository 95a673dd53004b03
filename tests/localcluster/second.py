"""A second node beside the first, for tests that drain one: a kubelet in namespaces of its own, and a link between.

Its holder lives in the PID namespace of the first node's, its files below the cluster's state and its cgroup below the
cluster's: whatever ends and removes the cluster, removes the node.
"""

import platform
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.localcluster import (
    addresses,
    bare,
    certificates,
    cgroups,
    containerd,
    daemons,
    health,
    inquiry,
    mounts,
    namespaces,
    network,
    node,
)
from tests.localcluster.daemons import Daemon
from tests.localcluster.execution import run
from tests.localcluster.layout import Layout
from tests.localcluster.namespaces import Process
from tests.localcluster.problem import Problem
from tests.localcluster.progress import Progress
from tests.localcluster.waiting import until

NODE = addresses.SECOND


def runs(layout: Layout) -> bool:
    """Whether there is a second node, working or not."""
    return bool(namespaces.holders(layout.of(NODE)))


def add(layout: Layout, progress: Progress) -> None:
    """Add the node, or start what is missing of it. It has the pause image only: `load` brings the others."""
    first = namespaces.holders(layout)
    if not first:
        raise Problem("no cluster is running: start one with `make cluster`")
    own = layout.of(NODE)
    found = namespaces.holders(own)
    if found and not waits_for(own, found[0]):
        return
    with progress.step("adding a second node"):
        if not found or not _ready_made(own).exists():
            _clear(layout)
            found = [_prepare(own, first[0])]
        _start(own, found[0])


def remove(layout: Layout, progress: Progress) -> None:
    """Take the node out of the cluster, with its pods. Nothing to do is fine."""
    if not runs(layout) and not layout.of(NODE).home.exists():
        return
    with progress.step("removing the second node"):
        _clear(layout)
        _forget(layout)


def waits_for(own: Layout, holder: Process) -> str:
    """What the node lacks to run pods; "" when it lacks nothing. own: the node's layout."""
    wanted = _daemons(own)
    running = daemons.running(wanted, holder)
    stopped = [daemon.name for daemon in wanted if daemon not in running]
    return "running daemons: " + ", ".join(stopped) if stopped else _serving_waits_for(own)


def _serving_waits_for(own: Layout) -> str:
    if lacking := inquiry.node_waits_for(inquiry.api(own, f"/api/v1/nodes/{NODE.name}")):
        return lacking
    return "" if inquiry.ok(addresses.PROXY_HEALTH_PORT, "/healthz", NODE) else "the second node's kube-proxy"


def files(own: Layout) -> dict[Path, str]:
    """The node's configuration files."""
    return containerd.files(own) | node.files(own)


def _daemons(own: Layout) -> list[Daemon]:
    return [containerd.daemon(own), node.kubelet(own), node.proxy(own)]


def _ready_made(own: Layout) -> Path:
    return own.home / "prepared"


def _prepare(own: Layout, first: Process) -> Process:
    own.home.mkdir(mode=0o700, parents=True)
    own.logs.mkdir()
    certificates.make_for(NODE, own.certificates)
    for path, text in files(own).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    mounts.prepare(own)
    cgroups.make(own.cgroup)
    holder = namespaces.start_holder(own, within=first)
    _each(network.between(holder.pid, NODE), first)
    for command in network.beyond(NODE):
        run(command)
    foreign = mounts.foreign(own, Path(f"/proc/{holder.pid}/mounts").read_text())
    for command in (*mounts.commands(own.home, foreign), *network.inside(NODE)):
        run(namespaces.entered(holder, *command))
    _ready_made(own).touch()
    return holder


def _each(commands: Iterable[Sequence[str]], holder: Process) -> None:
    for command in commands:
        run(namespaces.networked(holder, *command))


def _start(own: Layout, holder: Process) -> None:
    wanted = _daemons(own)
    daemons.start(wanted[:1], holder, own)
    health.wait(wanted[:1], holder, own, lambda: containerd.waits_for(own))
    containerd.import_pause(own, bare.ARCHITECTURES[platform.machine()])
    daemons.start(wanted, holder, own)
    health.wait(wanted, holder, own, lambda: _serving_waits_for(own))


def _clear(layout: Layout) -> None:
    """Remove what a node leaves on the machine."""
    own = layout.of(NODE)
    namespaces.kill(own)
    # The kernel removes the pair with the network namespace, but only some time later.
    for first in namespaces.holders(layout):
        delete = namespaces.networked(first, "ip", "link", "delete", addresses.NODE_LINK)
        subprocess.run(delete, capture_output=True, check=False)
    for destination in (NODE.address, NODE.pods):
        subprocess.run(["ip", "route", "delete", destination], capture_output=True, check=False)
    cgroups.remove(own.cgroup)
    if own.home.exists():
        shutil.rmtree(own.home)


def _forget(layout: Layout) -> None:
    """Let the API server forget the node and its pods, which have ended with it."""
    kubectl = [str(layout.programs / "kubectl"), "--kubeconfig", str(layout.kubeconfig)]
    there = f"--field-selector=spec.nodeName={NODE.name}"
    run([*kubectl, "delete", "node", NODE.name, "--ignore-not-found"])
    run([*kubectl, "delete", "pods", "--all-namespaces", there, "--grace-period=0", "--force"])
    gone = f"/api/v1/nodes/{NODE.name}"
    until(lambda: "the end of the node" if inquiry.api(layout, gone) else "", 30)
