"""CoreDNS as a daemon of the node, and the Service that pods ask."""

import json
from pathlib import Path

from tests.localcluster import addresses
from tests.localcluster.daemons import Daemon
from tests.localcluster.layout import Layout

PORTS = (("dns", "UDP"), ("dns-tcp", "TCP"))


def corefile(layout: Layout) -> str:
    """The cluster's own names; any other does not exist, since no route leads out of here.

    A closing brace stands on a line of its own, or CoreDNS does not see it.
    """
    return f"""\
{addresses.DOMAIN} in-addr.arpa ip6.arpa {{
    bind {addresses.NODE}
    errors
    ready {addresses.NODE}:{addresses.DNS_READY_PORT}
    kubernetes {addresses.DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {layout.certificates}/coredns.kubeconfig
        pods insecure
        ttl 5
    }}
    cache 5
}}

. {{
    bind {addresses.NODE}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def manifests() -> str:
    """The role that CoreDNS reads with, and the Service kube-dns, whose one endpoint is the node."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "system:coredns"},
        "rules": [
            {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "system:coredns"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}],
    }
    ports = [{"name": name, "port": 53, "protocol": protocol} for name, protocol in PORTS]
    metadata = {"name": "kube-dns", "namespace": "kube-system"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**metadata, "labels": {"k8s-app": "kube-dns"}},
        "spec": {"clusterIP": addresses.DNS_SERVICE, "ports": ports},
    }
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**metadata, "labels": {"kubernetes.io/service-name": "kube-dns"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [addresses.NODE], "conditions": {"ready": True}}],
        "ports": ports,
    }
    items = [role, binding, service, slice_]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=2, sort_keys=True) + "\n"


def files(layout: Layout) -> dict[Path, str]:
    """CoreDNS' configuration."""
    return {layout.configuration / "Corefile": corefile(layout), layout.configuration / "dns.json": manifests()}


def daemon(layout: Layout) -> Daemon:
    """CoreDNS itself."""
    return Daemon("coredns", (str(layout.programs / "coredns"), "-conf", str(layout.configuration / "Corefile")))
