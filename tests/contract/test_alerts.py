"""Each alert of the chart fires on the series of its ill, and is silent on those of a pool that is well.

promtool, a part of Prometheus, decides: https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/
"""

import functools
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import documents
from tests.contract import promtool
from tests.contract.chart import CHART, rendered

from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.protocol.reasons import BackendReason, ProblemReason
from pgbouncer_operator.reconcile.status.advice import PoolAdvice

CASES: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("alert_cases.yaml").read_text(encoding="utf-8"))
AT, INTERVAL = "30m", "30s"
METRIC = re.compile(r"\b(?:pgbouncer_\w+|up\b)")


@functools.cache
def groups() -> list[dict[str, Any]]:
    """The rules as the chart installs them."""
    found: list[dict[str, Any]] = rendered("prometheusRule.enabled=true").one("PrometheusRule")["spec"]["groups"]
    return found


def rules() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in groups() for rule in group["rules"]}


def outcome(alert: str, kind: str, expected: list[dict[str, Any]], folder: Path) -> str:
    """promtool's complaint; empty when the alerts of that name are the expected ones.

    promtool compares annotations word for word, so the rule has none here; the tests below say what they must hold.
    """
    case = CASES[alert][kind]
    rule = {key: value for key, value in rules()[alert].items() if key != "annotations"}
    asked = {"eval_time": case.get("at", AT), "alertname": alert, "exp_alerts": expected}
    series = [{"series": name, "values": values} for name, values in case["series"].items()]
    interval = case.get("interval", INTERVAL)
    test = {"interval": interval, "input_series": series, "alert_rule_test": [asked]}
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": interval, "tests": [test]}
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [rule]}]}), encoding="utf-8")
    (folder / "test.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    command = [promtool.program(), "test", "rules", "test.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr if done.returncode else ""


def fires(alert: str) -> list[dict[str, Any]]:
    """The one alert that fires, with its labels and no other."""
    return [{"exp_labels": {**CASES[alert]["fires"]["labels"], **rules()[alert]["labels"]}}]


def runbook(alert: str) -> Path:
    return documents.DOCS / "runbooks" / f"{alert}.md"


def asked(text: str) -> set[str]:
    return set(METRIC.findall(text))


def test_every_alert_has_its_two_cases_and_no_other_has() -> None:
    assert set(CASES) == set(rules())
    assert all(set(cases) == {"fires", "silent"} for cases in CASES.values())


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_on_its_ill(alert: str, tmp_path: Path) -> None:
    assert outcome(alert, "fires", fires(alert), tmp_path) == ""


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_is_silent_where_nothing_is_wrong(alert: str, tmp_path: Path) -> None:
    assert outcome(alert, "silent", [], tmp_path) == ""


def test_every_value_of_a_series_is_one_of_promtool_and_not_of_yaml() -> None:
    for cases in CASES.values():
        assert all(isinstance(each, str) for case in cases.values() for each in case["series"].values())


def test_a_figure_of_a_pool_is_counted_once_while_two_pods_of_the_operator_export_it(tmp_path: Path) -> None:
    alert, metric = "PgBouncerPodsLackSecurityFixes", "pgbouncer_operator_pool_pods_without_fixes"
    of_pool = 'namespace="shop", pool="shop-pool"'
    series = [{"series": f'{metric}{{{of_pool}, pod="{pod}"}}', "values": "2x60"} for pod in ("old", "new")]
    sample = {"labels": f"{{{of_pool}}}", "value": 2}
    test = {"expr": rules()[alert]["expr"], "eval_time": AT, "exp_samples": [sample]}
    body = {"tests": [{"interval": INTERVAL, "input_series": series, "promql_expr_test": [test]}]}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(body), encoding="utf-8")
    command = [promtool.program(), "test", "rules", "test.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", CASES)
def test_a_silent_case_has_every_metric_that_the_alert_asks_for(alert: str) -> None:
    """An alert is silent without series, too, which would prove nothing."""
    assert asked(rules()[alert]["expr"]) <= asked(" ".join(CASES[alert]["silent"]["series"]))


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_names_only_labels_that_it_has(alert: str) -> None:
    labels = {*CASES[alert]["fires"]["labels"], *rules()[alert]["labels"]}
    named = set(re.findall(r"\$labels\.(\w+)", " ".join(rules()[alert]["annotations"].values())))
    assert named <= labels


def test_a_wrong_expectation_is_noticed(tmp_path: Path) -> None:
    alert = "PgBouncerNotAnswering"
    assert "got:" in outcome(alert, "fires", [], tmp_path)
    assert "got:" in outcome(alert, "silent", fires(alert), tmp_path)


def test_prometheus_accepts_the_rules_with_their_templates(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups()}), encoding="utf-8")
    command = [promtool.program(), "check", "rules", "rules.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


# Runbooks.


def test_every_alert_has_its_runbook_and_no_other_page_is_there() -> None:
    assert {each.stem for each in (documents.DOCS / "runbooks").iterdir()} == set(rules())


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_leads_to_its_runbook(alert: str) -> None:
    assert rules()[alert]["annotations"]["runbook_url"].endswith(f"/operator/docs/runbooks/{runbook(alert).name}")


@pytest.mark.parametrize("alert", CASES)
def test_a_runbook_says_what_it_means_what_to_look_at_and_what_to_do(alert: str) -> None:
    titles = re.findall(r"^#+ (.+)$", documents.text(runbook(alert)), re.MULTILINE)
    assert titles == [alert, "What it means", "What to look at", "What to do"]
    assert all(each.startswith("kubectl ") for each in documents.commands(runbook(alert)))
    assert documents.commands(runbook(alert))


@pytest.mark.parametrize("alert", CASES)
def test_a_runbook_names_only_metrics_and_thresholds_that_exist(alert: str) -> None:
    text = documents.text(runbook(alert))
    listed = documents.text(documents.DOCS / "reference/metrics.md")
    assert not [name for name in re.findall(r"\bpgbouncer_\w+", text) if f"`{name}`" not in listed]
    thresholds = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["prometheusRule"]["thresholds"]
    assert set(re.findall(r"prometheusRule\.thresholds\.(\w+)", text)) <= set(thresholds)


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_asks_for_metrics_that_are_documented(alert: str) -> None:
    listed = documents.text(documents.DOCS / "reference/metrics.md")
    assert not [name for name in asked(rules()[alert]["expr"]) - {"up"} if f"| `{name}` |" not in listed]


@pytest.mark.parametrize("alert", CASES)
def test_a_runbook_names_reasons_that_exist(alert: str) -> None:
    """A word in backticks that is written as a reason is is one, or an advice or a problem of a pod."""
    reasons: set[str] = {each.value for kind in (Reason, ProblemReason, BackendReason, PoolAdvice) for each in kind}
    named = set(re.findall(r"`([A-Z][a-z]+[A-Z]\w+)`", documents.text(runbook(alert))))
    assert named <= reasons
