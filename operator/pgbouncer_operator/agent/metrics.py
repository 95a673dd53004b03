"""Prometheus metrics of the pod. Each scrape reads PgBouncer's console, together with whoever else asks then."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from pgbouncer_operator.agent import console, wire
from pgbouncer_operator.agent.console import Shown
from pgbouncer_operator.agent.draining import DrainResult
from pgbouncer_operator.protocol.reasons import BackendReason, ProblemReason
from pgbouncer_operator.protocol.state import AgentState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MICROSECONDS = 1e-6

# SHOW POOLS: column → (metric, what it counts)
POOLS = {
    "cl_active": ("clients_active", "Clients linked to a server connection, or idle."),
    "cl_waiting": ("clients_waiting", "Clients waiting for a server connection."),
    "sv_active": ("servers_active", "Server connections linked to a client."),
    "sv_idle": ("servers_idle", "Server connections ready for a client."),
    "sv_used": ("servers_used", "Idle server connections that are checked before their next use."),
    "sv_login": ("servers_login", "Server connections that are logging in."),
    "maxwait": ("oldest_wait_seconds", "How long the oldest waiting client has waited."),
}
# SHOW DATABASES
DATABASES = {
    "max_connections": ("max_server_connections", "Most server connections of the database in this pod."),
    "current_connections": ("server_connections", "Server connections of the database."),
    "paused": ("paused", "1 while the database is paused."),
    "disabled": ("disabled", "1 while the database refuses new clients."),
}
# SHOW STATS: column → (metric, factor to its unit, what it counts)
STATS = {
    "total_xact_count": ("transactions", 1.0, "Transactions pooled."),
    "total_query_count": ("queries", 1.0, "Queries pooled."),
    "total_server_assignment_count": ("server_assignments", 1.0, "Times a server connection was given to a client."),
    "total_client_login_count": ("client_logins", 1.0, "Clients that logged in."),
    "total_received": ("received_bytes", 1.0, "Bytes received from clients."),
    "total_sent": ("sent_bytes", 1.0, "Bytes sent to clients."),
    "total_xact_time": ("transaction_seconds", _MICROSECONDS, "Time in transactions, waiting for a server included."),
    "total_query_time": ("query_seconds", _MICROSECONDS, "Time in queries, waiting for a server included."),
    "total_wait_time": ("wait_seconds", _MICROSECONDS, "Time clients waited for a server connection."),
}


def render(shown: Shown | None, state: AgentState, drained: DrainResult | None, failures: Mapping[str, int]) -> str:
    """The text of a scrape. shown: None while the console does not answer: pgbouncer_up is 0, without its metrics.

    failures: tests of a login to PostgreSQL that failed since the worker started, by reason.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(shown, state, drained, failures))
    return generate_latest(registry).decode()


class _Scrape:
    def __init__(
        self,
        shown: Shown | None,
        state: AgentState,
        drained: DrainResult | None,
        failures: Mapping[str, int],
    ) -> None:
        self._shown = shown
        self._state = state
        self._drained = drained
        self._failures = failures

    def collect(self) -> Iterator[Metric]:
        shown = self._shown
        yield _gauge("pgbouncer_up", "1 when PgBouncer's console answers.", shown is not None)
        if shown is not None:
            yield from of_pools(shown.pools)
            yield from of_databases(shown.databases)
            yield from of_stats(shown.stats)
        yield from of_agent(self._state)
        yield of_failures(self._failures)
        yield from of_drain(self._drained)


def of_pools(rows: list[wire.Row]) -> Iterator[Metric]:
    """SHOW POOLS, one series for each database and user."""
    for column, (name, text) in POOLS.items():
        metric = GaugeMetricFamily(f"pgbouncer_pool_{name}", text, labels=["database", "user"])
        for row in _own(rows, "database"):
            waited = int(row["maxwait_us"]) * _MICROSECONDS if column == "maxwait" else 0.0
            metric.add_metric([row["database"], row["user"]], float(row[column]) + waited)
        yield metric


