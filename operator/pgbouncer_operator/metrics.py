"""The operator's own metrics, in a registry of their own."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from pgbouncer_operator.kube.transport import Call

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """Counts requests and reconciles; `queue_length` and `leader` are set by the process that knows."""

    def __init__(self) -> None:
        """Start from zero."""
        self.registry = CollectorRegistry()
        registry, space = self.registry, "pgbouncer_operator"
        self._requests = Counter(
            "api_requests",
            "Requests to the API server; code 0: no answer.",
            ("verb", "resource", "code"),
            namespace=space,
            registry=registry,
        )
        self._request_seconds = Histogram(
            "api_request_seconds",
            "Duration of requests to the API server.",
            ("verb",),
            buckets=SECONDS,
            namespace=space,
            registry=registry,
        )
        self._reconciles = Counter(
            "reconciles", "Reconciles by result.", ("result",), namespace=space, registry=registry
        )
        self._reconcile_seconds = Histogram(
            "reconcile_seconds", "Duration of reconciles.", buckets=SECONDS, namespace=space, registry=registry
        )
        self.queue_length = Gauge(
            "queue_length", "Pools that wait for a reconcile.", namespace=space, registry=registry
        )
        self.pools = Gauge("pools", "Pools known.", namespace=space, registry=registry)
        self.leader = Gauge("leader", "1 while this process leads.", namespace=space, registry=registry)
        self.registry.register(_Process())

    def called(self, call: Call) -> None:
        """Count one request."""
        self._requests.labels(call.verb, call.plural, str(call.code)).inc()
        self._request_seconds.labels(call.verb).observe(call.seconds)

    def reconciled(self, key: object, seconds: float, error: Exception | None) -> None:
        """Count one reconcile. Pools are no label: there may be thousands."""
        del key
        self._reconciles.labels("failed" if error else "done").inc()
        self._reconcile_seconds.observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Process(Collector):
    """CPU, memory and file descriptors of this process, without prometheus_client's global registry."""

    def __init__(self) -> None:
        self._process = ProcessCollector(registry=None)

    def collect(self) -> Iterable[Metric]:
        return self._process.collect()
