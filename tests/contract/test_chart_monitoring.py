"""Alerts, dashboard and monitors of the chart ask for metrics, ports and labels that exist."""

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
import yaml
from tests.contract.chart import CHART, NAMESPACE, RELEASE, rendered
from tests.contract.pools import pool

from pgbouncer_operator import naming
from pgbouncer_operator.agent import metrics as agent
from pgbouncer_operator.api.connection_pool import parse
from pgbouncer_operator.metrics import Metrics
from pgbouncer_operator.protocol.reasons import BackendReason, ReloadKind
from pgbouncer_operator.protocol.state import AgentState, BackendTest, Reload
from pgbouncer_operator.resources.deployment import Platform
from pgbouncer_operator.resources.desired import desired

ALERTS = (CHART / "files" / "alerts.yaml").read_text(encoding="utf-8")
DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
ENABLED = ("podMonitor.enabled=true", "prometheusRule.enabled=true", "grafanaDashboard.enabled=true")


def served() -> set[str]:
    """The names of all series of operator and agent. Counters are named after what they count, plus _total."""
    state = AgentState(
        "uid", "version", backend=BackendTest(BackendReason.OK, ""), reload=Reload("hash", 0.1, ReloadKind.RELOAD)
    )  # fmt: skip
    families = [*agent.of_pools([]), *agent.of_databases([]), *agent.of_stats([]), *agent.of_agent(state)]
    names = {each.name + ("_total" if each.type == "counter" else "") for each in families} | {"pgbouncer_up"}
    return names | set(re.findall(r"^# TYPE (\S+) ", Metrics().text().decode(), re.MULTILINE))


def expressions() -> dict[str, str]:
    rules = [rule for group in yaml.safe_load(ALERTS)["groups"] for rule in group["rules"]]
    panels = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    }
    queries = {each["name"]: each["query"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"}
    return {**{rule["alert"]: rule["expr"] for rule in rules}, **panels, **queries}


def asked(expression: str) -> set[str]:
    return set(re.findall(r"\bpgbouncer_\w+", expression))


@pytest.mark.parametrize("expression", expressions().values(), ids=expressions())
def test_an_expression_asks_for_metrics_that_are_served(expression: str) -> None:
    assert asked(expression)
    assert asked(expression) <= served()


def test_an_alert_says_what_is_wrong_and_what_to_do() -> None:
    for group in yaml.safe_load(ALERTS)["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"warning", "critical"}
            assert rule["annotations"]["summary"].endswith(".")
            assert rule["annotations"]["description"].endswith(".")


def test_helm_leaves_the_alerts_own_templates_alone() -> None:
    rule = rendered(*ENABLED).one("PrometheusRule")

    assert rule["spec"] == yaml.safe_load(ALERTS)


def test_the_dashboard_arrives_whole_and_where_grafana_looks() -> None:
    found = rendered(*ENABLED).one("ConfigMap", f"{RELEASE}-dashboard")

    assert json.loads(found["data"]["pgbouncer-pools.json"]) == DASHBOARD
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_panels_do_not_lie_on_each_other() -> None:
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_nothing_of_monitoring_is_installed_unasked() -> None:
    kinds = {each["kind"] for each in rendered().objects}

    assert not kinds & {"PodMonitor", "PrometheusRule", "ConfigMap", "NetworkPolicy", "Service"}


def test_the_monitors_find_operator_and_pools() -> None:
    answer = rendered(*ENABLED)
    operator, pools = answer.one("PodMonitor"), answer.one("PodMonitor", f"{RELEASE}-pools")
    template = made_pod()

    assert matches(operator["spec"]["selector"], answer.one("Deployment")["spec"]["template"]["metadata"]["labels"])
    assert not matches(operator["spec"]["selector"], template["metadata"]["labels"])
    assert matches(pools["spec"]["selector"], template["metadata"]["labels"])
    assert not matches(pools["spec"]["selector"], answer.one("Deployment")["spec"]["template"]["metadata"]["labels"])
    assert pools["spec"]["podMetricsEndpoints"][0]["port"] in ports(template["spec"]["initContainers"])
    assert pools["spec"]["namespaceSelector"] == {"any": True}
    assert operator["metadata"]["namespace"] == NAMESPACE


def test_the_monitor_of_pools_looks_where_the_operator_looks() -> None:
    monitor = rendered(*ENABLED, "watchNamespaces={shop,bank}").one("PodMonitor", f"{RELEASE}-pools")

    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["shop", "bank"]}


def test_the_label_pool_is_made_of_the_label_that_pods_carry() -> None:
    (endpoint,) = rendered(*ENABLED).one("PodMonitor", f"{RELEASE}-pools")["spec"]["podMetricsEndpoints"]
    source = "__meta_kubernetes_pod_label_" + re.sub(r"[^a-zA-Z0-9_]", "_", naming.LABEL_POOL)

    assert endpoint["relabelings"] == [{"sourceLabels": [source], "targetLabel": "pool"}]


def made_pod() -> dict[str, Any]:
    """The pod template that the operator makes of the first example."""
    body = pool()
    body["metadata"] |= {"uid": "1", "generation": 1}
    template: dict[str, Any] = desired(parse(body), Platform("image", "Always", 5)).deployment["spec"]["template"]
    return template


def ports(containers: Iterable[dict[str, Any]]) -> set[str]:
    return {port["name"] for container in containers for port in container.get("ports", [])}


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert all(each["operator"] == "Exists" for each in selector.get("matchExpressions", []))
    wanted = all(each["key"] in labels for each in selector.get("matchExpressions", []))
    return wanted and selector.get("matchLabels", {}).items() <= labels.items()
