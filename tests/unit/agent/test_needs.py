"""When the shares of a pod's databases follow what they need, and when they stay."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.agent.test_candidate import FRESH, made, with_intent

from pgbouncer_operator.agent import needs, shares
from pgbouncer_operator.agent.console import ConsoleAnswer, DatabaseRow, Figures
from pgbouncer_operator.agent.needs import Needs
from pgbouncer_operator.protocol.intent import DatabaseIntent

NAMES = ("a", "b", "c", "d")
GRANT = 16
EVEN = dict.fromkeys(NAMES, 4)
POD = made(with_intent(databases=tuple(DatabaseIntent(name, "postgres") for name in NAMES)), cap=GRANT)


def division(demand: Mapping[str, int]) -> dict[str, int]:
    return shares.divided(POD.composition.intent, (), GRANT, demand)


@dataclass
class Pod:
    """A PgBouncer whose limits follow the demand at once. Its clients hold a connection or wait for one."""

    now: float = 0.0
    needs: Needs = field(default_factory=Needs)
    moves: int = 0

    @property
    def shares(self) -> dict[str, int]:
        return division(self.needs.demand)

    def look(self, seconds: int = 1, **clients: int) -> dict[str, int]:
        """Look once a second, with so many clients; the shares afterwards."""
        for _ in range(seconds):
            self.now += 1.0
            limits, has = self.shares, {name: clients.get(name, 0) for name in NAMES}
            held = {name: min(has[name], limits[name]) for name in NAMES}
            rows = {
                name: DatabaseRow(limits[name], held[name], False, False, has[name], held[name], has[name] - held[name])
                for name in NAMES
            }
            answer = ConsoleAnswer(rows, Figures())
            before, self.needs = self.needs, needs.look(self.needs, self.now, POD, GRANT, answer)
            self.moves += before.demand != self.needs.demand
        return self.shares


def test_clients_that_wait_for_a_second_get_what_nobody_else_needs() -> None:
    pod = Pod()
    assert pod.look(c=12) == EVEN
    assert pod.look(c=12) == {"a": 1, "b": 1, "c": 13, "d": 1}


def test_a_wait_that_ends_within_a_second_moves_nothing() -> None:
    pod = Pod()
    for _ in range(100):
        pod.look(c=12)
        assert pod.look(c=4) == EVEN
    assert pod.moves == 0


def test_what_a_database_has_used_lately_stays_with_it() -> None:
    pod = Pod()
    pod.look(d=3)
    assert pod.look(3, c=16) == {"a": 1, "b": 1, "c": 10, "d": 4}


def test_a_database_in_use_keeps_one_free_for_its_next_client() -> None:
    pod = Pod()
    assert pod.look(2, c=30) == {"a": 1, "b": 1, "c": 13, "d": 1}
    assert pod.look(2, c=30, d=1) == {"a": 1, "b": 1, "c": 12, "d": 2}
    assert pod.look(100, c=30, d=1) == {"a": 1, "b": 1, "c": 12, "d": 2}
    assert pod.moves == 2


def test_a_database_takes_its_even_share_back_although_another_needs_it() -> None:
    pod = Pod()
    assert pod.look(2, c=30)["c"] == 13
    assert pod.look(2, c=30, d=8) == {"a": 1, "b": 1, "c": 7, "d": 7}
    assert pod.look(2, c=30, d=8, a=8, b=8) == EVEN


def test_databases_with_changing_clients_do_not_take_connections_from_each_other_all_the_time() -> None:
    pod = Pod()
    for _ in range(30):
        pod.look(10, c=30)
        pod.look(10, c=30, d=4)
    assert pod.moves <= 600 / needs.CLAIM_SECONDS


def test_when_no_database_needs_more_all_have_the_same_again_after_a_minute_and_then_nothing_moves() -> None:
    pod = Pod()
    pod.look(2, c=30)
    pod.look(59)
    assert pod.moves == 1
    assert pod.look(2) == EVEN
    pod.look(1000)
    assert pod.moves == 2


@pytest.mark.parametrize(("busy", "waiting"), [(0, 9), (3, 9)], ids=["paused, or the server is away", "logins go on"])
def test_clients_that_wait_for_something_else_than_their_share_move_nothing(busy: int, waiting: int) -> None:
    row, found = DatabaseRow(4, 4, False, busy=busy, waiting=waiting), Needs()
    for second in range(20):
        found = needs.following(found, float(second), {"c": row}, division)
    assert found.demand == {}


def test_a_grant_that_is_too_small_for_what_runs_moves_nothing() -> None:
    busy = DatabaseRow(1, 1, False, busy=1, waiting=1)
    answer = ConsoleAnswer(dict.fromkeys(NAMES, busy), Figures())
    assert needs.look(Needs(), 1.0, POD, 3, answer) == Needs()


@settings(max_examples=60, deadline=None)
@given(
    earlier=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 40)),
    clients=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 40)),
)
def test_under_any_steady_load_shares_come_to_rest_and_nobody_has_less_than_its_part(
    earlier: dict[str, int], clients: dict[str, int]
) -> None:
    pod = Pod()
    pod.look(15, **earlier)
    found = pod.look(3, **clients)
    assert all(found[name] >= min(has, EVEN[name]) for name, has in clients.items())
    pod.look(80, **clients)
    moves, rest = pod.moves, pod.look(200, **clients)
    assert pod.moves == moves
    assert all(rest[name] >= min(has, EVEN[name]) for name, has in clients.items())
    idle = sum(max(0, rest[name] - clients.get(name, 0) - 1) for name in NAMES)
    assert not idle or all(rest[name] >= has for name, has in clients.items()), "none is idle beside one that waits"


MIXED = with_intent(
    databases=(DatabaseIntent("a", "pg", pool_mode="session"), DatabaseIntent("b", "pg"), DatabaseIntent("c", "pg"))
)


def test_in_session_mode_a_share_stays_because_a_session_may_never_give_back() -> None:
    found = made(MIXED, cap=12, fresh=replace(FRESH, demand={"a": 12, "c": 12}))
    assert found.shares == {"a": 4, "b": 1, "c": 7}
    assert made(MIXED, cap=12).shares == {"a": 4, "b": 4, "c": 4}


@settings(max_examples=200, deadline=None)
@given(
    most=st.dictionaries(st.sampled_from(NAMES), st.integers(1, 9), min_size=1),
    removed=st.sets(st.sampled_from(("x", "y"))),
    demand=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 50)),
    cap=st.integers(6, 40),
)
def test_a_demand_moves_shares_within_the_same_sum_and_every_maximum(
    most: dict[str, int], removed: set[str], demand: dict[str, int], cap: int
) -> None:
    intent = with_intent(databases=tuple(DatabaseIntent(name, "pg", max=each) for name, each in most.items())).intent
    assert intent is not None
    leaving = tuple(DatabaseIntent(name, "pg", max=3) for name in sorted(removed))
    even, moved = (shares.divided(intent, leaving, cap, each) for each in ({}, demand))
    assert sum(moved.values()) == sum(even.values()) <= cap
    assert all(1 <= moved[name] <= each for name, each in most.items())
    assert all(moved[name] >= min(demand.get(name, 0), even[name]) for name in most)
    assert {name: moved[name] for name in removed} == {name: even[name] for name in removed}
