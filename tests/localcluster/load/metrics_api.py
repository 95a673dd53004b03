"""The metrics API of Kubernetes with figures from standard input, for tests of autoscalers.

    python3 -m load.metrics_api --certificate tls.crt --key tls.key --container pgbouncer

Each line of input is all pods of one namespace with the processor time that the container uses, in thousandths of a
core: {"shop-0": 600, "shop-1": 580}. It answers with one line of JSON, {"pods": 2}, once that is what it tells. The end
of standard input ends it.
"""

import argparse
import json
import ssl
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
ROOT = f"/apis/{GROUP}/{VERSION}"
RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": f"{GROUP}/{VERSION}",
    "resources": [{"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["list"]}],
}


@dataclass(slots=True)
class Figures:
    """What is told now."""

    container: str
    used: Mapping[str, int] = field(default_factory=dict)

    def answer(self, path: str, now: datetime) -> dict[str, Any] | None:
        """The document at a path; None where there is none. now: when the figures were measured."""
        if path == ROOT:
            return RESOURCES
        words = path.removeprefix(f"{ROOT}/").split("/")
        if not path.startswith(f"{ROOT}/") or words[0] != "namespaces" or words[2:] != ["pods"]:
            return None
        items = [
            {
                "metadata": {"name": name, "namespace": words[1]},
                "timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "window": "1s",
                "containers": [{"name": self.container, "usage": {"cpu": f"{used}m", "memory": "64Mi"}}],
            }
            for name, used in sorted(self.used.items())
        ]
        return {"kind": "PodMetricsList", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}, "items": items}


def handler(figures: Figures) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found = figures.answer(self.path.partition("?")[0].rstrip("/"), datetime.now(UTC))
            body = json.dumps(found).encode() if found else b"404 page not found\n"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json" if found else "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: it is asked every few seconds."""

    return Handler


class Server(ThreadingHTTPServer):
    """One whose handshakes hold up nobody else."""

    def __init__(self, port: int, figures: Figures, context: ssl.SSLContext) -> None:
        self.context = context
        super().__init__(("", port), handler(figures))

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: who went away in the middle asks again."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--container", default="pgbouncer")
    given = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(given.certificate, given.key)
    figures = Figures(given.container)
    server = Server(given.port, figures, context)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for line in sys.stdin:
        figures.used = json.loads(line)
        print(json.dumps({"pods": len(figures.used)}), flush=True)
    server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
