"""Where the cluster's files are."""

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.localcluster import addresses
from tests.localcluster.addresses import Node
from tests.localcluster.problem import Problem

GO_MODULES = Path(__file__).parent / "go"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below one cache directory: built programs, which stay, and the cluster's state, which goes.

    A node's own files are in `home`, `configuration` and `logs`; everything else is the cluster's, for every node.
    """

    cache: Path
    version: str
    node: Node = addresses.FIRST

    def of(self, node: Node) -> "Layout":
        """The same for another node."""
        return dataclasses.replace(self, node=node)

    @property
    def programs(self) -> Path:
        """Built programs; goes in front of PATH."""
        return self.cache / self.version / "bin"

    @property
    def recipes(self) -> Path:
        """One file for each built program: the hash of what it was built from."""
        return self.cache / self.version / "recipes"

    @property
    def lock(self) -> Path:
        """Held by the one command that may change the cluster."""
        return self.cache / "lock"

    @property
    def state(self) -> Path:
        """All that belongs to the running cluster; removed by `down`."""
        return self.cache / "cluster"

    @property
    def home(self) -> Path:
        """All that belongs to the node; the first one's is the cluster's."""
        return self.state / "nodes" / self.node.name if self.node.suffix else self.state

    @property
    def certificates(self) -> Path:
        """Certificates, keys and kubeconfigs."""
        return self.state / "certificates"

    @property
    def configuration(self) -> Path:
        """Configuration files of the node's daemons."""
        return self.home / "configuration"

    @property
    def logs(self) -> Path:
        """One log for each daemon, and the audit log."""
        return self.home / "logs"

    @property
    def cgroup(self) -> str:
        """The name of the node's cgroup, another for each cache directory; the first node's holds the others."""
        name = f"pgbouncer-operator-{hashlib.sha256(bytes(self.cache)).hexdigest()[:8]}"
        return f"{name}/{self.node.name}" if self.node.suffix else name

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.state / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON event a line."""
        return self.state / "logs" / "audit" / "audit.log"


def kubernetes_versions() -> dict[str, str]:
    """The versions that can be built, such as v1.36.3, each with its Go module's directory; the default is the first.

    ValueError names a go.mod that pins none.
    """
    modules = ("kubernetes", *sorted(each.name for each in GO_MODULES.glob("kubernetes-*")))
    return {_pinned(module): module for module in modules}


def _pinned(module: str) -> str:
    text = (GO_MODULES / module / "go.mod").read_text()
    found = re.search(r"^require k8s\.io/kubernetes (v\S+)$", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"tests/localcluster/go/{module}/go.mod: no line 'require k8s.io/kubernetes v…'")
    return found[1]


def kubernetes_version(minor: str = "") -> str:
    """The version of a minor such as "1.33", by default the one that the tests run. Problem for a minor without one."""
    versions = kubernetes_versions()
    for version in versions:
        if not minor or version.startswith(f"v{minor}."):
            return version
    known = ", ".join(sorted(version.removeprefix("v").rpartition(".")[0] for version in versions))
    raise Problem(f"KUBERNETES={minor} cannot be built: choose one of {known}, or leave it out")


def from_environment(environment: Mapping[str, str] = os.environ) -> Layout:
    """The layout below $XDG_CACHE_HOME, else ~/.cache, with the Kubernetes version that $KUBERNETES names."""
    base = environment.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Layout(Path(base) / "pgbouncer-operator", kubernetes_version(environment.get("KUBERNETES", "")))
