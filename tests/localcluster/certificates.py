"""One certificate authority, a certificate for each part, and the kubeconfigs that carry them."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from tests.localcluster import addresses
from tests.localcluster.addresses import Node
from tests.localcluster.execution import Run, run

DAYS = "3650"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate: file name, subject as openssl writes it, alternative names for a server's."""

    name: str
    subject: str
    names: tuple[str, ...] = ()


API_SERVER = Certificate(
    "kube-apiserver",
    "/CN=kube-apiserver",
    (
        "DNS:kubernetes",
        "DNS:kubernetes.default",
        "DNS:kubernetes.default.svc",
        f"DNS:kubernetes.default.svc.{addresses.DOMAIN}",
        "DNS:localhost",
        "IP:127.0.0.1",
        f"IP:{addresses.NODE}",
        f"IP:{addresses.KUBERNETES_SERVICE}",
    ),
)


def kubelet_server(node: Node) -> Certificate:
    """What a node's kubelet answers the API server with."""
    return Certificate(
        f"kubelet-server{node.suffix}", f"/O=system:nodes/CN=system:node:{node.name}", (f"IP:{node.address}",)
    )


def kubelet(node: Node) -> Certificate:
    """What a node's kubelet asks the API server with: the node authorizer knows it by its user."""
    return Certificate(f"kubelet{node.suffix}", f"/O=system:nodes/CN=system:node:{node.name}")


API_SERVER_TO_KUBELET = Certificate("kube-apiserver-kubelet", "/O=system:masters/CN=kube-apiserver-kubelet")

# Those with a kubeconfig. The users are the ones that Kubernetes' own roles are bound to.
CLIENTS = (
    Certificate("admin", "/O=system:masters/CN=admin"),
    Certificate("kube-controller-manager", "/CN=system:kube-controller-manager"),
    Certificate("kube-scheduler", "/CN=system:kube-scheduler"),
    Certificate("kube-proxy", "/CN=system:kube-proxy"),
    kubelet(addresses.FIRST),
    Certificate("coredns", "/CN=system:coredns"),
)


def authority_command(directory: Path) -> list[str]:
    """Make ca.crt and ca.key."""
    extensions = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    return [*_request(str(directory / "ca"), f"/CN={addresses.CLUSTER_NAME}"), *extensions]


def certificate_command(certificate: Certificate, directory: Path) -> list[str]:
    """Make one certificate, signed by the authority in `directory`. Needs OpenSSL 3."""
    usage = "serverAuth" if certificate.names else "clientAuth"
    extensions = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature",
        f"extendedKeyUsage={usage}",
    ]
    if certificate.names:
        extensions.append("subjectAltName=" + ",".join(certificate.names))
    added = [word for extension in extensions for word in ("-addext", extension)]
    signed = ["-CA", str(directory / "ca.crt"), "-CAkey", str(directory / "ca.key")]
    return [*_request(str(directory / certificate.name), certificate.subject), *signed, *added]


def token_key_command(directory: Path) -> list[str]:
    """Make the key that signs service account tokens.

    In the form "EC PRIVATE KEY": the API server finds the public half in no other.
    """
    key = str(directory / "service-accounts.key")
    return ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key]


def commands(directory: Path) -> list[list[str]]:
    """All commands, in order."""
    certificates = (API_SERVER, kubelet_server(addresses.FIRST), API_SERVER_TO_KUBELET, *CLIENTS)
    signed = [certificate_command(certificate, directory) for certificate in certificates]
    return [authority_command(directory), *signed, token_key_command(directory)]


def _request(stem: str, subject: str) -> list[str]:
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", f"{stem}.key"]
    return ["openssl", "req", "-x509", "-days", DAYS, *key, "-out", f"{stem}.crt", "-subj", subject]


def make(directory: Path, execute: Run = run) -> None:
    """Make all of them, and the kubeconfigs."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for command in commands(directory):
        execute(command)
    for client in CLIENTS:
        _write_kubeconfig(client, directory)


def make_for(node: Node, directory: Path, execute: Run = run) -> None:
    """Make those of one more node, by the authority that is there."""
    for certificate in (kubelet_server(node), kubelet(node)):
        execute(certificate_command(certificate, directory))
    _write_kubeconfig(kubelet(node), directory)


def _write_kubeconfig(client: Certificate, directory: Path) -> None:
    text = kubeconfig(*(_base64(directory / f) for f in ("ca.crt", f"{client.name}.crt", f"{client.name}.key")))
    file = directory / f"{client.name}.kubeconfig"
    file.touch(mode=0o600)
    file.write_text(text)


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def kubeconfig(authority: str, certificate: str, key: str) -> str:
    """A kubeconfig of one context, as JSON, which is YAML. All three in base64."""
    name = addresses.CLUSTER_NAME
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": addresses.API_URL, "certificate-authority-data": authority}}],
        "users": [{"name": name, "user": {"client-certificate-data": certificate, "client-key-data": key}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"
