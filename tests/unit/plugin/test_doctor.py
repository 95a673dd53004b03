from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.plugin.world import OPERATOR, World, condition, lease, served

from pgbouncer_operator.api.conditions import REMEDIES, ConditionType, Reason
from pgbouncer_operator.plugin import findings
from pgbouncer_operator.reconcile.status.advice import PoolAdvice

ROOT = Path(__file__).parents[3]
DOWN = condition("BackendReachable", "False", "BackendUnreachable", "connection refused")
OLD = "2026-03-01T09:00:00.000000Z"


def event(kind: str, name: str, reason: str, at: str = "2026-03-01T11:50:00Z", **fields: Any) -> dict[str, Any]:
    metadata = {"namespace": "default", "name": f"{name}.{reason}.{at}"}
    about = {"kind": kind, "name": name}
    body = {
        "kind": "Event",
        "metadata": metadata,
        "type": "Warning",
        "reason": reason,
        "message": f"{reason} of {name}",
    }
    return {**body, "involvedObject": about, "lastTimestamp": at, **fields}


def subjects(answer: Any, kind: str = "ConnectionPool") -> list[tuple[str, str, str]]:
    return [
        (each["severity"], each["subject"], each["reason"])
        for found in answer.json["objects"]
        if found["kind"] == kind
        for each in found["findings"]
    ]


def test_a_well_pool_has_no_finding_and_the_exit_code_is_0(world: World) -> None:
    world.put(served(), lease())
    answer = world.run("doctor")
    assert answer.code == 0
    assert answer.lines == [
        "ConnectionPool default/shop-pool: no finding",
        f"Operator {OPERATOR}/pgbouncer-operator: no finding",
        "0 objects of 2 with a fault.",
    ]
    assert world.waited == []


def test_every_condition_that_is_not_as_it_should_be_is_said_and_the_exit_code_is_1(world: World) -> None:
    secret = condition("CredentialsAvailable", "False", "SecretNotFound", "there is no Secret shop-db")
    ready = {**secret, "type": "Ready"}
    fine = condition("ConfigurationApplied", "True", "Applied")
    world.put(served(conditions=[ready, DOWN, secret, fine]), lease())
    answer = world.run("doctor", "-o", "json")
    assert answer.code == 1
    assert subjects(answer) == [
        ("fault", "BackendReachable=False", "BackendUnreachable"),
        ("fault", "CredentialsAvailable=False", "SecretNotFound"),
    ]
    (pool, _) = answer.json["objects"]
    assert [each["remedy"] for each in pool["findings"]] == [
        REMEDIES[Reason.BACKEND_UNREACHABLE],
        REMEDIES[Reason.SECRET_NOT_FOUND],
    ]


@pytest.mark.parametrize(
    ("found", "severity"),
    [
        (condition("Stalled", "True", "InvalidSpec"), "fault"),
        (condition("Ready", "Unknown", "Pending"), "fault"),
        (condition("Paused", "False", "PauseTimedOut"), "fault"),
        (condition("Ready", "False", "AWordOfANewerOperator"), "fault"),
        (condition("Reconciling", "True", "WaitingForPods"), "note"),
        (condition("Paused", "True", "Paused"), "note"),
        (condition("UpdateAvailable", "True", "SecurityUpdate"), "note"),
    ],
)
def test_a_condition_is_a_fault_or_only_worth_knowing(world: World, found: dict[str, Any], severity: str) -> None:
    world.put(served(conditions=[found]), lease())
    answer = world.run("doctor", "-o", "json")
    assert subjects(answer) == [(severity, f"{found['type']}={found['status']}", found["reason"])]
    assert answer.code == (1 if severity == "fault" else 0)


@pytest.mark.parametrize(
    "found",
    [
        condition("Ready", "True", "Ready"),
        condition("Ready", "True", "ScaledToZero"),
        condition("Paused", "False", "Flowing"),
        condition("UpdateAvailable", "False", "UpToDate"),
        condition("Stalled", "False", "UpToDate"),
    ],
)
def test_a_condition_that_is_as_it_should_be_is_no_finding(world: World, found: dict[str, Any]) -> None:
    world.put(served(conditions=[found]), lease())
    assert subjects(world.run("doctor", "-o", "json")) == []


def test_a_status_about_an_earlier_spec_is_said(world: World) -> None:
    world.put(served(observedGeneration=2), lease())
    assert subjects(world.run("doctor", "-o", "json")) == [("note", "observedGeneration", "Pending")]


