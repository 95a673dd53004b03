"""The operator's own metrics, in a registry of their own."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from pgbouncer_operator.kube.transport import Call

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CONTENT_TYPE = CONTENT_TYPE_LATEST

# Pools, or servers, as they stand in their status: namespace, name, status.
Statuses = Callable[[], Iterable[tuple[str, str, Mapping[str, Any]]]]


class Metrics:
    """Counts requests and reconciles; what else there is to tell is set by the process that knows."""

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
        self.statuses: Statuses = tuple
        self.servers: Statuses = tuple
        self.registry.register(_Process())
        self.registry.register(_Pools(self))
        self.registry.register(_Servers(self))

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


class _Pools(Collector):
    """The sizes of pools, and what they are advised, as status tells them: the only series that name pools."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        labels = ["namespace", "pool"]
        size = GaugeMetricFamily(
            "pgbouncer_operator_pool_size", "Server connections that the pool is to hold now.", labels=labels
        )
        recommended = GaugeMetricFamily(
            "pgbouncer_operator_pool_recommendation", "Server connections that would do.", labels=[*labels, "reason"]
        )
        advised = GaugeMetricFamily(
            "pgbouncer_operator_pool_advice", "1 while status gives this advice.", labels=[*labels, "reason"]
        )
        for namespace, name, status in self._metrics.statuses():
            held = (status.get("serverConnections") or {}).get("size")
            if held is not None:
                size.add_metric([namespace, name], held)
            told = status.get("recommendation")
            if told:
                recommended.add_metric([namespace, name, told["reason"]], told["value"])
            for each in status.get("advice") or ():
                advised.add_metric([namespace, name, each["reason"]], 1)
        return size, recommended, advised


class _Servers(Collector):
    """The budgets of PostgresServers, and what they are advised, as status tells them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        labels, stem = ["namespace", "server"], "pgbouncer_operator_server"
        limit = GaugeMetricFamily(f"{stem}_max_connections", "max_connections, as read from it.", labels=labels)
        reserved = GaugeMetricFamily(f"{stem}_reserved_connections", "Of those, reserved ones.", labels=labels)
        budget = GaugeMetricFamily(f"{stem}_budget", "Connections that pools may hold together.", labels=labels)
        allocated = GaugeMetricFamily(f"{stem}_allocated", "Connections that pools are charged with.", labels=labels)
        advised = GaugeMetricFamily(f"{stem}_advice", "1 while status gives this advice.", labels=[*labels, "reason"])
        given = GaugeMetricFamily(
            f"{stem}_allocation", "Connections that a pool may hold of the budget.", labels=[*labels, "pool"]
        )
        for namespace, name, status in self._metrics.servers():
            read = status.get("limits") or {}
            told = (read.get("maxConnections"), read.get("reserved"), status.get("budget"), status.get("allocated"))
            for family, value in zip((limit, reserved, budget, allocated), told, strict=True):
                if value is not None:
                    family.add_metric([namespace, name], value)
            for each in status.get("allocations") or ():
                given.add_metric([namespace, name, each["pool"]], each["connections"])
            for each in status.get("advice") or ():
                advised.add_metric([namespace, name, each["reason"]], 1)
        return limit, reserved, budget, allocated, given, advised


class _Process(Collector):
    """CPU, memory and file descriptors of this process, without prometheus_client's global registry."""

    def __init__(self) -> None:
        self._process = ProcessCollector(registry=None)

    def collect(self) -> Iterable[Metric]:
        return self._process.collect()
