"""Alerts, dashboard and monitors of the chart ask for metrics, ports and labels that exist."""

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
import yaml
from tests.contract.chart import CHART, NAMESPACE, RELEASE, rendered
from tests.contract.pools import pool
from tests.reference import metrics as reference

from pgbouncer_operator import naming
from pgbouncer_operator.api.connection_pool import parse
from pgbouncer_operator.metrics import Metrics
from pgbouncer_operator.resources.deployment import Platform
from pgbouncer_operator.resources.desired import desired

ALERTS = [rule for group in reference.rule_groups(CHART.parents[1]) for rule in group["rules"]]
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["prometheusRule"]
DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
ENABLED = ("podMonitor.enabled=true", "prometheusRule.enabled=true", "grafanaDashboard.enabled=true")


def served() -> set[str]:
    """The names of all series of operator and agent. Counters are named after what they count, plus _total."""
    names = {each.name + ("_total" if each.type == "counter" else "") for each in reference.pod()}
    return names | set(re.findall(r"^# TYPE (\S+) ", Metrics().text().decode(), re.MULTILINE))


def expressions() -> dict[str, str]:
    panels = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    }
    queries = {each["name"]: each["query"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"}
    return {**{rule["alert"]: rule["expr"] for rule in ALERTS}, **panels, **queries}


def asked(expression: str) -> set[str]:
    return set(re.findall(r"\bpgbouncer_\w+", expression))


@pytest.mark.parametrize("expression", expressions().values(), ids=expressions())
def test_an_expression_asks_for_metrics_that_are_served(expression: str) -> None:
    assert asked(expression)
    assert asked(expression) <= served()


def test_an_alert_says_what_is_wrong_and_what_to_do() -> None:
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["description"].endswith(".")


def test_helm_leaves_the_alerts_own_templates_alone_and_adds_the_address_of_the_runbook() -> None:
    groups = rendered(*ENABLED).one("PrometheusRule")["spec"]["groups"]
    installed = [rule for group in groups for rule in group["rules"]]
    assert installed == [
        {**rule, "annotations": {**rule["annotations"], "runbook_url": f"{VALUES['runbooks']}/{rule['alert']}.md"}}
        for rule in ALERTS
    ]


def test_the_runbooks_have_one_address_that_an_installation_can_replace() -> None:
    groups = rendered(*ENABLED, "prometheusRule.runbooks=https://wiki.example.com/pg").one("PrometheusRule")["spec"]
    addresses = {rule["annotations"]["runbook_url"] for group in groups["groups"] for rule in group["rules"]}
    assert addresses == {f"https://wiki.example.com/pg/{rule['alert']}.md" for rule in ALERTS}


def test_every_threshold_of_the_values_arrives_in_an_alert() -> None:
    other = {name: f"{n}m" if name.endswith("For") else n / 100 for n, name in enumerate(VALUES["thresholds"], 47)}
    sets = [f"prometheusRule.thresholds.{name}:={json.dumps(value)}" for name, value in other.items()]
    groups = rendered(*ENABLED, *sets).one("PrometheusRule")["spec"]["groups"]
    text = json.dumps([[rule["expr"], rule.get("for")] for group in groups for rule in group["rules"]])
    assert "${" not in text
    assert [name for name, value in other.items() if str(value) not in text] == []


@pytest.mark.parametrize("value", ["clientsRatio=90", "allBusyFor=60", "notReadyFor=null", "connectionError=3"])
def test_a_threshold_that_prometheus_cannot_use_is_refused(value: str) -> None:
    assert value.partition("=")[0] in rendered(*ENABLED, f"prometheusRule.thresholds.{value}").error


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


def test_the_series_of_a_pool_have_its_own_namespace() -> None:
    """The operator says the namespace itself. What a pod says is not believed: Prometheus knows its namespace."""
    (operator,) = rendered(*ENABLED).one("PodMonitor")["spec"]["podMetricsEndpoints"]
    (pools,) = rendered(*ENABLED).one("PodMonitor", f"{RELEASE}-pools")["spec"]["podMetricsEndpoints"]
    assert operator["honorLabels"] is True
    assert "honorLabels" not in pools


def test_series_of_pools_and_servers_keep_the_label_that_they_had_before() -> None:
    (operator,) = rendered(*ENABLED).one("PodMonitor")["spec"]["podMetricsEndpoints"]
    (rule,) = operator["metricRelabelings"]
    assert (rule["sourceLabels"], rule["targetLabel"]) == (["__name__", "namespace"], "exported_namespace")
    own = [each.name for each in Metrics().registry.collect()]
    labelled = {each for each in own if re.fullmatch(rule["regex"], f"{each};shop")}
    assert labelled == {each for each in own if re.match("pgbouncer_operator_(pool|server)_", each)}
    assert labelled
    assert "pgbouncer_operator_pools" in set(own) - labelled


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


SCRAPE = (
    "interval=15s", "scrapeTimeout=5s", "relabelings[0].targetLabel=team",
    "metricRelabelings[0].action=labeldrop",
)  # fmt: skip


def test_a_monitor_scrapes_as_its_values_say() -> None:
    answer = rendered(
        "podMonitor.enabled=true",
        *(f"podMonitor.{each}" for each in SCRAPE),
    )
    wanted = {"path": "/metrics", "interval": "15s", "scrapeTimeout": "5s"}

    for each in answer.kind("PodMonitor"):
        (endpoint,) = each["spec"]["podMetricsEndpoints"]
        assert endpoint.items() >= wanted.items()
        assert endpoint["relabelings"][-1] == {"targetLabel": "team"}
        assert endpoint["metricRelabelings"][-1] == {"action": "labeldrop"}


def test_a_service_monitor_finds_the_operators_service_and_no_pod_monitor_scrapes_it_again() -> None:
    answer = rendered(
        "podMonitor.enabled=true", "serviceMonitor.enabled=true", *(f"serviceMonitor.{e}" for e in SCRAPE)
    )
    service, monitor = answer.one("Service", f"{RELEASE}-metrics"), answer.one("ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]

    assert matches(monitor["spec"]["selector"], service["metadata"]["labels"])
    assert endpoint["port"] in [each["name"] for each in service["spec"]["ports"]]
    assert (endpoint["scrapeTimeout"], endpoint["relabelings"]) == ("5s", [{"targetLabel": "team"}])
    assert endpoint["honorLabels"] is True, "the series have the namespaces of pools, as with the PodMonitor"
    assert [each["metadata"]["name"] for each in answer.kind("PodMonitor")] == [f"{RELEASE}-pools"]
