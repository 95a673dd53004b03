"""Renders the chart as Helm does, for the tests of the chart."""

import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.localcluster import layout

CHART = Path(__file__).parents[2] / "charts" / "pgbouncer-operator"
RELEASE, NAMESPACE = "pgbouncer-operator", "operators"
# A Helm that is built from source takes an old Kubernetes for granted when it talks to none.
KUBERNETES = "1.36.0"
MAJORS = ("4", "3")

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What Helm said: objects of the chart's manifests, and the error's text if it refused."""

    objects: tuple[Object, ...]
    error: str

    def kind(self, kind: str) -> list[Object]:
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind: str, name: str = RELEASE) -> Object:
        found = [each for each in self.kind(kind) if each["metadata"]["name"] == name]
        assert len(found) == 1, f"{len(found)} objects {kind}/{name}, not one"
        return found[0]


@functools.cache
def program(major: str) -> str | None:
    """Helm of that major version: the local cluster's own build, else one on PATH."""
    built = layout.from_environment().programs / ("helm" if major == "4" else f"helm{major}")
    for candidate in (str(built), *(filter(None, (shutil.which("helm"), shutil.which(f"helm{major}"))))):
        if os.access(candidate, os.X_OK):
            said = subprocess.run([candidate, "version", "--template", "{{.Version}}"], capture_output=True, text=True)
            if re.match(rf"v{major}\.", said.stdout):
                return candidate
    return None


def helm(*arguments: str, major: str = "4") -> subprocess.CompletedProcess[str]:
    """Run Helm without any cluster; skip the test where there is no Helm."""
    found = program(major)
    if found is None:
        pytest.skip(f"needs Helm {major}: `python3 -m tests.localcluster build` builds it, or put it on PATH")
    environment = {**os.environ, "KUBECONFIG": os.devnull}
    return subprocess.run([found, *arguments], capture_output=True, text=True, env=environment, timeout=60)


def rendered(*values: str, major: str = "4", chart: Path = CHART, kubernetes: str = KUBERNETES) -> Answer:
    """The chart's objects with these `--set` values (JSON ones as `key:={"a": 1}`), or Helm's refusal."""
    return _rendered(values, major, chart, kubernetes)


@functools.cache
def _rendered(values: tuple[str, ...], major: str, chart: Path, kubernetes: str) -> Answer:
    command = ["template", RELEASE, str(chart), "--namespace", NAMESPACE, "--kube-version", kubernetes]
    for value in values:
        key, json, text = value.partition(":=")
        command += ["--set-json", f"{key}={text}"] if json else ["--set", value]
    said = helm(*command, major=major)
    if said.returncode:
        return Answer((), said.stderr)
    return Answer(tuple(each for each in yaml.load_all(said.stdout, yaml.CSafeLoader) if each), "")


def notes(*values: str) -> str:
    """What `helm install` prints at the end."""
    settings = [word for value in values for word in ("--set", value)]
    said = helm("install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--dry-run=client", *settings)
    assert said.returncode == 0, said.stderr
    return said.stdout.partition("\nNOTES:\n")[2]


def granted(answer: Answer, kind: str = "ClusterRole", name: str = RELEASE) -> dict[str, set[str]]:
    """A role as a table: `group/resource` (or `resource` of the core group) to verbs."""
    table: dict[str, set[str]] = {}
    for rule in answer.one(kind, name)["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                table.setdefault(f"{group}/{resource}".removeprefix("/"), set()).update(rule["verbs"])
    return table


def pod(answer: Answer) -> Object:
    """The spec of the operator's pods."""
    spec: Object = answer.one("Deployment")["spec"]["template"]["spec"]
    return spec


def environment(answer: Answer) -> dict[str, str]:
    """The operator's environment; what the pod's own fields give stands as `<metadata.name>`."""
    (container,) = pod(answer)["containers"]
    return {
        each["name"]: each["value"] if "value" in each else f"<{each['valueFrom']['fieldRef']['fieldPath']}>"
        for each in container["env"]
    }


def unrestricted(spec: Object) -> list[str]:
    """What the restricted profile of Kubernetes' Pod Security Standards forbids in a pod's spec.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/
    """
    wide = spec.get("securityContext", {})
    faults = [f"{key} is true" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    allowed = {
        "name",
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    for volume in spec.get("volumes", []):
        faults += [f"volume {volume['name']}: {kind}" for kind in set(volume) - allowed]
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        own = container.get("securityContext", {})
        if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
            faults.append(f"{container['name']}: may gain privileges")
        capabilities = own.get("capabilities", {})
        if capabilities.get("drop") != ["ALL"] or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            faults.append(f"{container['name']}: has capabilities")
        if not own.get("runAsNonRoot", wide.get("runAsNonRoot")) or own.get("runAsUser", wide.get("runAsUser")) == 0:
            faults.append(f"{container['name']}: may be root")
        seccomp = own.get("seccompProfile", wide.get("seccompProfile", {})).get("type")
        if seccomp not in {"RuntimeDefault", "Localhost"}:
            faults.append(f"{container['name']}: has no seccomp profile")
        faults += [f"{container['name']}: hostPort" for port in container.get("ports", []) if port.get("hostPort")]
    return faults
