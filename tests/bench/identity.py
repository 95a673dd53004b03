"""Identities that the audit log tells apart: a service account with every right, and a kubeconfig for it."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.localcluster.execution import run

NAMESPACE = "bench"


def kubeconfig(env: Mapping[str, str], name: str) -> tuple[Path, str]:
    """A kubeconfig of the service account `bench:NAME`, made if need be, and its name in the audit log."""
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"{NAMESPACE}-{name}"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}],
        },
    ]
    run(
        ["kubectl", "apply", "-f", "-"],
        text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}),
        environment=env,
    )
    token = run(["kubectl", "create", "token", name, "-n", NAMESPACE, "--duration=2h"], environment=env).strip()
    config = json.loads(run(["kubectl", "config", "view", "--raw", "-o", "json"], environment=env))
    config["users"] = [{"name": name, "user": {"token": token}}]
    config["contexts"] = [{"name": name, "context": {"cluster": config["clusters"][0]["name"], "user": name}}]
    config["current-context"] = name
    path = Path(tempfile.mkdtemp(prefix="bench-")) / "kubeconfig"
    path.write_text(json.dumps(config), encoding="utf-8")
    path.chmod(0o600)
    return path, f"system:serviceaccount:{NAMESPACE}:{name}"
