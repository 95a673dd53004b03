"""The project's container images: built when their sources changed, kept as archives, named by their content.

    python3 -m tests.localcluster.images build [NAME...]     make archives of what changed
    python3 -m tests.localcluster.images references          NAME and image reference, one a line
    python3 -m tests.localcluster.images push REGISTRY       push operator and pool

With Docker or Podman they are built on Debian's image; without, by buildah on a base that debootstrap makes.
Standard library only: this runs before there is any virtual environment.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.localcluster import archive, images_debian, images_engine, images_pip
from tests.localcluster.problem import Problem
from tests.localcluster.progress import Progress

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pgbouncer-operator"
PREFIX = "localhost/pgbouncer-operator"
BASE = f"localhost/pgbouncer-operator-base:{images_debian.SUITE}-{images_debian.recipe()}"
RELEASED = ("operator", "pool")
HALF_MADE = ".making-"
KEPT = 3


@dataclass(frozen=True, slots=True)
class Image:
    """What an image is made of; paths below the repository. The Containerfile's directory is always an input."""

    containerfile: str
    context: str
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Built:
    """An image's reference, and the docker-archive that holds it under that reference."""

    reference: str
    archive: Path


TREE = ("operator/images/tree.py", "operator/requirements.lock", "operator/pgbouncer_operator")
HERE = "tests/localcluster"
IMAGES = {
    "pool": Image("operator/images/pool/Containerfile", "operator", (*TREE, "operator/images/subset.py")),
    "operator": Image("operator/images/operator/Containerfile", "operator", TREE),
    "postgres": Image(f"{HERE}/images/postgres/Containerfile", f"{HERE}/images/postgres"),
    "clients": Image(f"{HERE}/images/clients/Containerfile", HERE, (f"{HERE}/load",)),
}


def references() -> dict[str, str]:
    """Image references by name: `localhost/pgbouncer-operator/pool:0.1.0-1a2b3c4d`; another content has another tag."""
    return {name: built.reference for name, built in expected().items()}


def expected() -> dict[str, Built]:
    """What the sources as they are now are, or will be once built, by name."""
    return {name: _named(name, REPOSITORY) for name in IMAGES}


def build(names: Iterable[str] = tuple(IMAGES), progress: Progress | None = None) -> dict[str, Built]:
    """Make the archives that are missing and return those of `names`; Problem says what failed and where.

    Sources may change meanwhile: what is returned is what was built, references() is what would be built now.
    """
    progress = progress or Progress()
    wanted = {name: expected()[name] for name in names}
    missing = [name for name, built in wanted.items() if not built.archive.exists()]
    if not missing:
        progress.say(f"images: nothing to do, {', '.join(wanted)} unchanged")
        return wanted
    with _only_builder():
        engine = images_engine.answering() or _buildah(progress)
        for name in missing:
            with progress.step(f"image {name}"):
                wanted[name] = _build_one(engine, name, progress)
    return wanted


def push(registry: str, tag: str | None = None) -> dict[str, str]:
    """Build operator and pool, push them under the names that the chart makes of `registry`, and return these.

    tag: instead of the version, which is the chart's default.
    """
    progress = Progress()
    released = build(RELEASED, progress)
    named = {}
    with _only_builder():
        engine = images_engine.answering() or _buildah(progress)
        for name, built in released.items():
            named[name] = f"{registry.rstrip('/')}/pgbouncer-operator/{name}:{tag or _version()}"
            with progress.step(f"pushing {named[name]}"):
                images_engine.push(engine, built.archive, built.reference, named[name])
    built_for = sorted({archive.architecture(built.archive) for built in released.values()})
    progress.say(f"pushed for {' and '.join(built_for)}: nodes of another architecture cannot run these images")
    return named


def digest(image: Image, root: Path) -> str:
    """Eight hex digits of the names, modes and bytes of the inputs below `root`, and of the base they are put on."""
    found = hashlib.sha256(images_debian.recipe().encode())
    for path in files(image, root):
        content = hashlib.sha256((root / path).read_bytes()).hexdigest()
        found.update(f"{path} {(root / path).stat().st_mode & 0o111:o} {content}\n".encode())
    return found.hexdigest()[:8]


