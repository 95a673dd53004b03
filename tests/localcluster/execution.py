"""Running other programs."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Protocol

from tests.localcluster.problem import Problem


class Run(Protocol):
    """Runs one command and gives its standard output; Problem when it ends with another status than 0."""

    def __call__(self, argv: Sequence[str], /, *, text: str | None = None) -> str: ...


def run(argv: Sequence[str], /, *, text: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run argv with `text` as standard input. Problem carries the command and the end of what it said."""
    # The program is looked up in the PATH that it gets, as a shell would.
    path = None if environment is None else environment.get("PATH")
    program = shutil.which(argv[0], path=path)
    if program is None:
        raise Problem(f"{argv[0]}: no such program in PATH")
    done = subprocess.run(
        [program, *argv[1:]],
        input=text or "",
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=environment,
    )
    if done.returncode != 0:
        said = shortened(f"{done.stdout.strip()}\n{done.stderr.strip()}".strip())
        raise Problem(f"this command ended with status {done.returncode}:\n  {shlex.join(argv)}\n{said}")
    return done.stdout


def shortened(text: str, most: int = 2400) -> str:
    """The beginning and the end of a long text: some programs say what is wrong first, and then where they were."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}\n[…]\n{text[-most // 2 :]}"


def succeeds(argv: Sequence[str], /, seconds: float = 20) -> bool:
    """Whether argv can be run and ends with status 0 in time."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def plain_environment(path: str) -> dict[str, str]:
    """The environment of a daemon: no proxy, no locale, no setting of whoever started it."""
    return {"PATH": path, "HOME": os.path.expanduser("~"), "LC_ALL": "C.UTF-8"}