def test_events_of_refused_pods_stand_with_an_ill_pool_and_no_others(world: World) -> None:
    own = event("ReplicaSet", "shop-pool-pgbouncer-7d9f", "FailedCreate", "2026-03-01T11:59:00Z")
    world.put(
        served(conditions=[condition("Ready", "False", "PodsRefused")]),
        served("shop-pool-pgbouncer"),
        lease(),
        own,
        event("ReplicaSet", "shop-pool-pgbouncer-7d9f", "FailedCreate", "2026-03-01T11:00:00Z"),
        event("Pod", "shop-pool-pgbouncer-7d9f-x2x", "FailedScheduling"),
        event("Pod", "shop-pool-pgbouncer-pgbouncer-7d9f-x2x", "FailedScheduling"),
        event("ReplicaSet", "other-pgbouncer-7d9f", "FailedCreate"),
        event("Pod", "shop-pool-pgbouncer-7d9f-x2x", "Started", type="Normal"),
    )
    answer = world.run("doctor", "shop-pool", "-o", "json")
    assert subjects(answer)[1:] == [
        ("note", "ReplicaSet shop-pool-pgbouncer-7d9f", "FailedCreate"),
        ("note", "Pod shop-pool-pgbouncer-7d9f-x2x", "FailedScheduling"),
    ]
    newest = answer.json["objects"][0]["findings"][1]
    assert newest["message"] == f"{own['message']} (last at 2026-03-01T11:59:00Z)"
    assert newest["remedy"] == REMEDIES[Reason.PODS_REFUSED]


def test_events_of_a_well_pool_are_not_read(world: World) -> None:
    world.put(served(), lease(), event("Pod", "shop-pool-pgbouncer-7d9f-x2x", "FailedScheduling"))
    world.write(forbidden=["events"])
    assert subjects(world.run("doctor", "-o", "json")) == []


def test_what_may_not_be_read_is_unknown_and_the_rest_is_said(world: World) -> None:
    pool = served(conditions=[DOWN])
    pool["spec"]["backend"] = {"serverRef": {"name": "rds", "namespace": "databases"}}
    world.put(pool, lease())
    world.write(
        forbidden=["events", "leases.coordination.k8s.io", "postgresservers.pgbouncer-operator.io"],
    )
    answer = world.run("doctor", "-o", "json")
    assert answer.code == 1
    assert subjects(answer) == [
        ("fault", "BackendReachable=False", "BackendUnreachable"),
        ("unknown", "events", "Forbidden"),
    ]
    assert subjects(answer, "PostgresServer") == [("unknown", "status", "Forbidden")]
    assert subjects(answer, "Operator") == [("unknown", "lease", "Forbidden")]


def test_the_server_of_a_pool_is_diagnosed_too(world: World) -> None:
    pool = served()
    pool["spec"]["backend"] = {"serverRef": {"name": "rds", "namespace": "databases"}}
    status = {"conditions": [condition("LimitsKnown", "False", "LimitsMissing")], "operator": OPERATOR}
    metadata = {"namespace": "databases", "name": "rds"}
    world.put(pool, lease(), {"kind": "PostgresServer", "metadata": metadata, "status": status})
    answer = world.run("doctor", "-o", "json")
    assert answer.code == 1
    assert subjects(answer, "PostgresServer") == [("fault", "LimitsKnown=False", "LimitsMissing")]


# The operator.


def test_an_operator_whose_lease_stays_old_is_absent(world: World) -> None:
    world.put(served(), lease(OLD))
    answer = world.run("doctor", "-o", "json")
    assert answer.code == 1
    assert subjects(answer, "Operator") == [("fault", "lease", "OperatorAbsent")]
    assert world.waited == [15.0]


@pytest.mark.parametrize("renewed", [OLD, "2026-03-01T15:00:00.000000Z"])
def test_an_operator_whose_clock_is_hours_away_is_there_when_it_renews_its_lease(world: World, renewed: str) -> None:
    world.put(served(), lease(renewed))
    world.meanwhile = lambda: world.put(lease("2026-03-01T09:00:02.000000Z"))
    answer = world.run("doctor", "-o", "json")
    assert (answer.code, subjects(answer, "Operator")) == (0, [])


def test_a_lease_that_nobody_takes_is_an_absent_operator(world: World) -> None:
    world.put(served(), lease(holder=""))
    assert subjects(world.run("doctor", "-o", "json"), "Operator") == [("fault", "lease", "OperatorAbsent")]


def test_a_missing_lease_is_unknown(world: World) -> None:
    world.put(served())
    answer = world.run("doctor", "-o", "json")
    assert (answer.code, subjects(answer, "Operator")) == (0, [("unknown", "lease", "NotFound")])


def test_an_operator_that_another_one_asks_for_its_pool_is_still_the_one_that_serves(world: World) -> None:
    world.put(served(operator=f"{OPERATOR} asked by other"), lease())
    assert subjects(world.run("doctor", "-o", "json"), "Operator") == []


# Runbooks.


def test_every_runbook_is_a_page_and_its_address_is_the_charts() -> None:
    for page in findings.PAGES.values():
        assert (ROOT / f"operator/docs/runbooks/{page}.md").is_file(), page
    values = yaml.safe_load((ROOT / "charts/pgbouncer-operator/values.yaml").read_text(encoding="utf-8"))
    assert values["prometheusRule"]["runbooks"] == findings.RUNBOOKS


def test_a_page_is_about_a_condition_a_reason_or_an_advice_that_there_is() -> None:
    words = {*ConditionType, *Reason, *PoolAdvice, "OperatorAbsent"}
    assert {str(each) for each in findings.PAGES} <= {str(each) for each in words}
