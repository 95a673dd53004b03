"""The clients of Ruby and PHP, as Debian packages them, in a tree of a stable suite of Debian.

packages.lock of a language has a line for each package: its name, and how its version begins. A stable suite changes
the rest of it only.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.clients import matrix
from tests.clients.matrix import HERE
from tests.localcluster import images_debian
from tests.process import rootfs

SUITE = "trixie"
LANGUAGES = ("php", "ruby")
PROGRAMS = "/opt/clients"  # inside the tree


def command(root: Path, language: str, program: str) -> list[str]:
    """How a program is started inside the tree, as a user without rights."""
    return rootfs.command(f"/usr/bin/{language}", f"{PROGRAMS}/{language}/{program}", root=root)


def tree(cache: Path) -> Path:
    """Where the tree for the present lock files is, or is to be."""
    locks = "".join((HERE / each / "packages.lock").read_text(encoding="utf-8") for each in LANGUAGES)
    return cache / f"debian-{hashlib.sha256(f'{SUITE} {locks}'.encode()).hexdigest()[:12]}"


def install(root: Path, language: str) -> None:
    """Build the tree unless it is there, and copy the programs. RuntimeError: the suite has another version."""
    if not (root / ".complete").exists():
        shutil.rmtree(root, ignore_errors=True)
        images_debian.require(("debootstrap",), print)
        images_debian.bootstrap(root, SUITE)
        _packages(root)
        (root / ".complete").touch()
    shutil.copytree(HERE / language, root / PROGRAMS.lstrip("/") / language, dirs_exist_ok=True)


def _packages(root: Path) -> None:
    wanted = {name: version for language in LANGUAGES for name, version in matrix.locked(language).items()}
    # Some packages' scripts look into /proc; it is mounted for the length of one command only.
    mounted = 'mount --bind /proc "$0/proc" && root=$0 && exec chroot "$root" "$@"'
    inside = ("unshare", "--mount", "--propagation", "private", "sh", "-c", mounted, str(root))
    _run(*inside, "apt-get", "update", "-qq")
    _run(*inside, "apt-get", "install", "-y", "-qq", *wanted)
    found = dict(
        line.split()
        for line in _run(*inside, "dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *wanted).splitlines()
    )
    for name, version in wanted.items():
        if not found[name].split(":")[-1].startswith(version):
            raise RuntimeError(f"{SUITE} has {name} {found[name]}, but packages.lock says {version}: write what it has")


def _run(*argv: str) -> str:
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, env=quiet, capture_output=True, text=True)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise RuntimeError(f"{' '.join(argv)} exited with {done.returncode}:\n" + "\n".join(said))
    return done.stdout
