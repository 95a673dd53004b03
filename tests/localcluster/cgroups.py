"""The cluster's own cgroup in every hierarchy, version 1 and 2: its pods are apart from the host's and go with it."""

import errno
import os
from pathlib import Path

from tests.localcluster.waiting import until

WANTED = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")


def hierarchies(mounts: str) -> dict[Path, str]:
    """Mount point → "cgroup" or "cgroup2", from the text of /proc/self/mounts."""
    lines = [line.split(" ") for line in mounts.splitlines()]
    return {Path(words[1]): words[2] for words in lines if words[2] in ("cgroup", "cgroup2")}


def directories(name: str) -> dict[Path, str]:
    """The directory of the cgroup `name` in each hierarchy → the hierarchy's type."""
    return {mount / name: kind for mount, kind in hierarchies(Path("/proc/self/mounts").read_text()).items()}


def make(name: str) -> None:
    """Make its directory in every hierarchy."""
    for directory, kind in directories(name).items():
        directory.mkdir(exist_ok=True)
        if kind == "cgroup2":
            _delegate(directory.parent)
            _delegate(directory)
        # Version 1: nothing can be moved into a cpuset that names no CPU or no memory node.
        for set_ in ("cpuset.cpus", "cpuset.mems"):
            if kind == "cgroup" and (directory / set_).exists() and not (directory / set_).read_text().strip():
                (directory / set_).write_text((directory.parent / set_).read_text())


def _delegate(directory: Path) -> None:
    offered = (directory / "cgroup.controllers").read_text().split()
    for controller in WANTED:
        if controller in offered:
            try:
                (directory / "cgroup.subtree_control").write_text(f"+{controller}")
            except OSError as refused:
                # Busy: processes sit in the root of a container's own cgroup namespace. kubelet says what it lacks.
                if refused.errno not in (errno.EBUSY, errno.ENOTSUP, errno.EINVAL):
                    raise


def left(name: str) -> list[str]:
    """Those of its directories that exist."""
    return [str(directory) for directory in directories(name) if directory.exists()]


def remove(name: str) -> None:
    """Remove its directories; the kernel needs a moment after the last process ended."""

    def attempt() -> str:
        for directory in directories(name):
            for below, _, _ in os.walk(directory, topdown=False):
                try:
                    os.rmdir(below)
                except OSError:  # still busy: the next attempt
                    break
        return "the removal of " + ", ".join(left(name)) if left(name) else ""

    until(attempt, 20, pause=0.05)
