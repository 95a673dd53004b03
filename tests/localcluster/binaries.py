"""Building programs into the cache. A program is there whole or not at all, so a killed build heals itself."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.localcluster import toolchain
from tests.localcluster.execution import run
from tests.localcluster.layout import GO_MODULES, Layout
from tests.localcluster.problem import Problem
from tests.localcluster.progress import Progress
from tests.localcluster.recipes import PAUSE_SOURCE, Recipe


def stale(recipes: Iterable[Recipe], layout: Layout) -> list[Recipe]:
    """Those recipes whose program is missing or was built from something else."""
    return [recipe for recipe in recipes if not _current(layout, recipe.program, recipe.fingerprint())]


def build(recipes: Iterable[Recipe], layout: Layout, progress: Progress) -> None:
    """Build what is missing. Takes some ten minutes on two cores the first time, nothing later."""
    missing = stale(recipes, layout)
    if not missing:
        return
    go = toolchain.go(layout, progress)
    progress.say(f"building {len(missing)} programs, once, into {layout.programs}")
    for recipe in missing:
        with progress.step(f"building {recipe.program} (about {recipe.minutes:g} min on two cores)"):
            _build_go(recipe, go, layout)


def build_pause(layout: Layout) -> None:
    """Compile pause.c, statically: it runs in images that hold nothing else."""
    fingerprint = hashlib.sha256(PAUSE_SOURCE.read_bytes()).hexdigest()[:16]
    if _current(layout, "pause", fingerprint):
        return
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Problem("a C compiler is needed for the pause program: install gcc and libc6-dev")
    unfinished = _unfinished(layout, "pause")
    run([compiler, "-O2", "-static", "-s", "-o", str(unfinished), str(PAUSE_SOURCE)])
    _install(layout, "pause", unfinished, fingerprint)


def _build_go(recipe: Recipe, go: str, layout: Layout) -> None:
    unfinished = _unfinished(layout, recipe.program)
    # Settings of a developer's own work have no say here.
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "", "GOOS": "", "GOARCH": ""}
    # A build that outlived a killed `up` would write where the next one builds.
    bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    command = [*bound, "nice", "-n", "10", *recipe.command(go, unfinished)]
    done = subprocess.run(
        command, cwd=GO_MODULES / recipe.module, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Problem(f"building {recipe.program} failed:\n{done.stderr.strip()[-3000:]}")
    _install(layout, recipe.program, unfinished, recipe.fingerprint())


def _unfinished(layout: Layout, program: str) -> Path:
    layout.programs.mkdir(parents=True, exist_ok=True)
    layout.recipes.mkdir(parents=True, exist_ok=True)
    return layout.programs / f".{program}.new"


def _install(layout: Layout, program: str, unfinished: Path, fingerprint: str) -> None:
    # The stamp goes first and comes last, so that it never vouches for another program than its own.
    (layout.recipes / program).unlink(missing_ok=True)
    unfinished.replace(layout.programs / program)
    (layout.recipes / program).write_text(fingerprint)


def _current(layout: Layout, program: str, fingerprint: str) -> bool:
    stamp = layout.recipes / program
    return (layout.programs / program).is_file() and stamp.is_file() and stamp.read_text() == fingerprint
