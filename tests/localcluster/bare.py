"""The bare cluster: upstream's programs, run straight on this machine in namespaces of their own. Linux, root."""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.localcluster import (
    addresses,
    binaries,
    certificates,
    cgroups,
    containerd,
    control_plane,
    daemons,
    dns,
    health,
    inquiry,
    mounts,
    namespaces,
    network,
    node,
    packages,
    recipes,
    teardown,
)
from tests.localcluster.execution import run
from tests.localcluster.layout import Layout
from tests.localcluster.namespaces import Process
from tests.localcluster.problem import Problem
from tests.localcluster.progress import Progress

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def possible() -> str:
    """Why this machine cannot run it; "" when it can."""
    if sys.platform != "linux":
        return "it needs Linux"
    if os.geteuid() != 0:
        return "it needs root (sudo -E make cluster)"
    if platform.machine() not in ARCHITECTURES:
        return f"it knows {' and '.join(ARCHITECTURES)} only"
    return ""


def build(layout: Layout, progress: Progress) -> None:
    """Install packages and build programs where they are missing."""
    packages.install(layout, progress)
    binaries.build_pause(layout)
    binaries.build((*recipes.servers(layout.version), *recipes.clients(layout.version)), layout, progress)


def up(layout: Layout, progress: Progress) -> None:
    """Start the cluster, or what is missing of it. One that does not work and cannot be repaired is replaced."""
    mounts.check(layout)
    build(layout, progress)
    holder = _usable_holder(layout)
    if holder is not None:
        if health.waits_for(layout):
            _start(holder, layout, progress)
        return
    if namespaces.holders(layout) and _recorded(layout) and health.works(layout):
        progress.say("a cluster of an earlier version runs and is kept; `make cluster-down` makes room for a new one")
        return
    if teardown.leftovers(layout):
        with progress.step("removing an earlier or unfinished cluster"):
            teardown.down(layout)
    with progress.step("making certificates, namespaces, links and cgroups"):
        holder = _prepare(layout)
    _start(holder, layout, progress)


def load(layout: Layout, archives: Sequence[Path], progress: Progress) -> None:
    """Import image archives into every node, but for those whose content is there already."""
    if not namespaces.holders(layout):
        raise Problem("no cluster is running: start one with `make cluster`")
    for node_ in (addresses.FIRST, addresses.SECOND):
        if namespaces.holders(layout.of(node_)):
            containerd.load(layout.of(node_), archives, progress)


def status(layout: Layout) -> str:
    """One line on the cluster's state."""
    if not namespaces.holders(layout):
        return "bare: not running"
    lacking = health.waits_for(layout)
    return f"bare: waiting for {lacking}" if lacking else f"bare: ready, Kubernetes {layout.version}"


def _files(layout: Layout) -> dict[Path, str]:
    return control_plane.files(layout) | containerd.files(layout) | node.files(layout) | dns.files(layout)


def _fingerprint(layout: Layout) -> str:
    # What a running cluster was made from: another one has to be made when it changes.
    files = {str(path): text for path, text in _files(layout).items()}
    programs = [recipe.fingerprint() for recipe in recipes.servers(layout.version)]
    commands = [daemon.argv for daemon in health.all_daemons(layout)] + certificates.commands(layout.certificates)
    made = [files, programs, commands, mounts.commands(layout.state), network.inside(), network.outside(0)]
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()


def _record(layout: Layout) -> Path:
    return layout.state / "fingerprint"


def _recorded(layout: Layout) -> str:
    return _record(layout).read_text() if _record(layout).exists() else ""


def _usable_holder(layout: Layout) -> Process | None:
    found = namespaces.holders(layout)
    return found[0] if len(found) == 1 and _recorded(layout) == _fingerprint(layout) else None


def _prepare(layout: Layout) -> Process:
    layout.state.mkdir(mode=0o700, parents=True)
    certificates.make(layout.certificates)
    for path, text in _files(layout).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    layout.audit_log.parent.mkdir(parents=True)
    mounts.prepare(layout)
    cgroups.make(layout.cgroup)
    holder = namespaces.start_holder(layout)
    for command in network.outside(holder.pid):
        run(command)
    foreign = mounts.foreign(layout, Path(f"/proc/{holder.pid}/mounts").read_text())
    for command in (*mounts.commands(layout.state, foreign), *network.inside()):
        run(namespaces.entered(holder, *command))
    layout.kubeconfig.touch(mode=0o600)
    layout.kubeconfig.write_text((layout.certificates / "admin.kubeconfig").read_text())
    _record(layout).write_text(_fingerprint(layout))
    return holder


def _start(holder: Process, layout: Layout, progress: Progress) -> None:
    first, everything = health.first_daemons(layout), health.all_daemons(layout)
    with progress.step("starting etcd, API server and containerd"):
        daemons.start(first, holder, layout)
        health.wait(first, holder, layout, lambda: containerd.waits_for(layout))
        containerd.import_pause(layout, ARCHITECTURES[platform.machine()])
        health.wait(first, holder, layout, lambda: health.api_waits_for(layout))
    with progress.step("starting controllers, scheduler, kubelet, kube-proxy and CoreDNS"):
        daemons.start(everything, holder, layout)
        if inquiry.api(layout, "/api/v1/namespaces/kube-system/services/kube-dns") is None:
            kubectl = [str(layout.programs / "kubectl"), "--kubeconfig", str(layout.kubeconfig)]
            apply = ["apply", "--server-side", "-f", str(layout.configuration / "dns.json")]
            run(namespaces.entered(holder, *kubectl, *apply))  # inside, so that it cannot outlive the cluster
        health.wait(everything, holder, layout, lambda: health.services_wait_for(layout))
