"""The programs of the system that the bare cluster needs, and their Debian packages."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.localcluster.containerd import cni_directory
from tests.localcluster.execution import run
from tests.localcluster.layout import Layout
from tests.localcluster.problem import Problem
from tests.localcluster.progress import Progress

# program → the Debian package that brings it
PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "ip": "iproute2",
    "openssl": "openssl",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setsid": "util-linux",
    "mount": "mount",
    "sysctl": "procps",
}
POLICY = Path("/usr/sbin/policy-rc.d")


def missing(layout: Layout) -> list[str]:
    """Debian packages that have yet to be installed, sorted."""
    wanted = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    if cni_directory() is None:
        wanted.add("containernetworking-plugins")
    if not (layout.recipes / "pause").exists() and not _static_compiler():
        wanted |= {"gcc", "libc6-dev"}
    return sorted(wanted)


def _static_compiler() -> bool:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return False
    asked = subprocess.run([compiler, "-print-file-name=libc.a"], capture_output=True, text=True, check=False)
    return Path(asked.stdout.strip()).is_absolute()  # gcc repeats the bare name of a file that it cannot find


def install(layout: Layout, progress: Progress) -> None:
    """Install what is missing with apt-get; Problem where there is none."""
    wanted = missing(layout)
    if not wanted:
        return
    if shutil.which("apt-get") is None:
        raise Problem(f"install what these Debian packages hold, there is no apt-get here: {' '.join(wanted)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with progress.step(f"apt-get install {' '.join(wanted)}"), no_services_started(POLICY):
        apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]  # seconds, for another that is at it
        run([*apt, "update"], environment=environment)
        run([*apt, "install", "-y", "--no-install-recommends", *wanted], environment=environment)
    if still := missing(layout):
        raise Problem(f"still missing after their installation: {' '.join(still)}")


@contextmanager
def no_services_started(policy: Path) -> Iterator[None]:
    """Keep Debian from starting what it installs: containerd's package starts one for the whole machine, we our own."""
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")  # 101: forbidden by policy, see invoke-rc.d(8)
        policy.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            policy.unlink(missing_ok=True)
