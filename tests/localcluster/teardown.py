"""Taking the cluster down, and finding what might be left of it."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.localcluster import addresses, cgroups, namespaces
from tests.localcluster.execution import succeeds
from tests.localcluster.layout import Layout


def down(layout: Layout) -> None:
    """Remove everything but the built programs. Nothing to do is fine; what a killed start left goes as well."""
    namespaces.kill(layout)
    # The kernel removes the pair with the network namespace, but only some time later.
    subprocess.run(["ip", "link", "delete", addresses.HOST_LINK], capture_output=True, check=False)
    for mount in _mounts(layout):
        subprocess.run(["umount", "--lazy", mount], capture_output=True, check=False)
    cgroups.remove(layout.cgroup)
    if layout.state.exists() and not _mounts(layout):
        shutil.rmtree(layout.state)


def leftovers(layout: Layout) -> list[str]:
    """What there is of the cluster on this machine, in words: empty after `down`."""
    ours = os.getpid()
    found = [
        f"process {process.pid}: {' '.join(process.argv)[:120]}"
        for process in namespaces.processes()
        if process.pid != ours and any(str(layout.state) in word for word in process.argv)
    ]
    found += [f"mount {mount}" for mount in _mounts(layout)]
    if succeeds(["ip", "link", "show", "dev", addresses.HOST_LINK]):
        found.append(f"link {addresses.HOST_LINK}")
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=False).stdout.splitlines()
    found += [f"route {line}" for line in routes if addresses.NODE in line or addresses.HOST_LINK in line]
    found += [f"cgroup {directory}" for directory in cgroups.left(layout.cgroup)]
    if layout.state.exists():
        found.append(f"directory {layout.state}")
    return found


def _mounts(layout: Layout) -> list[str]:
    lines = [line.split(" ") for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [words[1] for words in reversed(lines) if Path(words[1]).is_relative_to(layout.state)]
