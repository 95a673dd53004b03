"""The agent's HTTP server: /state for the operator, /metrics for Prometheus, /livez and /startupz for kubelet."""

import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

from pgbouncer_operator.agent import metrics
from pgbouncer_operator.agent.console import Shown
from pgbouncer_operator.agent.draining import DrainResult
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.protocol.state import AgentState

_POLL_SECONDS = 86400.0  # of serve_forever for a shutdown; the server ends with its process
_TEXT = "text/plain; charset=utf-8"


class Source(Protocol):
    """What the server reads: the worker."""

    settings: AgentSettings

    @property
    def ready(self) -> bool:
        """Whether the first configuration is installed."""

    @property
    def drained(self) -> DrainResult | None:
        """What became of the clients of a drain; None when the pod does not drain."""

    @property
    def login_failures(self) -> Mapping[str, int]:
        """Tests of a login to PostgreSQL that failed since the worker started, by reason."""

    def state(self) -> AgentState:
        """The document of /state. Returns soon, whether or not PgBouncer answers."""

    def shown(self) -> Shown | None:
        """What PgBouncer shows now; None when it does not answer within console.ANSWER_SECONDS."""


def serve(source: Source) -> ThreadingHTTPServer:
    """Serve on every address in other threads; returns at once. Raises OSError when the port is taken."""
    handler = type("Handler", (_Handler,), {"source": source})
    server = _Server(("", source.settings.http_port), handler)
    threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), name="http", daemon=True).start()
    return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def server_bind(self) -> None:
        """Bind for IPv4 and IPv6: a pod may have only one of them."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class _Handler(BaseHTTPRequestHandler):
    source: Source
    timeout = 10.0

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/state":
                self._answer(200, "application/json", self.source.state().to_json())
            case "/metrics":
                source = self.source
                text = metrics.render(source.shown(), source.state(), source.drained, source.login_failures)
                self._answer(200, metrics.CONTENT_TYPE, text)
            case "/livez":
                self._answer(200, _TEXT, "ok\n")
            case "/startupz" if self.source.ready:
                self._answer(200, _TEXT, "ok\n")
            case "/startupz":
                problems = "".join(f"{each.reason}: {each.message}\n" for each in self.source.state().problems)
                self._answer(503, _TEXT, f"no configuration is installed yet\n{problems}")
            case _:
                self._answer(404, _TEXT, "not found: the paths are /state, /metrics, /livez and /startupz\n")

    def _answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        """Log nothing: kubelet and Prometheus ask every few seconds."""
