"""The cluster by kind, where Docker or Podman answers: kind's own commands, and an audit log on the host."""

import functools
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.localcluster import archive, control_plane
from tests.localcluster.addresses import CLUSTER_NAME
from tests.localcluster.execution import Run
from tests.localcluster.layout import Layout
from tests.localcluster.problem import Problem
from tests.localcluster.progress import Progress
from tests.localcluster.waiting import until

IMAGE = "NODE_IMAGE"  # environment variable: the node's image, of another Kubernetes or from a mirror
NODE = f"{CLUSTER_NAME}-control-plane"
READY_SECONDS = 180
AUDIT_DIRECTORY = "/var/log/kubernetes-audit"  # in the node
POLICY_FILE = "/etc/kubernetes-audit-policy.json"  # in the node
PATCHES = "/etc/kubernetes-patches"  # in the node
# kubeadm reserves 650m of processor for these, which on two processors keeps pods of the tests from being placed.
STATIC_PODS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


@dataclass(frozen=True, slots=True)
class Kind:
    """kind's program, the container engine below it, the way to run both, and the cluster's files."""

    program: str
    engine: str
    layout: Layout
    run: Run
    image: str = ""
    """The node's image; empty: kind's own default."""

    def command(self, *words: str) -> list[str]:
        """One kind command on our cluster."""
        return [self.program, *words, "--name", CLUSTER_NAME]


def wanted_image(environment: Mapping[str, str]) -> str:
    """The node's image that the environment names. Problem for KUBERNETES, for which no image is known here."""
    image, minor = environment.get(IMAGE, ""), environment.get("KUBERNETES", "")
    if minor and not image:
        raise Problem(
            f"KUBERNETES={minor} is for the bare cluster. With kind, name the node's image of that version, as in "
            f"{IMAGE}=kindest/node:v{minor}.0, or set LOCALCLUSTER=bare"
        )
    return image


def environment(engine: str, current: Mapping[str, str]) -> dict[str, str]:
    """The environment for kind with this engine, docker or podman."""
    return {**current, "KIND_EXPERIMENTAL_PROVIDER": engine}


def configuration(layout: Layout) -> str:
    """kind's configuration: one node whose API server writes the audit log to the host.

    kubeadm's arguments are a map in v1beta3 and a list in v1beta4; kind applies the patch that fits its node image.
    """
    options = {"audit-policy-file": POLICY_FILE, "audit-log-path": f"{AUDIT_DIRECTORY}/{layout.audit_log.name}"}
    options["audit-log-maxsize"] = "4096"
    volumes = [
        _volume("audit-policy", POLICY_FILE, "File", read_only=True),
        _volume("audit-log", AUDIT_DIRECTORY, "DirectoryOrCreate", read_only=False),
    ]
    add_volumes = {"op": "add", "path": "/apiServer/extraVolumes", "value": volumes}
    as_map = [{"op": "add", "path": f"/apiServer/extraArgs/{k}", "value": v} for k, v in options.items()]
    as_list = [
        {"op": "add", "path": "/apiServer/extraArgs/-", "value": {"name": k, "value": v}} for k, v in options.items()
    ]
    node = {
        "role": "control-plane",
        "extraMounts": [
            {"hostPath": str(control_plane.audit_policy(layout)), "containerPath": POLICY_FILE, "readOnly": True},
            {"hostPath": str(layout.audit_log.parent), "containerPath": AUDIT_DIRECTORY},
            {"hostPath": str(_patches(layout)), "containerPath": PATCHES, "readOnly": True},
        ],
        "kubeadmConfigPatches": [json.dumps({"kind": "InitConfiguration", "patches": {"directory": PATCHES}})],
        "kubeadmConfigPatchesJSON6902": [
            _patch("v1beta3", [add_volumes, *as_map]),
            _patch("v1beta4", [add_volumes, *as_list]),
        ],
    }
    document = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": [node]}
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _volume(name: str, path: str, kind: str, *, read_only: bool) -> dict[str, object]:
    return {"name": name, "hostPath": path, "mountPath": path, "pathType": kind, "readOnly": read_only}


def _patch(version: str, operations: Sequence[Mapping[str, object]]) -> dict[str, str]:
    target = {"group": "kubeadm.k8s.io", "version": version, "kind": "ClusterConfiguration"}
    return {**target, "patch": json.dumps(operations, sort_keys=True)}


