"""One look at a PostgresServer: who asks for how much, and what status says of it."""

from typing import Any

import pytest
from tests.unit.reconcile import looks
from tests.unit.reconcile.looks import SEQ
from tests.unit.reconcile.servers_made import (
    LIMITS,
    MONITORING,
    NAME,
    READ,
    TODAY,
    entry,
    invalid,
    ledger,
    member,
    server,
    view,
)

from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.api.postgres_server import ServerStatus
from pgbouncer_operator.protocol.grants import Grant, Grants
from pgbouncer_operator.reconcile.budget import ledger as recovery
from pgbouncer_operator.reconcile.cache.views import ServerView
from pgbouncer_operator.reconcile.server import allocate, status
from pgbouncer_operator.reconcile.server.allocate import MemberPool, PoolHolding, PoolNeeds
from pgbouncer_operator.reconcile.server.limits import LimitsReading
from pgbouncer_operator.reconcile.server.status import ServerReadings
from pgbouncer_operator.reconcile.specification import parsed
from pgbouncer_operator.sizing import ledger as ledgers
from pgbouncer_operator.sizing.allocation import Allocations
from pgbouncer_operator.sizing.ledger import LedgerTerms, PodUse

NOBODY = Allocations(0, {})
DEMAND = {"serverConnections": {"max": 20, "sizing": {"mode": "Demand"}}}
TWO = {"databases": [{"name": "a"}, {"name": "b"}]}


@pytest.mark.parametrize(
    ("sentence", "spec", "status", "asked"),
    [
        ("its maximum", {}, {}, PoolNeeds(3, 20)),
        ("two databases need two connections in each pod", TWO, {}, PoolNeeds(6, 20)),
        ("its namespace's share without a maximum", {"serverConnections": {}}, {}, PoolNeeds(3, 30)),
        ("the size that was told last", DEMAND, {"serverConnections": {"size": 7}}, PoolNeeds(3, 7)),
        ("a size is none of a fixed pool", {}, {"serverConnections": {"size": 7}}, PoolNeeds(3, 20)),
        ("a size above the maximum", DEMAND, {"serverConnections": {"size": 70}}, PoolNeeds(3, 20)),
        ("nothing without pods", {"replicas": 0}, {}, PoolNeeds(0, 0)),
        ("nobody knows of a spec that cannot be read", {"databases": []}, {}, None),
    ],
)
def test_what_a_pool_asks_for(
    sentence: str, spec: dict[str, Any], status: dict[str, Any], asked: PoolNeeds | None
) -> None:
    pool = member(status, **spec)
    made = server(view(shares=[{"namespace": "web", "max": 30}]))
    assert allocate.asks(parsed(pool), pool.status, made) == asked, sentence


GRANTS = Grants(9, 3, {"a": Grant(2, 8, 4)}, {}, 0, "platform/rds", 4).to_json()


@pytest.mark.parametrize(
    ("text", "pods", "holding"),
    [
        (None, frozenset(), PoolHolding(0)),
        (None, frozenset("a"), PoolHolding(None)),
        ("{", frozenset("a"), PoolHolding(None)),
        (GRANTS, frozenset("a"), PoolHolding(4, "platform/rds", 4, 2)),
        (GRANTS, frozenset("ab"), PoolHolding(7, "platform/rds", 4, 2)),
    ],
)
def test_what_a_pool_holds(text: str | None, pods: frozenset[str], holding: PoolHolding) -> None:
    assert allocate.holds(None if text is None else ledger(text), pods) == holding


@pytest.mark.parametrize(
    ("conditions", "reaches"),
    [
        ([], True),
        ([{"type": "BackendReachable", "status": "Unknown"}], True),
        ([{"type": "BackendReachable", "status": "False"}, {"type": "Ready", "status": "True"}], False),
    ],
)
def test_a_pool_reaches_its_server_until_it_says_otherwise(conditions: list[dict[str, str]], reaches: bool) -> None:
    assert allocate.reaches(member({"conditions": conditions}).status) is reaches


ASKED, NOTHING, QUIET = PoolNeeds(3, 20), PoolHolding(0), ServerReadings()


def applicant(welcome: bool = True, asked: PoolNeeds | None = ASKED, holding: PoolHolding = NOTHING) -> MemberPool:
    return MemberPool(member(), asked, holding, welcome)


def shared(made: ServerView, *members: MemberPool) -> dict[str, int]:
    found = allocate.shared_out(made, server(made), members, allocate.Remains(frozenset()))
    return {name: each.connections for name, each in found.entries.items()}


@pytest.mark.parametrize(
    ("sentence", "made", "members", "given"),
    [
        ("a pool gets what it asks for", view(), (applicant(),), {"web/shop": 20}),
        ("who was never welcome has no entry", view(), (applicant(welcome=False),), {}),
        (
            "who is no more keeps the least",
            view(entry(20)),
            (applicant(welcome=False, holding=PoolHolding(20, "platform/rds", 4)),),
            {"web/shop": 3},
        ),
        (
            "a spec that cannot be read keeps what it has",
            view(entry(12)),
            (applicant(asked=None, holding=PoolHolding(12, "platform/rds", 4)),),
            {"web/shop": 12},
        ),
        (
            "nothing moves while no figure is known",
            view(entry(20), connections={}),
            (applicant(asked=PoolNeeds(3, 5), holding=PoolHolding(20, "platform/rds", 4)),),
            {"web/shop": 20},
        ),
    ],
)
def test_what_is_shared_out(
    sentence: str, made: ServerView, members: tuple[MemberPool, ...], given: dict[str, int]
) -> None:
    assert shared(made, *members) == given, sentence