def files(image: Image, root: Path) -> list[Path]:
    """The image's input files, relative to `root`, sorted."""
    found = set()
    for name in (str(Path(image.containerfile).parent), *image.inputs):
        start = root / name
        found |= {start} if start.is_file() else {path for path in start.rglob("*") if path.is_file()}
    return sorted(path.relative_to(root) for path in found if "__pycache__" not in path.parts)


def _named(name: str, root: Path) -> Built:
    tag = f"{_version()}-{digest(IMAGES[name], root)}"
    return Built(f"{PREFIX}/{name}:{tag}", CACHE / "images" / f"{name}-{tag}.tar")


def _build_one(engine: images_engine.Engine, name: str, progress: Progress) -> Built:
    kept = CACHE / "images"
    with tempfile.TemporaryDirectory(dir=kept, prefix=HALF_MADE) as scratch:
        # The build gets a copy, so that the tag tells what is inside even while someone edits the sources.
        root, image = Path(scratch) / "sources", IMAGES[name]
        for path in files(image, REPOSITORY):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / path, root / path)
        built = _named(name, root)
        if built.archive.exists():  # another builder was first
            return built
        arguments = {"VERSION": built.reference.rpartition(":")[2]}
        if not engine.has_registry:
            arguments["BASE"] = BASE
        what = images_engine.Build(
            reference=built.reference,
            containerfile=root / image.containerfile,
            context=root / image.context,
            arguments=arguments,
            secrets=images_pip.secrets(Path(scratch)),
        )
        images_engine.build(engine, what, kept / f"{name}.log", lambda line: progress.say(f"  {name}: {line}"))
        images_engine.save(engine, built.reference, Path(scratch) / "image.tar")
        (Path(scratch) / "image.tar").rename(built.archive)
    _drop_older(engine, name, built)
    progress.say(f"image {name}: {built.reference}, {built.archive.stat().st_size / 1e6:.0f} MB")
    return built


def _drop_older(engine: images_engine.Engine, name: str, built: Built) -> None:
    """Keep the newest archives: someone may be loading the one before."""
    by_age = sorted(built.archive.parent.glob(f"{name}-*.tar"), key=lambda path: path.stat().st_mtime)
    for path in by_age[:-KEPT]:
        path.unlink()
    images_engine.forget(engine, f"{PREFIX}/{name}", built.reference)


def _buildah(progress: Progress) -> images_engine.Engine:
    """buildah, installed if need be, with the base image in its storage."""
    images_debian.require(images_debian.PACKAGES, progress.say)
    base = images_debian.archive(CACHE, progress)
    storage = images_debian.home(CACHE) / "buildah"
    try:
        engine = images_engine.buildah(storage)
        images_engine.import_base(engine, base, BASE)
    except Problem:  # a storage that someone's kill left half-written: it can all be made again
        shutil.rmtree(storage, ignore_errors=True)
        engine = images_engine.buildah(storage)
        images_engine.import_base(engine, base, BASE)
    return engine


@contextlib.contextmanager
def _only_builder() -> Iterator[None]:
    """Hold the cache for the duration; another builder waits."""
    kept = CACHE / "images"
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in kept.glob(f"{HALF_MADE}*"):  # of a builder that was killed
            shutil.rmtree(left)
        yield


def _version() -> str:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def main(argv: list[str]) -> int:
    """The command line; 0, or 1 with what went wrong on stderr."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.localcluster.images", description="Container images.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="make archives of what changed").add_argument("names", nargs="*", metavar="NAME")
    commands.add_parser("references", help="print the image references")
    pushing = commands.add_parser("push", help="push operator and pool to a registry")
    pushing.add_argument("registry")
    pushing.add_argument("--tag", help="instead of the version")
    given = parser.parse_args(argv)
    if given.command == "build" and (unknown := sorted(set(given.names) - set(IMAGES))):
        parser.error(f"no image is named {', '.join(unknown)}: there are {', '.join(IMAGES)}")
    if given.command == "push" and not given.registry:
        parser.error("name the registry to push to: make image push REGISTRY=registry.example.com/team")
    try:
        match given.command:
            case "build":
                build(given.names or tuple(IMAGES))
            case "references":
                for name, reference in references().items():
                    print(name, reference)
            case "push":
                push(given.registry, given.tag)
    except Problem as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
