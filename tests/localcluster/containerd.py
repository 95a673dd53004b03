"""containerd: its configuration, and the images in it."""

import json
import resource
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.localcluster import archive
from tests.localcluster.addresses import CLUSTER_NAME
from tests.localcluster.daemons import Daemon
from tests.localcluster.execution import run, succeeds
from tests.localcluster.layout import Layout
from tests.localcluster.network import cni_configuration
from tests.localcluster.problem import Problem
from tests.localcluster.progress import Progress

CNI_DIRECTORIES = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")  # Debian, most others, Fedora
CNI_PLUGINS = ("ptp", "host-local", "loopback")
# What pods get from containerd 2, whose unit sets no limit: systemd's soft limit. It stands in the specification of
# every container, because older containerds hand on the limit that they have raised for themselves.
SOFT_FILES = 1024
UNLIMITED = 2**20  # what a process may open where the host sets no limit
PAUSE_IMAGE = f"localhost/{CLUSTER_NAME}/pause:1"


def cni_directory() -> str | None:
    """The directory with the CNI plugins that we need."""
    for directory in CNI_DIRECTORIES:
        if all((Path(directory) / plugin).exists() for plugin in CNI_PLUGINS):
            return directory
    return None


def snapshotter(mounts: str, directory: Path) -> str:
    """overlayfs, or native where `directory` itself lies on an overlay, on which there can be no other.

    mounts: the text of /proc/self/mounts.
    """
    kinds = {Path(words[1]): words[2] for words in (line.split(" ") for line in mounts.splitlines())}
    mounted = next((kinds[path] for path in (directory, *directory.parents) if path in kinds), "")
    return "native" if mounted == "overlay" else "overlayfs"


def socket(layout: Layout) -> Path:
    """containerd's socket. Problem when its path is longer than the kernel takes."""
    path = layout.home / "containerd.sock"
    if len(str(path)) > 107:
        raise Problem(f"{path} is too long for a socket's path: set XDG_CACHE_HOME to a shorter one")
    return path


def configuration(layout: Layout, cni: str, snapshots: str) -> str:
    """config.toml. Strings of JSON are strings of TOML."""
    q = json.dumps
    return f"""\
version = 2
root = {q(str(layout.home / "containerd"))}
state = "/run/containerd"

[grpc]
  address = {q(str(socket(layout)))}

[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd-opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {q(PAUSE_IMAGE)}
  netns_mounts_under_state_dir = true
  disable_apparmor = true
  # A host may lack CAP_SYS_RESOURCE; runc then fails when it is to lower the score of a process.
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {q(cni)}
    conf_dir = {q(str(layout.configuration / "cni"))}

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = {q(snapshots)}

  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    base_runtime_spec = {q(str(layout.configuration / "container.json"))}

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""


def specification(default: str, hard: int) -> str:
    """What every container begins with: containerd's own specification, as `ctr oci spec` prints it, with our limit.

    hard: the host's hard limit of open files.
    """
    document = json.loads(default)
    most = UNLIMITED if hard == resource.RLIM_INFINITY else hard
    document["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": min(SOFT_FILES, most), "hard": most}]
    return json.dumps(document, indent=1)


def files(layout: Layout) -> dict[Path, str]:
    """Its configuration files. Problem without CNI plugins."""
    cni = cni_directory()
    if cni is None:
        raise Problem(f"no CNI plugins {', '.join(CNI_PLUGINS)} in {', '.join(CNI_DIRECTORIES)}: install them")
    snapshots = snapshotter(Path("/proc/self/mounts").read_text(), layout.home)
    return {
        layout.configuration / "containerd.toml": configuration(layout, cni, snapshots),
        layout.configuration / "container.json": specification(
            run(("ctr", "oci", "spec")), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        ),
        layout.configuration / "cni" / "10-pods.conflist": cni_configuration(layout.node),
    }


def daemon(layout: Layout) -> Daemon:
    """containerd itself."""
    program = shutil.which("containerd") or "containerd"
    return Daemon("containerd", (program, "--config", str(layout.configuration / "containerd.toml")))


def ctr(layout: Layout, *words: str) -> list[str]:
    """A ctr command on the images that kubelet sees."""
    return ["ctr", "--address", str(socket(layout)), "--namespace", "k8s.io", *words]


def waits_for(layout: Layout) -> str:
    """Whether containerd answers."""
    return "" if succeeds(ctr(layout, "version"), seconds=5) else "containerd's answer"


def import_pause(layout: Layout, architecture: str) -> None:
    """Import the pods' sandbox image: nothing but the pause program."""
    if PAUSE_IMAGE in image_names(layout):
        return
    file = layout.home / "pause.tar"
    program = (layout.programs / "pause").read_bytes()
    file.write_bytes(archive.make(PAUSE_IMAGE, {"/pause": program}, ("/pause",), architecture))
    run(ctr(layout, "images", "import", *_snapshotter_option(layout), str(file)))
    file.unlink()


def image_names(layout: Layout) -> set[str]:
    """The names of all images."""
    return set(run(ctr(layout, "images", "list", "--quiet")).split())


def load(layout: Layout, archives: Sequence[Path], progress: Progress) -> None:
    """Import archives whose content differs from what was imported under the same names."""
    record = layout.home / "images.json"
    for path in archives:
        found = archive.read(path)
        names = [archive.full_name(name) for name in found.names]
        loaded: dict[str, str] = json.loads(record.read_text()) if record.exists() else {}
        there = image_names(layout)
        if all(name in there and loaded.get(name) == found.content for name in names):
            progress.say(f"{', '.join(names)}: already loaded")
            continue
        with progress.step(f"loading {', '.join(names)}"):
            run(ctr(layout, "images", "import", *_snapshotter_option(layout), str(path)))
            for short, full in zip(found.names, names, strict=True):
                if short != full and short in image_names(layout):
                    run(ctr(layout, "images", "tag", "--force", short, full))
        record.write_text(json.dumps(loaded | dict.fromkeys(names, found.content), indent=2, sort_keys=True) + "\n")


def _snapshotter_option(layout: Layout) -> list[str]:
    return ["--snapshotter", snapshotter(Path("/proc/self/mounts").read_text(), layout.home)]
