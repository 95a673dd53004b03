"""Every metric of the operator and of the pods, collected from the code that serves them; and the chart's alerts."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from tests.reference.markdown import code, table

from pgbouncer_operator.agent import metrics as agent
from pgbouncer_operator.agent.draining import DrainResult
from pgbouncer_operator.kube.transport import Call
from pgbouncer_operator.metrics import Metrics
from pgbouncer_operator.protocol.reasons import BackendReason, ReloadKind
from pgbouncer_operator.protocol.state import AgentState, BackendTest, Reload
from pgbouncer_operator.protocol.validity import CertificateValidity

CHART = Path("charts/pgbouncer-operator")
# Units that neither the name nor the meaning says.
UNITS = {
    "pgbouncer_operator_agent_grant_sequence": "sequence number",
}
OF_PROCESS = "process_"  # the client library's own, which another system than Linux does not have
_ONE_OF_STATUS = {
    "serverConnections": {"size": 1},
    "podsWithoutFixes": 1,
    "conditions": [{"type": "Ready", "status": "True", "reason": "Ready"}],
    "recommendation": {"value": 1, "reason": "Enough"},
    "advice": [{"reason": "Idle"}],
    "limits": {"maxConnections": 1, "reserved": 1},
    "budget": 1,
    "allocated": 1,
    "allocations": [{"pool": "shop/shop-pool", "connections": 1}],
}


def of_operator() -> str:
    """The operator's own metrics."""
    metrics = Metrics()
    metrics.called(Call("get", "pods", 200, 0.1))
    metrics.reconciled("key", 0.1, None)
    metrics.statuses = metrics.servers = lambda: [("shop", "shop-pool", _ONE_OF_STATUS)]
    return _rows(each for each in metrics.registry.collect() if not each.name.startswith(OF_PROCESS))


def of_pod() -> str:
    """The metrics of a pod: what its agent knows, and what its PgBouncer's console says."""
    return _rows([*pod()])


def pod() -> Iterable[Metric]:
    """One of each metric that a pod can serve."""
    state = AgentState(
        "uid",
        "version",
        backend=BackendTest(BackendReason.OK),
        reload=Reload("hash", 0.1, ReloadKind.RELOAD),
        validities={"tls": CertificateValidity(1, 2)},
        clients_max=1,
    )
    drained = DrainResult(left=1, closed=0, cut=0, seconds=1.0, done=True)
    # A scrape without PgBouncer: what the agent knows, and that the console is silent.
    yield from text_string_to_metric_families(agent.render(None, state, drained, {}))
    yield from agent.of_pools(
        [{"database": "shop", "user": "shop", "maxwait_us": "0", **dict.fromkeys(agent.POOLS, "0")}]
    )
    yield from agent.of_databases([{"name": "shop", **dict.fromkeys(agent.DATABASES, "0")}])
    yield from agent.of_stats([{"database": "shop", **dict.fromkeys(agent.STATS, "0")}])


def alerts(root: Path = Path()) -> str:
    """The chart's alerts: when each fires, and what to do."""
    rules = [rule for group in rule_groups(root) for rule in group["rules"]]
    cells = [
        (
            code(rule["alert"]),
            rule["labels"]["severity"],
            rule.get("for", "at once"),
            _words(rule["annotations"]["summary"]),
            _words(rule["annotations"]["description"]),
        )
        for rule in rules
    ]
    return table(("alert", "severity", "after", "meaning", "what to do"), cells)


def rule_groups(root: Path = Path()) -> list[dict[str, Any]]:
    """The chart's groups of alerts, with the thresholds of its values."""
    text = (root / CHART / "files/alerts.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load((root / CHART / "values.yaml").read_text(encoding="utf-8"))
    for name, threshold in values["prometheusRule"]["thresholds"].items():
        text = text.replace(f"${{{name}}}", str(threshold))
    groups: list[dict[str, Any]] = yaml.safe_load(text)["groups"]
    return groups


def _words(text: str) -> str:
    """The text of an alert with the name of each value in the value's place."""
    text = text.replace("{{ $labels.namespace }}/{{ $labels.pool }}", "…")
    text = re.sub(r"\{\{ \$value[^}]*\}\}", "N", text)
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"*\1*", text)


def _rows(metrics: Iterable[Metric]) -> str:
    rows = [(code(_name(each)), each.type, _labels(each), _unit(each), each.documentation) for each in metrics]
    return table(("metric", "type", "labels", "unit", "meaning"), sorted(rows))


def _name(metric: Metric) -> str:
    return metric.name + ("_total" if metric.type == "counter" else "")


def _labels(metric: Metric) -> str:
    names: Sequence[str] = [*dict.fromkeys(name for each in metric.samples for name in each.labels if name != "le")]
    return ", ".join(map(code, names))


def _unit(metric: Metric) -> str:
    if metric.name in UNITS:
        return UNITS[metric.name]
    if metric.name.endswith("_info") or metric.documentation.startswith("1 "):
        return "always 1" if metric.name.endswith("_info") else "0 or 1"
    return next((unit for unit in ("seconds", "bytes") if f"_{unit}" in metric.name), "count")