def patches() -> dict[str, str]:
    """Files for kubeadm, by name: its static pods request nothing, so that small machines have room for pods.

    https://kubernetes.io/docs/reference/setup-tools/kubeadm/kubeadm-init/, "patches".
    """
    requests = {"op": "remove", "path": "/spec/containers/0/resources/requests"}
    return {f"{each}+json.json": json.dumps([requests]) + "\n" for each in STATIC_PODS}


def exists(kind: Kind) -> bool:
    """Whether our cluster is among kind's."""
    return CLUSTER_NAME in kind.run([kind.program, "get", "clusters"]).split()


def up(kind: Kind, progress: Progress) -> None:
    """Create the cluster unless it exists, start it if its node has stopped, and write its kubeconfig."""
    layout = kind.layout
    if not exists(kind):
        _create(kind, progress)
    elif not runs(kind):
        with progress.step("starting the node, which had stopped"):
            kind.run([kind.engine, "start", NODE])
            until(functools.partial(_not_ready, kind), READY_SECONDS, pause=1.0)
    layout.kubeconfig.touch(mode=0o600)
    layout.kubeconfig.write_text(kind.run(kind.command("get", "kubeconfig")))


def _create(kind: Kind, progress: Progress) -> None:
    layout = kind.layout
    layout.audit_log.parent.mkdir(parents=True, exist_ok=True)
    _images(layout).unlink(missing_ok=True)
    written = {_patches(layout) / name: text for name, text in patches().items()}
    for path, text in {**control_plane.files(layout), **written, _file(layout): configuration(layout)}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with progress.step("kind create cluster (the first time it downloads the node's image)"):
        options = ["--config", str(_file(layout)), "--kubeconfig", str(layout.kubeconfig)]
        image = ["--image", kind.image] if kind.image else []
        kind.run(kind.command("create", "cluster", *options, "--wait", f"{READY_SECONDS}s", *image))
    # The API server is root and writes for root only; whoever called us is to read the log and to remove it.
    kind.run([kind.engine, "exec", NODE, "chmod", "-R", "a+rwX", AUDIT_DIRECTORY])


def runs(kind: Kind) -> bool:
    """Whether the node's container runs: it stops with its engine, and does not always start with it."""
    return kind.run([kind.engine, "inspect", "--format", "{{.State.Running}}", NODE]).strip() == "true"


def _not_ready(kind: Kind) -> str:
    words = ["kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "get", "nodes", "--no-headers"]
    try:
        nodes = kind.run([kind.engine, "exec", NODE, *words]).splitlines()
    except Problem as problem:
        return str(problem)
    return "" if nodes and all(each.split()[1] == "Ready" for each in nodes) else "the node is Ready"


def down(kind: Kind) -> None:
    """Delete the cluster and its files."""
    kind.run(kind.command("delete", "cluster", "--kubeconfig", str(kind.layout.kubeconfig)))
    shutil.rmtree(kind.layout.state, ignore_errors=True)


def load(kind: Kind, archives: Sequence[Path], progress: Progress) -> None:
    """Load image archives, but for those whose content was loaded before."""
    for path in archives:
        record = _images(kind.layout)
        loaded: dict[str, str] = json.loads(record.read_text()) if record.exists() else {}
        found = archive.read(path)
        if all(loaded.get(name) == found.content for name in found.names):
            progress.say(f"{', '.join(found.names)}: already loaded")
            continue
        with progress.step(f"loading {', '.join(found.names)}"):
            kind.run(kind.command("load", "image-archive", str(path)))
        record.write_text(
            json.dumps(loaded | dict.fromkeys(found.names, found.content), indent=2, sort_keys=True) + "\n"
        )


def status(kind: Kind) -> str:
    """One line on the cluster's state."""
    if not exists(kind):
        return "kind: not running"
    return "kind: running" if runs(kind) else "kind: its node has stopped; `make cluster` starts it"


def _patches(layout: Layout) -> Path:
    return layout.configuration / "kubeadm-patches"


def _images(layout: Layout) -> Path:
    return layout.state / "images.json"


def _file(layout: Layout) -> Path:
    return layout.configuration / "kind.json"
