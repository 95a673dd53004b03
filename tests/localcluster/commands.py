"""The command line: up, down, env, load, node, status, build, audit."""

import argparse
import fcntl
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.localcluster import backend, bare, binaries, environment, kind, layout, machine, recipes, second, teardown
from tests.localcluster.execution import run
from tests.localcluster.layout import Layout
from tests.localcluster.problem import Problem
from tests.localcluster.progress import Progress

HINT = """
A Kubernetes is running. To use it in this shell:

    eval "$(make -s cluster-env)"

and to remove it: make cluster-down
"""


@dataclass(frozen=True, slots=True)
class Command:
    """What a command acts on."""

    layout: Layout
    progress: Progress
    words: Sequence[str]


def up(command: Command) -> None:
    """Start the cluster, or repair it."""
    ensure(command.layout, command.progress)
    print(HINT, end="")


def ensure(files: Layout, progress: Progress) -> None:
    """Start the cluster, or repair it, with whichever backend there is."""
    chosen = backend.choose()
    with locked(files, progress):
        if chosen == "bare":
            bare.up(files, progress)
            if second.runs(files):
                second.add(files, progress)
        else:
            _build_for_kind(files, progress)
            kind.up(_kind(files, chosen), progress)


def down(command: Command) -> None:
    """Remove the cluster; the built programs stay."""
    chosen = backend.choose()
    with locked(command.layout, command.progress), command.progress.step("removing the cluster"):
        if chosen == "bare":
            teardown.down(command.layout)
        elif Path(machine.program("kind", command.layout)).exists():
            kind.down(_kind(command.layout, chosen))


def env(command: Command) -> None:
    """Print the shell lines that make kubectl and helm use the cluster."""
    print(environment.exports(command.layout), end="")


def load(command: Command) -> None:
    """Import image archives."""
    load_archives(command.layout, [Path(word) for word in command.words], command.progress)


def load_archives(files: Layout, archives: Sequence[Path], progress: Progress) -> None:
    """Import image archives into the running cluster; those that are there already are skipped."""
    chosen = backend.choose()
    with locked(files, progress):
        if chosen == "bare":
            bare.load(files, archives, progress)
        else:
            kind.load(_kind(files, chosen), archives, progress)


def node(command: Command) -> None:
    """Add or remove a second node; only the bare cluster can."""
    change_node(command.layout, command.words[0], command.progress)


def change_node(files: Layout, change: str, progress: Progress) -> None:
    """Add or remove the second node. Problem where the cluster is kind's."""
    if backend.choose() != "bare":
        raise Problem("a second node is not available with kind: use LOCALCLUSTER=bare, on Linux as root")
    with locked(files, progress):
        (second.add if change == "add" else second.remove)(files, progress)


def status(command: Command) -> None:
    """Say whether the cluster runs."""
    chosen = backend.choose()
    print(bare.status(command.layout) if chosen == "bare" else kind.status(_kind(command.layout, chosen)))


# Programs that tests use and no cluster needs, by name.
OPTIONAL: dict[str, Callable[[], recipes.Recipe]] = {"helm3": recipes.helm3, "actionlint": recipes.actionlint}


def build(command: Command) -> None:
    """Build the programs only; named ones, or all that this machine needs."""
    chosen = backend.choose()
    with locked(command.layout, command.progress):
        if command.words:
            binaries.build([OPTIONAL[name]() for name in command.words], command.layout, command.progress)
        elif chosen == "bare":
            bare.build(command.layout, command.progress)
        else:
            _build_for_kind(command.layout, command.progress)


def audit(command: Command) -> None:
    """Print the path of the API server's audit log."""
    print(command.layout.audit_log)


@contextmanager
def locked(files: Layout, progress: Progress) -> Iterator[None]:
    """Alone to change the cluster. The kernel frees the lock of a killed command."""
    files.cache.mkdir(parents=True, exist_ok=True)
    with files.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("waiting for another command on the cluster to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build_for_kind(files: Layout, progress: Progress) -> None:
    wanted = [*recipes.clients(files.version), recipes.kind()]
    binaries.build([recipe for recipe in wanted if machine.lacks(recipe.program, files)], files, progress)


def _kind(files: Layout, engine: str) -> kind.Kind:
    surroundings = kind.environment(engine, os.environ)
    runner = functools.partial(run, environment=surroundings)
    return kind.Kind(machine.program("kind", files), engine, files, runner, kind.wanted_image(os.environ))


COMMANDS: dict[str, Callable[[Command], None]] = {
    function.__name__: function for function in (up, down, env, load, node, status, build, audit)
}


def main(arguments: Sequence[str]) -> int:
    """Run one command; the status is 1 when it said what is wrong."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.localcluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in COMMANDS.items():
        added = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        if name == "load":
            added.add_argument("words", nargs="+", metavar="IMAGE-ARCHIVE")
        elif name == "node":
            added.add_argument("words", nargs=1, choices=["add", "remove"])
        elif name == "build":
            added.add_argument("words", nargs="*", choices=[*OPTIONAL, []], metavar="PROGRAM", default=[])
    given = parser.parse_args(arguments)
    try:
        COMMANDS[given.command](Command(layout.from_environment(), Progress(), getattr(given, "words", ())))
    except Problem as problem:
        print(f"localcluster: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("localcluster: interrupted; the next `up` or `down` tidies up", file=sys.stderr)
        return 130
    return 0
