"""A Debian base image without a registry: debootstrap's tree as a tar archive in the cache. Standard library only."""

import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.localcluster.execution import run
from tests.localcluster.problem import Problem
from tests.localcluster.progress import Progress

SUITE = "forky"
GENERATION = 1  # raise it when bootstrap() makes another tree in a way that the constants here do not show
PACKAGES = ("debootstrap", "buildah")
# Files a container never reads, and settings that only a tree built here needs.
SETTINGS = {
    # A mirror may lag behind a suite that still moves; packages are signed all the same.
    "etc/apt/apt.conf.d/90unexpired": 'Acquire::Check-Valid-Until "false";\n',
    "etc/apt/apt.conf.d/90lean": 'APT::Install-Recommends "false";\nAcquire::Languages "none";\n',
    "etc/dpkg/dpkg.cfg.d/90lean": (
        "force-unsafe-io\n"
        "path-exclude=/usr/share/doc/*\npath-include=/usr/share/doc/*/copyright\n"
        "path-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\npath-exclude=/usr/share/info/*\n"
    ),
}
EMPTIED = ("var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/man", "usr/share/locale", "usr/share/info")


def recipe() -> str:
    """Eight hex digits that change when another base would come out."""
    return hashlib.sha256(repr((GENERATION, SUITE, sorted(SETTINGS.items()), EMPTIED)).encode()).hexdigest()[:8]


def home(cache: Path) -> Path:
    """The directory below `cache` for this base and for all that is derived from it."""
    return cache / f"base-{SUITE}-{recipe()}"


def archive(cache: Path, progress: Progress) -> Path:
    """The base's tar archive, made if it is not in `cache`; Problem says what is missing."""
    found = home(cache) / "rootfs.tar"
    if found.exists():
        return found
    for left in cache.glob("base-*"):  # of other recipes, or of a builder that was killed
        shutil.rmtree(left, ignore_errors=True)
    found.parent.mkdir(parents=True)
    with (
        progress.step(f"Debian {SUITE} as the images' base"),
        tempfile.TemporaryDirectory(dir=found.parent) as scratch,
    ):
        tree, made = Path(scratch) / "tree", Path(scratch) / "rootfs.tar"
        bootstrap(tree)
        with tarfile.open(made, "w") as tar:
            tar.add(tree, arcname=".", filter=_portable)
        made.rename(found)
    return found


def bootstrap(tree: Path, suite: str = SUITE) -> None:
    """A minimal `suite` in the directory `tree`, with apt set up to use the mirror that this machine uses."""
    # A stable debootstrap does not know younger suites by name; all of them are built as sid is.
    script = "/usr/share/debootstrap/scripts/sid"
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    minimal = ("--variant=minbase", "--include=ca-certificates")
    private = ("unshare", "--mount", "--propagation", "private")  # its mounts end with it, even if it is killed
    run([*private, "debootstrap", *minimal, suite, str(tree), mirror(), script], environment=quiet)
    for name, text in SETTINGS.items():
        (tree / name).write_text(text, encoding="utf-8")
    for entry in _unread(tree):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _unread(tree: Path) -> list[Path]:
    """What nobody reads in a container: documents but for licences, manuals, translations, logs, apt's lists."""
    packages = [path for path in (tree / "usr/share/doc").iterdir() if not path.is_symlink()]
    documents = [path for package in packages for path in package.iterdir() if path.name != "copyright"]
    return documents + [path for name in EMPTIED for path in (tree / name).iterdir()]


def require(programs: tuple[str, ...], say: Callable[[str], None]) -> None:
    """Install by apt those of `programs` that are not there; Problem where that is not possible."""
    absent = [program for program in programs if shutil.which(program) is None]
    if not absent:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Problem(f"no container engine answers: start Docker or Podman (or, as root, install {absent})")
    say(f"installing {' '.join(absent)} by apt")
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-q"]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run([*apt, "update"], environment=quiet)
    run([*apt, "install", "-y", "--no-install-recommends", *absent], environment=quiet)


def mirror() -> str:
    """The address of the Debian archive that this machine's apt uses, or DEBIAN_MIRROR."""
    if configured := os.environ.get("DEBIAN_MIRROR"):
        return configured
    for line in run(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)"]).splitlines():
        origin, label, address = line.split("|", 2)
        if origin == label == "Debian":
            return address
    raise Problem("apt knows no Debian archive: set DEBIAN_MIRROR to a mirror's address")


def _portable(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Everything but device files: a container gets its own."""
    return None if entry.ischr() or entry.isblk() else entry
