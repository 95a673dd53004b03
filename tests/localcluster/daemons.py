"""Starting the cluster's daemons, each once, and telling which of them run."""

import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from tests.localcluster.execution import plain_environment
from tests.localcluster.layout import Layout
from tests.localcluster.namespaces import PATH, Process, entered, members
from tests.localcluster.problem import Problem


@dataclass(frozen=True, slots=True)
class Daemon:
    """A program that runs as long as the cluster; its log is <name>.log."""

    name: str
    argv: tuple[str, ...]


def running(daemons: Iterable[Daemon], holder: Process) -> list[Daemon]:
    """Those that run, known by their whole command line."""
    lines = {member.argv for member in members(holder)}
    return [daemon for daemon in daemons if daemon.argv in lines]


def start(daemons: Iterable[Daemon], holder: Process, layout: Layout) -> list[str]:
    """Start those that do not run yet; gives their names. The shell ends at once and leaves them to the holder."""
    wanted = list(daemons)
    there = running(wanted, holder)
    missing = [daemon for daemon in wanted if daemon not in there]
    if missing:
        lines = ["ulimit -n $(ulimit -H -n)"]  # as many files as the host allows
        lines += [launch(daemon, layout) for daemon in missing]
        command = entered(holder, "/bin/sh", "-c", "\n".join(lines))
        environment = plain_environment(f"{layout.programs}:{PATH}")
        done = subprocess.run(command, stdin=subprocess.DEVNULL, env=environment, cwd="/", check=False)
        if done.returncode != 0:
            raise Problem("could not start " + ", ".join(daemon.name for daemon in missing))
    return [daemon.name for daemon in missing]


def launch(daemon: Daemon, layout: Layout) -> str:
    """The shell line that starts one daemon in a session of its own, with its log as output."""
    log = shlex.quote(str(layout.logs / f"{daemon.name}.log"))
    return f"setsid {shlex.join(daemon.argv)} </dev/null >>{log} 2>&1 &"


def last_words(daemon: Daemon, layout: Layout, lines: int = 15) -> str:
    """The end of a daemon's log."""
    log = layout.logs / f"{daemon.name}.log"
    text = log.read_text(errors="replace") if log.exists() else ""
    return f"the end of {log}:\n" + "\n".join(text.splitlines()[-lines:])