TERMS = LedgerTerms(20, 1, 2, 6, server=NAME, allocation=4)


def after_an_absence() -> Grants:
    """Both pods drain for long. Their successors took static shares while no operator ran."""
    before = Grants(SEQ, 6, {uid: Grant(10, SEQ, 10) for uid in "ab"}, {}, 0, NAME, 4)
    old = [PodUse(uid, terminating=True, seq=SEQ, cap=10, open=10) for uid in "ab"]
    new = [PodUse(uid, terminating=False, seq=SEQ, cap=6, open=6) for uid in "cd"]
    return ledgers.allocate(before, [*old, *new], TERMS).grants


def after_a_recovery() -> Grants:
    """The ledger was deleted. One pod does not answer: it is charged with anything."""
    observed = looks.healthy()
    recovered = recovery.ledger(None, observed.pods, {**observed.states, "b": None})
    assert recovered is not None
    uses = [PodUse("a", terminating=False, seq=SEQ, cap=10, open=4), PodUse("b", terminating=False)]
    return ledgers.allocate(recovered.grants, uses, TERMS).grants


@pytest.mark.parametrize(
    ("grants", "doubted"),
    [
        (after_an_absence(), ()),
        (after_a_recovery(), ()),
        (Grants(SEQ, 6, {"forged": Grant(30, SEQ, 30, gone=1)}, {}, 0, NAME, 4), ("web/shop",)),
    ],
    ids=["no operator ran", "recovered", "forged"],
)
def test_who_is_charged_with_more_than_it_was_given_is_blamed_only_for_what_no_operator_writes(
    grants: Grants, doubted: tuple[str, ...]
) -> None:
    holding, made = allocate.holds(ledger(grants.to_json()), frozenset(grants.pods)), view(entry(20))
    assert holding.most is not None
    assert holding.most > 20
    assert (
        allocate.shared_out(made, server(made), [applicant(holding=holding)], allocate.Remains(frozenset())).doubted
        == doubted
    )


def told(made: ServerView, heard: ServerReadings = QUIET) -> ServerStatus:
    return status.server_status(made, server(made), NOBODY, heard, TODAY)


def summary(status: ServerStatus) -> dict[str, str]:
    return {each.type.value: f"{each.status.value} {each.reason.value}" for each in status.conditions or ()}


UNKNOWN = ServerReadings(reading=LimitsReading(None, Reason.LIMITS_UNKNOWN, "no"))
SUPER = ServerReadings(reading=LimitsReading(None, Reason.LOGIN_IS_SUPERUSER, "no"))
READABLE = {"connections": {}, "monitoring": MONITORING}


@pytest.mark.parametrize(
    ("made", "heard", "found"),
    [
        (view(), ServerReadings(), {"Ready": "True Shared"}),
        (view(), ServerReadings("There is no CA."), {"Ready": "False CaNotFound", "Stalled": "True CaNotFound"}),
        (
            view(connections={}),
            ServerReadings(),
            {"Ready": "False LimitsMissing", "Stalled": "True LimitsMissing", "LimitsKnown": "False LimitsMissing"},
        ),
        (
            view(**READABLE),
            ServerReadings(),
            {"Ready": "False Pending", "Reconciling": "True Pending", "LimitsKnown": "Unknown Pending"},
        ),
        (
            view(**READABLE),
            UNKNOWN,
            {
                "Ready": "False LimitsUnknown",
                "Reconciling": "True LimitsUnknown",
                "LimitsKnown": "Unknown LimitsUnknown",
            },
        ),
        (
            view(**READABLE),
            SUPER,
            {
                "Ready": "False LoginIsSuperuser",
                "Stalled": "True LoginIsSuperuser",
                "LimitsKnown": "False LoginIsSuperuser",
            },
        ),
        (view({"budget": 9}, **READABLE), UNKNOWN, {"Ready": "True Shared", "LimitsKnown": "Unknown LimitsUnknown"}),
        (view(monitoring=MONITORING), READ, {"Ready": "True Shared", "LimitsKnown": "True LimitsRead"}),
    ],
)
def test_what_is_told(made: ServerView, heard: ServerReadings, found: dict[str, str]) -> None:
    assert summary(told(made, heard)) == found


def test_pools_that_are_refused_are_named() -> None:
    found = status.server_status(
        view(), server(view()), Allocations(1, {}, ("web/a", "web/b")), ServerReadings(), TODAY
    )
    assert summary(found) == {"Ready": "True Shared", "WithinBudget": "False BudgetExceeded"}
    assert "web/a, web/b" in (found.conditions or ())[-1].message


def test_a_spec_that_cannot_be_read_leaves_the_figures_as_they_are() -> None:
    limits = {"maxConnections": 100, "reserved": 3, "started": LIMITS.started, "address": "platform/postgres:5432"}
    read = {"limits": limits, "budget": 96}
    made = view(read, connections={"max": -1})
    found = status.server_status(made, invalid(made), NOBODY, ServerReadings(), TODAY)
    assert summary(found) == {"Ready": "False InvalidSpec", "Stalled": "True InvalidSpec"}
    assert {key: found.wire()[key] for key in read} == read


def test_nothing_is_written_twice_and_what_is_told_no_more_is_removed() -> None:
    first = told(view(), ServerReadings()).wire()
    assert status.patch(view(first), told(view(first))) is None
    more = {**first, "limits": {"maxConnections": 100, "reserved": 3}}
    body = status.patch(view(more), told(view(more)))
    assert body is not None
    assert body["status"] == {**first, "limits": None}
    assert body["metadata"]["resourceVersion"] == "7"
