"""How each program is built: from which module of ours, which package, with which linker flags.

Every module lies in go/ with its go.sum, so that the same sources are built everywhere and nothing is resolved anew.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tests.localcluster.layout import GO_MODULES, kubernetes_versions

PAUSE_SOURCE = Path(__file__).parent / "pause.c"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One Go program: its name, its module's directory below go/, its package, -X settings, about how long it takes."""

    program: str
    module: str
    package: str
    settings: tuple[tuple[str, str], ...] = ()
    minutes: float = 1

    def command(self, go: str, output: Path) -> list[str]:
        """The build command, to be run in the module's directory."""
        flags = " ".join(("-s", "-w", *(f"-X {name}={value}" for name, value in self.settings)))
        options = ["-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", flags, "-o", str(output)]
        return [go, "build", *options, self.package]

    def fingerprint(self) -> str:
        """Changes when anything changes that the program is built from, but for the Go toolchain."""
        digest = hashlib.sha256("\0".join(self.command("go", Path("out"))).encode())
        for file in sorted((GO_MODULES / self.module).iterdir()):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
        return digest.hexdigest()[:16]


def _kubernetes(program: str, version: str, minutes: float) -> Recipe:
    # What `kubectl version` and a node's status show; hack/lib/version.sh of Kubernetes sets the same variables.
    major, minor, _ = version.removeprefix("v").split(".", 2)
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    settings = tuple((f"k8s.io/component-base/version.{name}", value) for name, value in values.items())
    return Recipe(program, kubernetes_versions()[version], f"k8s.io/kubernetes/cmd/{program}", settings, minutes)


def clients(version: str) -> tuple[Recipe, ...]:
    """What a person or a test types: needed by both backends."""
    return (
        _kubernetes("kubectl", version, 1),
        Recipe("helm", "helm", "helm.sh/helm/v4/cmd/helm", (_helm_version("helm", "helm.sh/helm/v4"),), 3),
    )


def servers(version: str) -> tuple[Recipe, ...]:
    """What runs the cluster."""
    return (
        Recipe("etcd", "etcd", "."),
        _kubernetes("kube-apiserver", version, 4),
        _kubernetes("kube-controller-manager", version, 2),
        _kubernetes("kubelet", version, 1),
        _kubernetes("kube-proxy", version, 0.5),
        _kubernetes("kube-scheduler", version, 0.5),
        Recipe("coredns", "coredns", "."),
    )


def helm3() -> Recipe:
    """Helm 3, which the chart's tests use beside Helm 4. Optional."""
    return Recipe("helm3", "helm3", "helm.sh/helm/v3/cmd/helm", (_helm_version("helm3", "helm.sh/helm/v3"),), 3)


def actionlint() -> Recipe:
    """actionlint, which checks .github/workflows. Optional."""
    return Recipe("actionlint", "actionlint", "github.com/rhysd/actionlint/cmd/actionlint", (), 0.5)


def kind() -> Recipe:
    """kind, when a container engine answers but kind itself is not installed."""
    return Recipe("kind", "kind", "sigs.k8s.io/kind", (), 0.5)


def _helm_version(module: str, path: str) -> tuple[str, str]:
    return (f"{path}/internal/version.version", required_version(module, path))


def required_version(module: str, path: str) -> str:
    """The version at which the module in go/<module> requires `path`."""
    for line in (GO_MODULES / module / "go.mod").read_text().splitlines():
        words = line.removeprefix("require ").split()
        if words[:1] == [path]:
            return words[1]
    raise ValueError(f"tests/localcluster/go/{module}/go.mod: no requirement of {path}")
