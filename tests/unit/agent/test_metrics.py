"""What the agent exports to Prometheus."""

import json
from dataclasses import replace

from pgbouncer_operator.agent import metrics
from pgbouncer_operator.agent.draining import DrainResult
from pgbouncer_operator.protocol.reasons import BackendReason, ProblemReason
from pgbouncer_operator.protocol.state import AgentProblem, AgentState, BackendTest
from pgbouncer_operator.protocol.validity import CertificateValidity

STATE = AgentState(
    "uid-1",
    "0.1.0",
    cap=12,
    waiting=1,
    problems=(AgentProblem(ProblemReason.NO_GRANT, "none"),),
    backend=BackendTest(BackendReason.REFUSED_LOGIN, "no"),
)


def lines(*families: object) -> set[str]:
    """Samples of metric families as Prometheus would show them, without the time."""
    return {
        f"{sample.name}{json.dumps(sample.labels, sort_keys=True)} {sample.value:g}"
        for family in families
        for sample in family.samples  # type: ignore[attr-defined]
    }


def test_the_agents_own_metrics_say_what_the_state_says() -> None:
    found = lines(*metrics.of_agent(STATE))
    assert "pgbouncer_operator_agent_server_connections_cap{} 12" in found
    assert "pgbouncer_operator_agent_clients_waiting{} 1" in found
    assert "pgbouncer_operator_agent_backend_ok{} 0" in found
    assert 'pgbouncer_operator_agent_problem{"reason": "NoGrant"} 1' in found
    assert 'pgbouncer_operator_agent_problem{"reason": "ReloadFailed"} 0' in found


def test_the_most_clients_are_exported_once_they_are_decided() -> None:
    assert "pgbouncer_operator_agent_clients_max{} 900" in lines(*metrics.of_agent(replace(STATE, clients_max=900)))
    assert not [line for line in lines(*metrics.of_agent(STATE)) if "clients_max" in line]


def test_failed_logins_are_exported_by_reason_from_their_first_on() -> None:
    found = lines(metrics.of_failures({BackendReason.REFUSED_LOGIN: 3}))
    name = "pgbouncer_operator_agent_login_failures_total"
    assert f'{name}{{"reason": "BackendRefusedLogin"}} 3' in found
    assert f'{name}{{"reason": "BackendIsFull"}} 0' in found
    assert not [line for line in found if '"Ok"' in line or '"Unknown"' in line]


def test_the_end_of_each_certificate_in_use_is_exported() -> None:
    found = lines(*metrics.of_agent(replace(STATE, validities={"tls": CertificateValidity(1, 1800000000)})))
    assert 'pgbouncer_operator_agent_certificate_end_timestamp_seconds{"certificate": "tls"} 1.8e+09' in found


def test_times_are_exported_in_seconds_and_the_console_is_left_out() -> None:
    row = dict.fromkeys(metrics.STATS, "0") | {"database": "shop", "total_wait_time": "2500000"}
    found = lines(*metrics.of_stats([row, row | {"database": "pgbouncer"}]))
    assert 'pgbouncer_stats_wait_seconds_total{"database": "shop"} 2.5' in found
    assert not [line for line in found if '"pgbouncer"' in line]


def test_the_oldest_wait_has_its_fraction() -> None:
    row = dict.fromkeys(metrics.POOLS, "0") | {"database": "shop", "user": "u", "maxwait": "2", "maxwait_us": "250000"}
    found = lines(*metrics.of_pools([row]))
    assert 'pgbouncer_pool_oldest_wait_seconds{"database": "shop", "user": "u"} 2.25' in found


def test_a_drain_exports_what_became_of_its_clients_and_a_pod_that_serves_exports_nothing_of_it() -> None:
    found = lines(*metrics.of_drain(DrainResult(left=5, closed=2, cut=1, seconds=7.5, done=True)))
    assert 'pgbouncer_operator_agent_drain_clients{"outcome": "closed"} 2' in found
    assert "pgbouncer_operator_agent_drain_seconds{} 7.5" in found
    assert not lines(*metrics.of_drain(None))
