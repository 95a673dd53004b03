"""The documents the agent serves."""

import json

import pytest

from pgbouncer_operator.agent import metrics
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.protocol.state import (
    AgentProblem,
    BackendReason,
    BackendTest,
    Figures,
    Flow,
    Phase,
    ProblemReason,
    Reload,
    ReloadKind,
    State,
    Totals,
    UserState,
)

WHOLE = State(
    uid="uid-1",
    version="0.1.0",
    pgbouncer="1.26.1",
    phase=Phase.RUNNING,
    hash="0123456789abcdef",
    seq=12,
    cap=12,
    figures=Figures(open=7, busy=3, waiting=1, clients=412, totals=Totals(9, 2_500_000, 500_000)),
    problems=(AgentProblem(ProblemReason.NO_GRANT, "none"),),
    users={"shop": UserState(True, "", "..1")},
    certificates={"ca": "..2"},
    backend=BackendTest(BackendReason.REFUSED_LOGIN, "no"),
    reload=Reload("0123456789abcdef", 0.21234, ReloadKind.RELOAD),
    traffic=Flow.PAUSED,
    lingering=("old",),
    reconnected="3",
)


def test_the_state_is_the_document_the_operator_reads() -> None:
    assert json.loads(WHOLE.to_json()) == {
        "protocol": 1,
        "uid": "uid-1",
        "version": "0.1.0",
        "pgbouncer": "1.26.1",
        "phase": "running",
        "hash": "0123456789abcdef",
        "seq": 12,
        "cap": 12,
        "open": 7,
        "busy": 3,
        "waiting": 1,
        "clients": 412,
        "totals": {"transactions": 9, "transactionMicroseconds": 2500000, "waitMicroseconds": 500000},
        "problems": [{"reason": "NoGrant", "message": "none"}],
        "users": {"shop": {"ok": True, "message": "", "generation": "..1"}},
        "certificates": {"ca": "..2"},
        "backend": {"ok": False, "reason": "BackendRefusedLogin", "message": "no"},
        "reload": {"hash": "0123456789abcdef", "seconds": 0.2123, "kind": "reload"},
        "traffic": "Paused",
        "lingering": ["old"],
        "reconnected": "3",
    }


def test_before_anything_is_known_nothing_is_claimed() -> None:
    found = json.loads(State(uid="", version="0.1.0").to_json())
    assert (found["phase"], found["hash"], found["pgbouncer"], found["reload"]) == ("waiting", None, None, None)
    assert found["backend"] == {"ok": None, "reason": "Unknown", "message": ""}


def lines(*families: object) -> set[str]:
    """Samples of metric families as Prometheus would show them, without the time."""
    return {
        f"{sample.name}{json.dumps(sample.labels, sort_keys=True)} {sample.value:g}"
        for family in families
        for sample in family.samples  # type: ignore[attr-defined]
    }


def test_the_agents_own_metrics_say_what_the_state_says() -> None:
    found = lines(*metrics.of_agent(WHOLE))
    assert "pgbouncer_operator_agent_server_connections_cap{} 12" in found
    assert "pgbouncer_operator_agent_clients_waiting{} 1" in found
    assert "pgbouncer_operator_agent_backend_ok{} 0" in found
    assert 'pgbouncer_operator_agent_problem{"reason": "NoGrant"} 1' in found
    assert 'pgbouncer_operator_agent_problem{"reason": "ReloadFailed"} 0' in found


def test_times_are_exported_in_seconds_and_the_console_is_left_out() -> None:
    row = dict.fromkeys(metrics.STATS, "0") | {"database": "shop", "total_wait_time": "2500000"}
    found = lines(*metrics.of_stats([row, row | {"database": "pgbouncer"}]))
    assert 'pgbouncer_stats_wait_seconds_total{"database": "shop"} 2.5' in found
    assert not [line for line in found if '"pgbouncer"' in line]


def test_the_oldest_wait_has_its_fraction() -> None:
    row = dict.fromkeys(metrics.POOLS, "0") | {"database": "shop", "user": "u", "maxwait": "2", "maxwait_us": "250000"}
    found = lines(*metrics.of_pools([row]))
    assert 'pgbouncer_pool_oldest_wait_seconds{"database": "shop", "user": "u"} 2.25' in found


def test_settings_are_changed_by_the_environment() -> None:
    found = AgentSettings.from_environment(
        {"PGBOUNCER_AGENT_RUN_DIR": "/tmp/x", "PGBOUNCER_AGENT_PORT": "7", "PGBOUNCER_AGENT_PGBOUNCER": "a 'b c'"}
    )
    assert (str(found.console), found.pgbouncer) == ("/tmp/x/.s.PGSQL.7", ("a", "b c"))
    assert AgentSettings.from_environment({}) == AgentSettings()


@pytest.mark.parametrize("name", ["PORT", "BEAT"])
def test_a_setting_that_is_no_number_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"PGBOUNCER_AGENT_{name}='x'"):
        AgentSettings.from_environment({f"PGBOUNCER_AGENT_{name}": "x"})
