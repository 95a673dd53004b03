"""Asking the cluster's own HTTP endpoints, directly: no proxy, no kubectl to start."""

import http.client
import json
import ssl
from typing import Any

from tests.localcluster import addresses
from tests.localcluster.addresses import Node
from tests.localcluster.layout import Layout


def ok(port: int, path: str, node: Node = addresses.FIRST) -> bool:
    """Whether http://<node>:<port><path> answers 200."""
    connection = http.client.HTTPConnection(node.address, port, timeout=2)
    return _get(connection, path) is not None


def api(layout: Layout, path: str) -> bytes | None:
    """What the API server answers the administrator; None for anything but 200."""
    at = layout.certificates
    try:
        context = ssl.create_default_context(cafile=str(at / "ca.crt"))
        context.load_cert_chain(at / "admin.crt", at / "admin.key")
    except OSError:
        return None
    return _get(http.client.HTTPSConnection(addresses.NODE, addresses.API_PORT, timeout=5, context=context), path)


def _get(connection: http.client.HTTPConnection, path: str) -> bytes | None:
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if answer.status == 200 else None


def node_waits_for(answer: bytes | None) -> str:
    """What keeps pods from a node, from its JSON: "" when nothing does."""
    if answer is None:
        return "the node's registration"
    node: dict[str, Any] = json.loads(answer)
    conditions = {c["type"]: c for c in node["status"].get("conditions", [])}
    ready = conditions.get("Ready", {})
    if ready.get("status") != "True":
        return "a ready node: " + str(ready.get("message", "no word from kubelet yet"))
    taints = [taint["key"] for taint in node["spec"].get("taints", [])]
    return "a node without the taints " + ", ".join(taints) if taints else ""