def of_databases(rows: list[wire.Row]) -> Iterator[Metric]:
    """SHOW DATABASES."""
    for column, (name, text) in DATABASES.items():
        metric = GaugeMetricFamily(f"pgbouncer_database_{name}", text, labels=["database"])
        for row in _own(rows, "name"):
            metric.add_metric([row["name"]], float(row[column]))
        yield metric


def of_stats(rows: list[wire.Row]) -> Iterator[Metric]:
    """SHOW STATS: totals since PgBouncer started, in seconds and bytes."""
    for column, (name, factor, text) in STATS.items():
        metric = CounterMetricFamily(f"pgbouncer_stats_{name}", text, labels=["database"])
        for row in _own(rows, "database"):
            metric.add_metric([row["database"]], float(row[column]) * factor)
        yield metric


def of_agent(state: AgentState) -> Iterator[Metric]:
    """What the agent reports: the same as /state."""
    for name, text, value in (
        ("server_connections", "Server connections of this pod.", state.open),
        ("server_connections_busy", "Server connections at work for a client.", state.busy),
        ("server_connections_cap", "Most server connections this pod may hold, as verified.", state.cap),
        ("clients", "Clients connected.", state.clients),
        ("clients_waiting", "Clients waiting for a server connection.", state.waiting),
        ("grant_sequence", "Sequence of the ledger that is in force.", state.seq),
    ):
        yield _gauge(f"pgbouncer_operator_agent_{name}", text, value)
    if state.clients_max is not None:
        yield _gauge("pgbouncer_operator_agent_clients_max", "Most clients that this pod accepts.", state.clients_max)
    if state.backend.ok is not None:
        yield _gauge("pgbouncer_operator_agent_backend_ok", "1 when a login to PostgreSQL works.", state.backend.ok)
    if state.reload is not None:
        text = "From reading the last change to the proof that it is in force."
        yield _gauge("pgbouncer_operator_agent_reload_seconds", text, state.reload.seconds)
    ends = GaugeMetricFamily(
        "pgbouncer_operator_agent_certificate_end_timestamp_seconds",
        "When the certificate in use ends, in Unix time: tls, for clients, or the last CA of ca, for the server.",
        labels=["certificate"],
    )
    for volume, validity in state.validities.items():
        ends.add_metric([volume], float(validity.ends))
    yield ends
    problems = GaugeMetricFamily(
        "pgbouncer_operator_agent_problem", "1 while the pod has this problem.", labels=["reason"]
    )
    standing = {each.reason for each in state.problems}
    for reason in ProblemReason:
        problems.add_metric([reason.value], float(reason in standing))
    yield problems
    facts = {"hash": state.digest, "phase": str(state.phase), "pgbouncer": state.pgbouncer}
    yield InfoMetricFamily("pgbouncer_operator_agent_configuration", "What the pod runs.", value=facts)


def of_failures(failures: Mapping[str, int]) -> Metric:
    """Failed tests of a login by reason. Each reason has a series from the start, so that its first failure counts."""
    failed = CounterMetricFamily(
        "pgbouncer_operator_agent_login_failures",
        "Tests of a login to PostgreSQL that failed, by reason.",
        labels=["reason"],
    )
    for reason in BackendReason:
        if reason not in {BackendReason.OK, BackendReason.UNKNOWN}:
            failed.add_metric([reason.value], failures.get(reason, 0))
    return failed


def of_drain(drained: DrainResult | None) -> Iterator[Metric]:
    """What became of the clients of a drain; no metric while the pod does not drain."""
    if drained is None:
        return
    clients = GaugeMetricFamily(
        "pgbouncer_operator_agent_drain_clients", "What became of a drain's clients.", labels=["outcome"]
    )
    for outcome in ("left", "closed", "cut"):
        clients.add_metric([outcome], getattr(drained, outcome))
    yield clients
    yield _gauge("pgbouncer_operator_agent_drain_seconds", "How long the drain took, or has taken.", drained.seconds)


def _own(rows: list[wire.Row], column: str) -> Iterator[wire.Row]:
    return (row for row in rows if row[column] != console.CONSOLE)


def _gauge(name: str, text: str, value: float) -> Metric:
    metric = GaugeMetricFamily(name, text)
    metric.add_metric([], float(value))
    return metric
