"""Which of the machine's own kind, kubectl and helm can be used: those that are new enough. Others are built."""

import re
import shutil
import subprocess
from collections.abc import Sequence

from tests.localcluster import recipes
from tests.localcluster.layout import Layout

VERSION_OF = {"kind": ("version",), "kubectl": ("version", "--client"), "helm": ("version", "--short")}
HELM = (3, 8)  # the first that installs from OCI registries


def program(name: str, layout: Layout) -> str:
    """The machine's program if it is new enough, else the one in the cache, which may have to be built first."""
    found = shutil.which(name)
    return found if found and not lacks(name, layout) else str(layout.programs / name)


def lacks(name: str, layout: Layout) -> bool:
    """Whether the machine has no such program, or one that is too old."""
    found = shutil.which(name)
    return found is None or _version([found, *VERSION_OF[name]]) < oldest(name, layout)


def oldest(name: str, layout: Layout) -> tuple[int, ...]:
    """The oldest usable version.

    An older kind makes a cluster of an older Kubernetes by default. kubectl supports one minor more and one less than
    its own: https://kubernetes.io/releases/version-skew-policy/#kubectl.
    """
    if name == "kind":
        return numbers(recipes.required_version("kind", "sigs.k8s.io/kind"))
    if name == "helm":
        return HELM
    major, minor, *_ = numbers(layout.version)
    return (major, minor - 1)


def numbers(text: str) -> tuple[int, ...]:
    """The first version in a program's words, such as "kind v0.33.0 go1.26"; () without one."""
    found = re.search(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(each) for each in found.groups() if each is not None) if found else ()


def _version(argv: Sequence[str]) -> tuple[int, ...]:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return numbers(done.stdout) if done.returncode == 0 else ()
