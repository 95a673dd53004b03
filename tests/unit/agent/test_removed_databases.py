"""Which databases linger, for how long, and out of whose share."""

from dataclasses import replace

import pytest

from pgbouncer_operator.agent import candidate, removed_databases
from pgbouncer_operator.agent.candidate import Candidate, CandidateInputs, Identity
from pgbouncer_operator.agent.console import DatabaseRow
from pgbouncer_operator.agent.grant import AcceptedGrant
from pgbouncer_operator.agent.mounts import Mounts
from pgbouncer_operator.agent.removed_databases import DEFAULT_SECONDS, TRANSACTION_SECONDS, RemovedDatabase
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.pgbouncer.composition import LOOKUP
from pgbouncer_operator.protocol.intent import AuthQueryIntent, DatabaseIntent, Intent, ServerTls

SHOP, LOG = DatabaseIntent("shop", "postgres"), DatabaseIntent("log", "postgres")
BOTH = Intent("ns/shop", {}, (SHOP, LOG), (), ServerTls("disable"), drain_seconds=30)
ONE = replace(BOTH, databases=(SHOP,))
NOW = 1000.0
LEAVING = RemovedDatabase(LOG, NOW + 30)


def made(intent: Intent = BOTH, cap: int = 10, lingering: tuple[DatabaseIntent, ...] = ()) -> Candidate:
    fresh = CandidateInputs(Identity("probe_1", b"key"), AgentSettings(), lingering=lingering)
    return candidate.candidate(Mounts(intent=intent, uid="a"), AcceptedGrant(1, cap, 1), fresh)


def test_what_ran_and_is_wanted_no_more_lingers_for_the_pools_drain_time() -> None:
    found = removed_databases.lingering({}, made(), ONE, NOW)
    assert found == {"log": RemovedDatabase(replace(LOG, max=5), NOW + 30)}  # with what it may hold now


def test_a_removed_database_that_others_lent_to_keeps_its_even_share() -> None:
    busy = candidate.regranted(made(), AcceptedGrant(1, 10, 1), {"log": 20})
    assert busy.shares == {"shop": 1, "log": 9}
    assert removed_databases.lingering({}, busy, ONE, NOW)["log"].database.max == 5


def test_an_older_operator_says_no_time_and_the_default_holds() -> None:
    found = removed_databases.lingering({}, made(), replace(ONE, drain_seconds=None), NOW)
    assert found["log"].until == NOW + DEFAULT_SECONDS


def test_a_later_change_does_not_begin_the_time_anew() -> None:
    assert removed_databases.lingering({"log": LEAVING}, made(), ONE, NOW + 20) == {"log": LEAVING}


def test_what_comes_back_lingers_no_more() -> None:
    assert removed_databases.lingering({"log": LEAVING}, made(ONE), BOTH, NOW) == {}


def test_at_the_first_start_nothing_lingers() -> None:
    assert removed_databases.lingering({}, None, ONE, NOW) == {}


IDLE = DatabaseRow(limit=1, open=0, paused=False, disabled=True)
DONE = [
    ("it is not in PgBouncer", None, NOW, True),
    ("nobody is there, but newcomers are let in", replace(IDLE, disabled=False), NOW, False),
    ("nobody is there and nobody may come", IDLE, NOW, True),
    ("a client rests", replace(IDLE, clients=1), NOW, False),
    ("the time is over and nothing is paused yet", replace(IDLE, clients=1), NOW + 30, False),
    ("paused before its time by somebody else", replace(IDLE, clients=1, paused=True), NOW + 29, False),
    ("the time is over, paused between transactions", replace(IDLE, clients=1, paused=True), NOW + 30, True),
    ("the time is over, in a transaction", replace(IDLE, clients=1, paused=True, busy=1), NOW + 30, False),
    (
        "a transaction that does not end",
        replace(IDLE, clients=1, paused=True, busy=1),
        NOW + 30 + TRANSACTION_SECONDS,
        True,
    ),
]


@pytest.mark.parametrize(("seen", "now", "expected"), [case[1:] for case in DONE], ids=[case[0] for case in DONE])
def test_it_is_let_go_when_nobody_is_cut_or_the_time_is_over(
    seen: DatabaseRow | None, now: float, expected: bool
) -> None:
    assert removed_databases.done(LEAVING, seen, now) is expected


def test_a_lingering_database_takes_one_connection_out_of_the_pods_cap() -> None:
    assert made(ONE, 10, (LOG,)).shares == {"shop": 9, "log": 1}


@pytest.mark.parametrize(("cap", "names"), [(1, []), (2, ["log"]), (3, ["log", "old"])])
def test_a_cap_without_a_connection_to_spare_keeps_none(cap: int, names: list[str]) -> None:
    found = made(ONE, cap, (LOG, replace(LOG, name="old")))
    assert [each.name for each in found.composition.lingering] == names
    assert sum(found.shares.values()) == cap


@pytest.mark.parametrize(
    ("mode", "seen", "most"),
    [
        ("session", DatabaseRow(4, open=3, paused=False, clients=3, busy=1), 3),
        ("session", DatabaseRow(4, open=4, paused=False, clients=9, busy=4), 4),
        ("transaction", DatabaseRow(4, open=4, paused=False, clients=9, busy=2), 2),
        ("transaction", DatabaseRow(4, open=4, paused=False, clients=9), 1),
    ],
)
def test_it_keeps_what_is_in_use_and_never_gets_more(mode: str, seen: DatabaseRow, most: int) -> None:
    assert removed_databases.shrunk(RemovedDatabase(replace(LOG, max=4), NOW), seen, mode).database.max == most
    own = RemovedDatabase(replace(LOG, max=4, pool_mode=mode), NOW)
    assert removed_databases.shrunk(own, seen, "transaction").database.max == most


def test_what_it_keeps_is_shared_by_nobody_and_each_of_the_others_has_one() -> None:
    assert made(ONE, 10, (replace(LOG, max=4),)).shares == {"shop": 6, "log": 4}
    assert made(ONE, 3, (replace(LOG, max=4),)).shares == {"shop": 1, "log": 2}


def test_a_database_that_is_wanted_does_not_linger_beside_itself() -> None:
    assert made(BOTH, 10, (LOG,)).composition.lingering == ()


def test_the_entry_for_lookups_has_one_connection_of_the_cap_before_anything_lingers() -> None:
    asking = replace(ONE, auth_query=AuthQueryIntent("_auth-query", "shop", "pgbouncer.lookup"))
    assert made(asking, 5).shares == {"shop": 4, LOOKUP: 1}
    assert made(asking, 2, (LOG,)).shares == {"shop": 1, LOOKUP: 1}


def test_a_cap_that_shrinks_below_what_lingers_is_refused_by_no_arithmetic() -> None:
    running = made(ONE, 10, (LOG,))
    assert candidate.regranted(running, AcceptedGrant(2, 2, 2)).shares == {"shop": 1, "log": 1}
