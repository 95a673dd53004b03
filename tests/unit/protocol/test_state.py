"""The document of GET /state: what the agent writes, and what the operator reads of it."""

import json
from typing import Any

import pytest

from pgbouncer_operator.protocol.reasons import BackendReason, Flow, Phase, ProblemReason, ReloadKind
from pgbouncer_operator.protocol.state import (
    AgentProblem,
    AgentState,
    BackendTest,
    Reload,
    Totals,
    UserState,
)
from pgbouncer_operator.protocol.validity import CertificateValidity

WHOLE = AgentState(
    uid="uid-1",
    version="0.1.0",
    pgbouncer="1.26.1",
    phase=Phase.RUNNING,
    digest="0123456789abcdef",
    seq=12,
    cap=12,
    open=7,
    busy=3,
    waiting=1,
    clients=412,
    clients_max=2000,
    totals=Totals(9, 2_500_000, 500_000),
    problems=(AgentProblem(ProblemReason.NO_GRANT, "none"),),
    users={"shop": UserState(True, "", "..1")},
    certificates={"ca": "..2"},
    validities={"ca": CertificateValidity(1, 2)},
    backend=BackendTest(BackendReason.REFUSED_LOGIN, "no"),
    reload=Reload("0123456789abcdef", 0.21234, ReloadKind.RELOAD),
    traffic=Flow.PAUSED,
    lingering=("old",),
    reconnected="3",
    md5_roles=("legacy",),
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
        "keeps": None,
        "open": 7,
        "busy": 3,
        "waiting": 1,
        "clients": 412,
        "clientsMax": 2000,
        "totals": {"transactions": 9, "transactionMicroseconds": 2500000, "waitMicroseconds": 500000},
        "problems": [{"reason": "NoGrant", "message": "none"}],
        "users": {"shop": {"ok": True, "message": "", "generation": "..1"}},
        "certificates": {"ca": "..2"},
        "validities": {"ca": {"begins": 1, "ends": 2}},
        "backend": {"ok": False, "reason": "BackendRefusedLogin", "message": "no"},
        "reload": {"hash": "0123456789abcdef", "seconds": 0.2123, "kind": "reload"},
        "traffic": "Paused",
        "lingering": ["old"],
        "reconnected": "3",
        "md5Roles": ["legacy"],
        "age": 0,
    }


def test_before_anything_is_known_nothing_is_claimed() -> None:
    found = json.loads(AgentState(uid="", version="0.1.0").to_json())
    assert (found["phase"], found["hash"], found["pgbouncer"], found["reload"]) == ("waiting", None, None, None)
    assert found["backend"] == {"ok": None, "reason": "Unknown", "message": ""}


FULL: dict[str, Any] = {
    "protocol": 1, "uid": "u", "version": "0.1.0", "pgbouncer": "1.26.1", "phase": "running", "hash": "abc", "seq": 4,
    "cap": 12, "open": 7, "busy": 3, "waiting": 1, "clients": 412,
    "problems": [{"reason": "NoGrant", "message": "it waits"}],
    "users": {"shop": {"ok": False, "message": "no key", "generation": "..2026"}},
    "backend": {"ok": None, "reason": "", "message": ""},
    "reload": {"hash": "abc", "seconds": 0.21, "kind": "reload"},
}  # fmt: skip


def test_a_whole_document_is_read() -> None:
    state = AgentState.from_json(json.dumps(FULL), "u")
    assert state is not None
    assert (state.digest, state.seq, state.cap, state.open, state.clients) == ("abc", 4, 12, 7, 412)
    assert (state.users["shop"].ok, state.users["shop"].generation) == (False, "..2026")
    assert state.backend.ok is None
    assert state.problems[0].reason == "NoGrant"
    assert state.reload == Reload("abc", 0.21, ReloadKind.RELOAD)


@pytest.mark.parametrize(("said", "read"), [(-5, 0), (10**400, 253402300799)], ids=["before 1970", "beyond 9999"])
def test_a_time_that_no_certificate_has_is_the_nearest_that_one_may_have(said: int, read: int) -> None:
    state = AgentState.from_json(json.dumps(FULL | {"validities": {"tls": {"begins": 0, "ends": said}}}), "u")
    assert state is not None
    assert state.validities["tls"].ends == read


def test_no_more_roles_and_no_longer_names_are_read_than_an_agent_writes() -> None:
    state = AgentState.from_json(json.dumps(FULL | {"md5Roles": ["x" * 1000, *"abcdefghijkl"]}), "u")
    assert state is not None
    assert state.md5_roles == ("x" * 63, *"abcdefghi")


def test_what_an_agent_says_before_it_knows_anything_is_read() -> None:
    state = AgentState.from_json(AgentState(uid="u", version="0.1.0").to_json(), "u")
    assert state is not None
    assert (state.digest, state.seq, state.cap, state.open) == ("", 0, 0, 0)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(FULL | {"uid": "somebody else"}),
        json.dumps({key: value for key, value in FULL.items() if key != "seq"}),
        json.dumps(FULL | {"seq": "many"}),
        json.dumps(FULL | {"users": ["shop"]}),
        json.dumps([FULL]),
        json.dumps(FULL | {"seq": 1e999}),
        json.dumps(FULL | {"cap": 2**53 + 1}),
        json.dumps(FULL | {"open": -1}),
        json.dumps(FULL | {"totals": {"transactions": 1, "transactionMicroseconds": 10**400, "waitMicroseconds": 1}}),
        json.dumps(FULL | {"reload": {"hash": "abc", "seconds": float("nan"), "kind": "reload"}}),
        json.dumps(FULL | {"reload": {"hash": "abc", "seconds": -1, "kind": "reload"}}),
        json.dumps(FULL | {"unknown": float("inf")}),
        "[" * 100_000,
        "null",
        "",
        "{",
    ],
)
def test_another_pods_word_and_what_cannot_be_read_are_unknown(text: str) -> None:
    assert AgentState.from_json(text, "u") is None


def read(**changes: Any) -> AgentState:
    state = AgentState.from_json(json.dumps(FULL | changes), "u")
    assert state is not None
    return state


def test_the_least_that_an_older_agent_reports_is_read() -> None:
    least = {"uid": "u", "phase": "waiting", "seq": 0, "cap": 0, "open": 0}
    assert AgentState.from_json(json.dumps(least), "u") == AgentState("u", "", candidates=False)


def test_an_agent_that_reports_no_lingering_databases_cannot_try_a_candidate() -> None:
    assert (read().candidates, read(lingering=[]).candidates) == (False, True)


def test_a_reason_of_a_newer_agent_is_kept_as_text() -> None:
    state = read(
        phase="resting",
        problems=[{"reason": "DiskFull", "message": "no room"}],
        backend={"ok": False, "reason": "BackendAsleep", "message": "zzz"},
        unknown=[1],
    )
    assert (state.phase, state.problems[0].reason) == ("resting", "DiskFull")
    assert (state.backend.ok, state.backend.reason) == (False, "BackendAsleep")


@pytest.mark.parametrize("reason", ["", "Ok", "Unknown"])
def test_a_failed_login_without_a_reason_that_says_so_counts_as_unreachable(reason: str) -> None:
    backend = read(backend={"ok": False, "reason": reason, "message": "no"}).backend
    assert backend == BackendTest(BackendReason.UNREACHABLE, "no")


def test_totals_of_a_process_that_started_again_count_from_zero() -> None:
    assert Totals(9, 50, 7).since(Totals(4, 20, 7)) == Totals(5, 30, 0)
    assert Totals(9, 50, 7).since(Totals(4, 20, 8)) == Totals(9, 50, 7)
