"""etcd, API server, controller manager and scheduler: their command lines and configuration files."""

import json
from pathlib import Path

from tests.localcluster import addresses
from tests.localcluster.daemons import Daemon
from tests.localcluster.layout import Layout

# Every request with its user, verb and object, but no body: what RBAC is used and how often is written.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/version"]},
        {"level": "Metadata"},
    ],
}


def files(layout: Layout) -> dict[Path, str]:
    """The configuration files of the control plane."""
    return {audit_policy(layout): json.dumps(AUDIT_POLICY, indent=2, sort_keys=True) + "\n"}


def audit_policy(layout: Layout) -> Path:
    """Where the audit policy lies."""
    return layout.configuration / "audit-policy.json"


def etcd(layout: Layout) -> Daemon:
    """etcd on the loopback of the cluster's network namespace.

    It does not wait for the disk: nothing here has to outlive a crash of the machine.
    """
    options = {
        "name": addresses.CLUSTER_NAME,
        "data-dir": str(layout.state / "etcd"),
        "listen-client-urls": addresses.ETCD_URL,
        "advertise-client-urls": addresses.ETCD_URL,
        "listen-peer-urls": "http://127.0.0.1:2380",
        "log-level": "warn",
        "unsafe-no-fsync": "true",
    }
    return _daemon(layout, "etcd", options)


def api_server(layout: Layout) -> Daemon:
    """The API server. Pod Security admission is among the plugins that are on by default."""
    at = layout.certificates
    options = {
        "etcd-servers": addresses.ETCD_URL,
        "advertise-address": addresses.NODE,
        "secure-port": str(addresses.API_PORT),
        "service-cluster-ip-range": addresses.SERVICES,
        "tls-cert-file": f"{at}/kube-apiserver.crt",
        "tls-private-key-file": f"{at}/kube-apiserver.key",
        "client-ca-file": f"{at}/ca.crt",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "service-account-issuer": f"https://kubernetes.default.svc.{addresses.DOMAIN}",
        "service-account-key-file": f"{at}/service-accounts.key",
        "service-account-signing-key-file": f"{at}/service-accounts.key",
        "kubelet-certificate-authority": f"{at}/ca.crt",
        "kubelet-client-certificate": f"{at}/kube-apiserver-kubelet.crt",
        "kubelet-client-key": f"{at}/kube-apiserver-kubelet.key",
        "kubelet-preferred-address-types": "InternalIP",
        "audit-policy-file": str(audit_policy(layout)),
        "audit-log-path": str(layout.audit_log),
        "audit-log-maxsize": "4096",  # megabytes: a reader is not to lose a line to rotation
    }
    return _daemon(layout, "kube-apiserver", options)


def controller_manager(layout: Layout) -> Daemon:
    """The controller manager. It ends when the API server is not ready yet."""
    options = {
        **_configured_for("kube-controller-manager", layout),
        "root-ca-file": f"{layout.certificates}/ca.crt",
        "service-account-private-key-file": f"{layout.certificates}/service-accounts.key",
        "cluster-signing-cert-file": f"{layout.certificates}/ca.crt",
        "cluster-signing-key-file": f"{layout.certificates}/ca.key",
        "use-service-account-credentials": "true",
        "flex-volume-plugin-dir": "/var/lib/kubelet-plugins",
        # By default 5 s and 20 requests a second: so long would a ready node, and each controller's start, wait.
        "node-monitor-period": "1s",
        "kube-api-qps": "200",
        "kube-api-burst": "400",
    }
    return _daemon(layout, "kube-controller-manager", options)


def scheduler(layout: Layout) -> Daemon:
    """The scheduler."""
    return _daemon(layout, "kube-scheduler", _configured_for("kube-scheduler", layout))


def _configured_for(name: str, layout: Layout) -> dict[str, str]:
    file = f"{layout.certificates}/{name}.kubeconfig"
    return {
        "kubeconfig": file,
        "authentication-kubeconfig": file,
        "authorization-kubeconfig": file,
        "bind-address": "127.0.0.1",
        "leader-elect": "false",  # there is but one
    }


def _daemon(layout: Layout, name: str, options: dict[str, str]) -> Daemon:
    words = (f"--{option}={value}" for option, value in sorted(options.items()))
    return Daemon(name, (str(layout.programs / name), *words))
