"""A small web server to try the cluster with: its image, and a Deployment and a Service of it."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.localcluster import archive
from tests.localcluster.addresses import NODE_NAME
from tests.localcluster.execution import run

IMAGE = "localhost/localcluster-test:1"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
CONFINED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def image(file: Path) -> Path:
    """Write the image's archive: a shell, a web server and its clients."""
    program = static_busybox().read_bytes()
    commands = {f"/bin/{name}": program for name in ("sh", "wget", "httpd", "sleep", "cat", "nslookup")}
    file.write_bytes(archive.make(IMAGE, commands, ("/bin/sleep",), "amd64"))
    return file


def static_busybox() -> Path:
    """A program that is a whole image by itself, installed unless it is there."""
    found = shutil.which("busybox")
    if found is None or subprocess.run(["ldd", found], capture_output=True).returncode == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
        run([*apt, "update"], environment=environment)
        run([*apt, "install", "busybox-static"], environment=environment)
    return Path(shutil.which("busybox") or "/bin/busybox")


def manifests(name: str, node: str = NODE_NAME) -> dict[str, object]:
    """A namespace of that name, and in it the Deployment and the Service `web`, whose pod runs on that node."""
    labels = {"app": name}
    serve = "echo serving; echo hello > /site/index.html; exec /bin/httpd -f -p 8080 -h /site"
    container = {
        "name": "web",
        "image": IMAGE,
        "command": ["/bin/sh", "-c", serve],
        "readinessProbe": {"httpGet": {"port": 8080, "path": "/index.html"}, "periodSeconds": 1},
        "securityContext": CONFINED,
        "volumeMounts": [{"name": "site", "mountPath": "/site"}],
    }
    sidecar = {
        "name": "sidecar",
        "image": IMAGE,
        "command": ["/bin/sleep", "1000000"],
        "restartPolicy": "Always",
        "securityContext": CONFINED,
    }
    nobody = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {
        "nodeSelector": {"kubernetes.io/hostname": node},
        "securityContext": nobody,
        "initContainers": [sidecar],
        "containers": [container],
        "volumes": [{"name": "site", "emptyDir": {"medium": "Memory"}}],
    }
    metadata = {"name": "web", "namespace": name}
    template = {"metadata": {"labels": labels}, "spec": pod}
    deployment = {"selector": {"matchLabels": labels}, "template": template}
    service = {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}
    items: list[dict[str, object]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}
