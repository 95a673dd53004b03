"""The operator's own metrics."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from pgbouncer_operator.kube.transport import Call

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CONTENT_TYPE = CONTENT_TYPE_LATEST
_CONDITION = ("type", "status", "reason")  # the fields of a condition that are labels

# Returns the status of every pool, or of every server: namespace, name, status.
Statuses = Callable[[], Iterable[tuple[str, str, Mapping[str, Any]]]]


class Metrics:
    """Counters of requests and reconciles. The process sets the gauges and where statuses are read."""

    def __init__(self) -> None:
        """Every metric starts at zero, in a registry of its own."""
        registry, space = CollectorRegistry(), "pgbouncer_operator"
        self.registry = registry
        self._requests = Counter(
            "api_requests",
            "Requests to the API server. Code 0 means that there was no answer.",
            ("verb", "resource", "code"),
            namespace=space,
            registry=registry,
        )
        self._request_seconds = Histogram(
            "api_request_seconds",
            "Duration of a request to the API server, without retries.",
            ("verb",),
            buckets=SECONDS,
            namespace=space,
            registry=registry,
        )
        self._reconciles = Counter(
            "reconciles",
            "Reconciles of pools and servers by result, done or failed.",
            ("result",),
            namespace=space,
            registry=registry,
        )
        self._reconcile_seconds = Histogram(
            "reconcile_seconds", "Duration of a reconcile.", buckets=SECONDS, namespace=space, registry=registry
        )
        self._set_by_the_process(partial(Gauge, namespace=space, registry=registry))
        self.statuses: Statuses = tuple
        self.servers: Statuses = tuple
        for collector in (_Process(), _Pools(self), _Servers(self)):
            registry.register(collector)

    def _set_by_the_process(self, gauge: Callable[[str, str], Gauge]) -> None:
        self.queue_length = gauge("queue_length", "Pools and servers that wait for a reconcile.")
        self.pools = gauge("pools", "ConnectionPools that exist.")
        self.namespaces_skipped = gauge(
            "namespaces_skipped",
            "Namespaces of watchNamespaces that do not exist, or where the operator has no rights.",
        )
        self.leader = gauge("leader", "1 while this process leads and has listed every kind.")
        self.standing_by = gauge("standing_by", "Pools and servers that another operator serves.")

    def called(self, call: Call) -> None:
        """Count one request."""
        self._requests.labels(call.verb, call.plural, str(call.code)).inc()
        self._request_seconds.labels(call.verb).observe(call.seconds)

    def reconciled(self, key: object, seconds: float, error: Exception | None) -> None:
        """Count one reconcile. The key is not a label, because there may be thousands of pools."""
        del key
        self._reconciles.labels("failed" if error else "done").inc()
        self._reconcile_seconds.observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Pools(Collector):
    """Size, recommendation, advice and conditions of each pool, from its status."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        labels = ["namespace", "pool"]
        size = GaugeMetricFamily(
            "pgbouncer_operator_pool_size", "Server connections that the pool may hold now.", labels=labels
        )
        recommended = GaugeMetricFamily(
            "pgbouncer_operator_pool_recommendation",
            "Server connections that the operator recommends.",
            labels=[*labels, "reason"],
        )
        advised = GaugeMetricFamily(
            "pgbouncer_operator_pool_advice", "1 while status gives this advice.", labels=[*labels, "reason"]
        )
        old = GaugeMetricFamily(
            "pgbouncer_operator_pool_pods_without_fixes",
            "Pods that lack security fixes of the operator's pod template.",
            labels=labels,
        )
        conditions = _conditions("pgbouncer_operator_pool_condition", labels)
        for namespace, name, status in self._metrics.statuses():
            _add_conditions(conditions, [namespace, name], status)
            if status.get("podsWithoutFixes") is not None:
                old.add_metric([namespace, name], status["podsWithoutFixes"])
            connections = (status.get("serverConnections") or {}).get("size")
            if connections is not None:
                size.add_metric([namespace, name], connections)
            recommendation = status.get("recommendation")
            if recommendation:
                recommended.add_metric([namespace, name, recommendation["reason"]], recommendation["value"])
            for each in status.get("advice") or ():
                advised.add_metric([namespace, name, each["reason"]], 1)
        return size, recommended, advised, old, conditions


class _Servers(Collector):
    """Limits, budget, allocations, advice and conditions of each PostgresServer, from its status."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        labels, stem = ["namespace", "server"], "pgbouncer_operator_server"
        limit = GaugeMetricFamily(
            f"{stem}_max_connections", "max_connections of the server, as read from it.", labels=labels
        )
        reserved = GaugeMetricFamily(
            f"{stem}_reserved_connections", "Connections of max_connections that the server reserves.", labels=labels
        )
        budget = GaugeMetricFamily(
            f"{stem}_budget", "Server connections that its pools may hold together.", labels=labels
        )
        allocated = GaugeMetricFamily(
            f"{stem}_allocated", "Server connections of the budget that its pools hold or may open.", labels=labels
        )
        advised = GaugeMetricFamily(f"{stem}_advice", "1 while status gives this advice.", labels=[*labels, "reason"])
        allocation = GaugeMetricFamily(
            f"{stem}_allocation", "Server connections of the budget that a pool may hold.", labels=[*labels, "pool"]
        )
        conditions = _conditions(f"{stem}_condition", labels)
        for namespace, name, status in self._metrics.servers():
            _add_conditions(conditions, [namespace, name], status)
            limits = status.get("limits") or {}
            values = (
                limits.get("maxConnections"),
                limits.get("reserved"),
                status.get("budget"),
                status.get("allocated"),
            )
            for family, value in zip((limit, reserved, budget, allocated), values, strict=True):
                if value is not None:
                    family.add_metric([namespace, name], value)
            for each in status.get("allocations") or ():
                allocation.add_metric([namespace, name, each["pool"]], each["connections"])
            for each in status.get("advice") or ():
                advised.add_metric([namespace, name, each["reason"]], 1)
        return limit, reserved, budget, allocated, allocation, advised, conditions


def _conditions(name: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(
        name, "1 while status has this condition, in this status for this reason.", labels=[*labels, *_CONDITION]
    )


def _add_conditions(family: GaugeMetricFamily, labels: list[str], status: Mapping[str, Any]) -> None:
    for each in status.get("conditions") or ():
        family.add_metric([*labels, *(each[key] for key in _CONDITION)], 1)


class _Process(Collector):
    """CPU, memory and file descriptors of this process, outside prometheus_client's global registry."""

    def __init__(self) -> None:
        self._process = ProcessCollector(registry=None)

    def collect(self) -> Iterable[Metric]:
        return self._process.collect()
