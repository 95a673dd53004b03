"""What the cluster sees differently from the host, so that the host's own directories and settings stay as they are."""

from collections.abc import Sequence
from pathlib import Path

from tests.localcluster.layout import Layout
from tests.localcluster.problem import Problem

# Several paths below these are fixed in kubelet, containerd and the CNI library.
PRIVATE = ("/run", "/var/log", "/var/lib")

# What kubelet sets in the kernel: setupKernelTunables in Kubernetes' pkg/kubelet/cm/container_manager_linux.go.
# It finds its values in these files instead, and so leaves the host's alone.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def check(layout: Layout) -> None:
    """Problem when the cluster could not see its own files."""
    for directory in PRIVATE:
        if layout.state.is_relative_to(directory):
            raise Problem(
                f"{layout.state} lies in {directory}, which the cluster replaces: set XDG_CACHE_HOME elsewhere"
            )


def prepare(layout: Layout) -> None:
    """Make the files and directories that `script` mounts."""
    for name, value in KERNEL_SETTINGS.items():
        file = layout.home / "sys" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value + "\n")
    (layout.home / "var-lib").mkdir(exist_ok=True)


def commands(home: Path, foreign: Sequence[str] = ()) -> Sequence[Sequence[str]]:
    """The mounts, to be made inside the cluster's mount namespace. foreign: mounts of the host's to let go of."""
    private = [
        *(["umount", "--lazy", mount] for mount in foreign),
        ["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"],
        ["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/var/log"],
        ["mount", "--bind", f"{home}/var-lib", "/var/lib"],
    ]
    return private + [
        ["mount", "--bind", f"{home}/sys/{name}", f"/proc/sys/{name}"] for name in sorted(KERNEL_SETTINGS)
    ]


def foreign(layout: Layout, table: str) -> list[str]:
    """Mounts below the cache in the text of /proc/self/mounts, innermost first.

    They belong to image builds under way, and the new mount namespace would keep them busy after their end.
    """
    points = [line.split(" ")[1] for line in table.splitlines()]
    return [point for point in reversed(points) if Path(point).is_relative_to(layout.cache)]
