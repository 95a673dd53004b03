"""Builds, saves and pushes images with Docker, Podman or, where no engine answers, buildah. Standard library only."""

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.localcluster.backend import CHOICE, ENGINES, Answers, engine_answers
from tests.localcluster.execution import run, succeeds
from tests.localcluster.problem import Problem

Say = Callable[[str], None]
STEP = " RUN "  # in the line by which each of the three says that it runs a command of a Containerfile


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that builds images; `options` go before its command: storage of our own for buildah."""

    program: str
    options: tuple[str, ...] = ()

    def argv(self, *words: str) -> list[str]:
        """The command line for `words`."""
        return [self.program, *self.options, *words]

    @property
    def has_registry(self) -> bool:
        """Whether it can be expected to pull a base image; buildah is used where nothing can."""
        return self.program != "buildah"


@dataclass(frozen=True, slots=True)
class Build:
    """One image to make: its name with tag, Containerfile, context, ARGs, and secrets by id."""

    reference: str
    containerfile: Path
    context: Path
    arguments: Mapping[str, str]
    secrets: Mapping[str, Path]


def answering(environment: Mapping[str, str] = os.environ, answers: Answers = engine_answers) -> Engine | None:
    """Docker or Podman, if its engine answers; only the one that LOCALCLUSTER names, if it names one."""
    wish = environment.get(CHOICE, "")
    for program in (wish,) if wish in ENGINES else ENGINES:
        if answers(program):
            return Engine(program)
    return None


def buildah(storage: Path) -> Engine:
    """buildah with its storage in a directory of ours."""
    places = ("--root", str(storage / "root"), "--runroot", str(storage / "run"))
    for driver in ("overlay", "vfs"):  # vfs copies whole trees, but works on every file system
        engine = Engine("buildah", (*places, "--storage-driver", driver))
        if succeeds(engine.argv("images")):
            return engine
    raise Problem(f"buildah can keep no images in {storage}: see `buildah --root {storage}/root images`")


def build(engine: Engine, what: Build, log: Path, say: Say) -> None:
    """Make the image; its output goes to `log`. Problem with the last lines when it fails."""
    words = ["build", "--file", str(what.containerfile), "--tag", what.reference]
    if not engine.has_registry:
        # No daemon and no cgroups of our own are needed; layers are kept so that a small change is a small build.
        words += ["--isolation", "chroot", "--network", "host", "--layers", "--pull-never", "--format", "docker"]
    for name, value in sorted(what.arguments.items()):
        words += ["--build-arg", f"{name}={value}"]
    for name, path in sorted(what.secrets.items()):
        words += ["--secret", f"id={name},src={path}"]
    _stream(engine.argv(*words, str(what.context)), log, say)


def save(engine: Engine, reference: str, archive: Path) -> None:
    """Write the image to a docker-archive, which `ctr images import`, `docker load` and kind read."""
    if engine.program == "buildah":
        run(engine.argv("push", "--quiet", reference, f"docker-archive:{archive}:{reference}"))
    elif engine.program == "podman":
        run(engine.argv("save", "--quiet", "--format", "docker-archive", "--output", str(archive), reference))
    else:
        run(engine.argv("save", "--output", str(archive), reference))


def push(engine: Engine, archive: Path, reference: str, target: str) -> None:
    """Push the archive's image `reference` to a registry as `target`."""
    if engine.program == "buildah":
        run(engine.argv("pull", "--quiet", f"docker-archive:{archive}"))
        run(engine.argv("push", "--quiet", reference, f"docker://{target}"))
        return
    run(engine.argv("load", "--quiet", "--input", str(archive)))
    run(engine.argv("tag", reference, target))
    run(engine.argv("push", target))


def import_base(engine: Engine, archive: Path, reference: str) -> None:
    """Make an image of a root file system's tar archive, unless buildah has it."""
    if succeeds(engine.argv("inspect", "--type", "image", reference)):
        return
    container = run(engine.argv("from", "--pull-never", "scratch")).strip()
    run(engine.argv("add", "--quiet", container, str(archive), "/"))
    run(engine.argv("config", "--cmd", "/bin/sh", container))
    run(engine.argv("commit", "--quiet", "--rm", "--format", "docker", container, reference))


def forget(engine: Engine, repository: str, keep: str) -> None:
    """Drop buildah's older images of `repository`, and containers that an interrupted build left."""
    if engine.program != "buildah":
        return
    succeeds(engine.argv("rm", "--all"))
    for name in run(engine.argv("images", "--format", "{{.Name}}:{{.Tag}}")).splitlines():
        if name.startswith(f"{repository}:") and name != keep:
            succeeds(engine.argv("rmi", name))


def _environment() -> dict[str, str]:
    return {**os.environ, "DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"}


def _stream(argv: list[str], log: Path, say: Say) -> None:
    """Run the program, telling its steps as they come and keeping every line."""
    with (
        log.open("w", encoding="utf-8") as kept,
        subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=_environment()
        ) as running,
    ):
        assert running.stdout is not None
        for line in running.stdout:
            kept.write(line)
            if STEP in line:
                say(line.strip()[:100])
    if running.returncode != 0:
        last = "\n".join(log.read_text(encoding="utf-8").splitlines()[-25:])
        raise Problem(f"{argv[0]} could not build the image; all of its output is in {log}:\n{last}")
