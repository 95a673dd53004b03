"""Which limits of a server are in force, and what is told of them."""

from typing import Any

import pytest
from tests.unit.reconcile.servers_made import LIMITS, MONITORING, server, view

from pgbouncer_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason
from pgbouncer_operator.reconcile.server.limits import LimitsReading, advice, condition, told_at_all

READ: dict[str, Any] = {"limits": {"maxConnections": 100, "reserved": 3, "started": LIMITS.started}, "budget": 50}
READ["limits"]["address"] = "platform/postgres:5432"


@pytest.mark.parametrize(
    ("sentence", "connections", "status", "budget"),
    [
        ("the owner's word comes first", {"max": 60, "unpooled": 10}, READ, 50),
        ("then the server's, and one is kept for the login", {}, READ, 96),
        ("which is one of the unpooled", {"unpooled": 17}, READ, 80),
        ("headroom is taken of the rest", {"unpooled": 17, "headroomPercent": 10}, READ, 72),
        ("more unpooled than there is leaves nothing", {"unpooled": 200}, READ, 0),
        ("then what was shared out", {"unpooled": 5, "headroomPercent": 10}, {"budget": 50}, 50),
        ("and nothing is known of a new server", {}, {}, None),
    ],
)
def test_the_budget_in_force(
    sentence: str, connections: dict[str, int], status: dict[str, Any], budget: int | None
) -> None:
    assert server(view(status, connections=connections)).spec.connections.budget == budget, sentence


@pytest.mark.parametrize(
    ("sentence", "status", "budget"),
    [
        ("read at this host", {"limits": {"address": "platform/postgres:5432"}}, 96),
        ("read at the former host", {"limits": {"address": "platform/other:5432"}, "observedGeneration": 2}, 50),
        ("read at the former port", {"limits": {"address": "platform/postgres:5433"}}, 50),
        ("read by an older operator for this spec", {"limits": {}, "observedGeneration": 2}, 96),
        ("read by an older operator for a former spec", {"limits": {}, "observedGeneration": 1}, 50),
    ],
)
def test_limits_count_only_at_the_host_and_port_where_they_were_read(
    sentence: str, status: dict[str, Any], budget: int
) -> None:
    read = {"maxConnections": 100, "reserved": 3, **status["limits"]}
    made = view({**status, "limits": read, "budget": 50}, connections={})
    assert server(made).spec.connections.budget == budget, sentence
    assert (made.limits is None) is (budget == 50), sentence


def said(reading: LimitsReading | None, before: Condition | None = None, **spec: Any) -> Condition:
    made = view({}, **{"monitoring": MONITORING, **spec})
    return condition(server(made), made, reading, before)


BEFORE = Condition(type=ConditionType.LIMITS_KNOWN, status=ConditionStatus.TRUE, reason=Reason.LIMITS_READ)
FAILED = LimitsReading(None, Reason.LIMITS_UNKNOWN, "main:5432 did not give its limits: too many clients.")
SUPER = LimitsReading(None, Reason.LOGIN_IS_SUPERUSER, "It is a superuser.")


@pytest.mark.parametrize(
    ("reading", "spec", "status", "words"),
    [
        (
            LimitsReading(LIMITS),
            {},
            "True",
            "The server takes 97 connections of ordinary logins (max_connections is 100, and 3 of them are reserved)",
        ),
        (FAILED, {"connections": {}}, "Unknown", "too many clients. Pools wait until it is known."),
        (FAILED, {}, "Unknown", "connections.max stays in force."),
        (SUPER, {"connections": {}}, "False", "It is a superuser. Pools wait"),
        (None, {}, "Unknown", "The operator is asking the server."),
        (None, {"monitoring": None, "connections": {}}, "False", "Set connections.max or monitoring.secretRef."),
    ],
)
def test_what_is_told_of_the_limits(
    reading: LimitsReading | None, spec: dict[str, Any], status: str, words: str
) -> None:
    found = said(reading, **spec)
    assert found.status == status
    assert words in found.message


def test_an_operator_that_has_just_started_repeats_what_was_told() -> None:
    assert said(None, BEFORE) is BEFORE
    missing = BEFORE.model_copy(update={"reason": Reason.LIMITS_MISSING})
    assert said(None, missing).reason is Reason.PENDING


@pytest.mark.parametrize(
    ("spec", "told"), [({}, False), ({"monitoring": MONITORING}, True), ({"connections": {}}, True)]
)
def test_limits_are_no_subject_where_only_the_owner_speaks(spec: dict[str, Any], told: bool) -> None:
    made = view({}, **spec)
    assert told_at_all(server(made), made) is told


@pytest.mark.parametrize(
    ("connections", "reason", "figures"),
    [
        ({"max": 98}, "MaxAboveServer", ("98", "97 connections", "max_connections is 100")),
        ({"max": 97}, "LimitNearSum", ("97 connections together", "leaves 0 for")),
        ({}, "LimitNearSum", ("96 connections together", "leaves 1 for")),
        ({"max": 97, "unpooled": 5}, None, ()),
        ({"headroomPercent": 10}, None, ()),
        ({"max": 60}, None, ()),
    ],
)
def test_what_is_advised(connections: dict[str, int], reason: str | None, figures: tuple[str, ...]) -> None:
    found = advice(server(view(READ, connections=connections)), LIMITS)
    assert [each.reason for each in found] == ([reason] if reason else [])
    assert all(each in found[0].message for each in figures)


def test_nothing_is_advised_of_limits_that_nobody_knows() -> None:
    assert advice(server(view({}, connections={"max": 9999})), None) == ()
    assert advice(server(view({}, connections={})), LIMITS) == ()
