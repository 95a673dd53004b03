"""The cluster's own PID, mount and network namespaces, and the one process that holds them.

The holder is process 1 of a PID namespace, so its end takes every process of the cluster with it, shims and pods
included, and with them the mounts, the network namespace, its nftables and its links: pid_namespaces(7). A second
node's holder lives in the first's PID namespace, and ends with it. A holder is found
by what it runs, never by a recorded pid, and signalled through a pidfd: a recycled pid cannot be hit.
"""

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.localcluster.execution import plain_environment
from tests.localcluster.layout import Layout
from tests.localcluster.waiting import until

PROC = Path("/proc")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Process:
    """A process as /proc shows it: pid in our own PID namespace, argv, and the PID namespace that it lives in."""

    pid: int
    argv: tuple[str, ...]
    namespace: str


def processes() -> list[Process]:
    """All processes that can be seen and have a command line."""
    found = []
    for directory in PROC.iterdir():
        if directory.name.isdigit():
            try:
                argv = (directory / "cmdline").read_bytes()
                namespace = os.readlink(directory / "ns" / "pid")
            except OSError:  # it ended meanwhile
                continue
            if argv:
                words = tuple(word.decode(errors="replace") for word in argv.removesuffix(b"\0").split(b"\0"))
                found.append(Process(int(directory.name), words, namespace))
    return found


def holder_command(layout: Layout) -> tuple[str, ...]:
    """What the holder runs; the node's directory tells it from any other pause program."""
    return (str(layout.programs / "pause"), str(layout.home))


def is_holder(process: Process, layout: Layout, ours: str) -> bool:
    """Whether it is this cluster's holder, of whichever version: `pause <home>` in another PID namespace than ours."""
    return len(process.argv) == 2 and runs_pause(process, layout) and process.namespace != ours


def runs_pause(process: Process, layout: Layout) -> bool:
    """Whether it is the holder or the unshare that waits for its end."""
    return Path(process.argv[-2:][0]).name == "pause" and process.argv[-1] == str(layout.home)


def holders(layout: Layout) -> list[Process]:
    """The running holder: none or one, or more after something went badly wrong."""
    ours = os.readlink(PROC / "self" / "ns" / "pid")
    return [process for process in processes() if is_holder(process, layout, ours)]


def members(holder: Process) -> list[Process]:
    """The daemons and shims: processes of the holder's PID namespace."""
    return [process for process in processes() if process.namespace == holder.namespace]


def start_holder(layout: Layout, within: Process | None = None) -> Process:
    """Make the namespaces and wait for their holder. It gets a session of its own: a Ctrl-C on `up` is not for it.

    within: the holder whose end is to be the end of this one too. Only its PID namespace is entered: the new mount
    namespace is a copy of the host's, or it would keep the mounts of that one's pods busy.
    """
    entering = [] if within is None else ["nsenter", "--target", str(within.pid), "--pid", "--"]
    options = "--pid --net --mount --propagation slave --fork --kill-child --mount-proc"
    command = [*entering, "setsid", "--fork", "unshare", *options.split(), *holder_command(layout)]
    subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,  # setsid ends before unshare does anything
        env=plain_environment(PATH),
        cwd="/",
    )
    until(lambda: "" if holders(layout) else "the process that holds the cluster's namespaces", 10, pause=0.01)
    return holders(layout)[0]


def kill(layout: Layout) -> None:
    """End the holder, and thereby every process of the cluster, and wait until all are gone."""
    for holder in holders(layout):
        try:
            descriptor = os.pidfd_open(holder.pid)
        except ProcessLookupError:
            continue
        try:
            if any(again.pid == holder.pid for again in holders(layout)):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)
    # The kernel ends process 1 of a namespace after all others of it.
    until(lambda: "the end of the cluster's processes" if _pausing(layout) else "", 60, pause=0.02)


def _pausing(layout: Layout) -> bool:
    return any(runs_pause(process, layout) for process in processes())


def networked(holder: Process, *argv: str) -> list[str]:
    """The command that runs argv in the holder's network, and with pids and files as they are here."""
    return ["nsenter", "--target", str(holder.pid), "--net", "--", *argv]


def entered(holder: Process, *argv: str) -> list[str]:
    """The command that runs argv among the cluster's processes.

    nsenter, not `ip netns exec`: that one mounts /sys anew, without the cgroup mounts that kubelet needs.
    """
    return ["nsenter", "--target", str(holder.pid), "--pid", "--net", "--mount", "--", *argv]
