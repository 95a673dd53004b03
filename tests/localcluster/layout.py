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


def kubernetes_version() -> str:
    """The version that go.mod pins, such as v1.36.3."""
    text = (GO_MODULES / "kubernetes" / "go.mod").read_text()
    found = re.search(r"^require k8s\.io/kubernetes (v\S+)$", text, re.MULTILINE)
    if found is None:
        raise ValueError("tests/localcluster/go/kubernetes/go.mod: no line 'require k8s.io/kubernetes v…'")
    return found[1]


def from_environment(environment: Mapping[str, str] = os.environ) -> Layout:
    """The layout below $XDG_CACHE_HOME, else ~/.cache."""
    base = environment.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Layout(cache=Path(base) / "pgbouncer-operator", version=kubernetes_version())
