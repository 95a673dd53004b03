"""Named situations of a server's budget. That the sum holds in all others: tests/property/test_allocation.py."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from pgbouncer_operator.api.postgres_server import ServerStatus
from pgbouncer_operator.protocol.grants import Grant, Grants
from pgbouncer_operator.sizing.allocation import (
    POOLS,
    ROUNDS,
    Allocations,
    Applicant,
    Entry,
    Terms,
    allocate,
)
from pgbouncer_operator.sizing.fairness import Portion
from pgbouncer_operator.sizing.ledger import held

FREE = Portion(0, None, 10)


def wants(pool: str, want: int, **changes: Any) -> Applicant:
    """A pool without pods yet that needs two connections at least."""
    return replace(Applicant(pool, f"{pool}-uid", "shop", 2, want, 0, 0), **changes)


def entry(pool: str, connections: int, high: int = 0, seq: int = 4) -> Entry:
    return Entry(pool, f"{pool}-uid", connections, max(high, connections), seq)


def allocations(*entries: Entry) -> Allocations:
    return Allocations(4, {each.pool: each for each in entries})


def terms(budget: int, *emptied: str, **portions: Portion) -> Terms:
    return Terms(budget, {"shop": FREE, **portions}, frozenset(emptied))


def given(found: Allocations) -> dict[str, tuple[int, int]]:
    return {name: (each.connections, each.high) for name, each in found.entries.items()}


ONE = allocations(entry("a", 20))
SHRINKING = allocations(entry("a", 10, high=20))


@pytest.mark.parametrize(
    ("sentence", "before", "applicants", "found"),
    [
        ("nobody asks", Allocations(0, {}), [], {}),
        ("one gets what it wants", Allocations(0, {}), [wants("a", 8)], {"a": (8, 8)}),
        ("two share", Allocations(0, {}), [wants("a", 40), wants("b", 40)], {"a": (10, 10), "b": (10, 10)}),
        (
            "a newcomer waits for what the first still holds",
            ONE,
            [wants("a", 40, held=20, confirmed=4), wants("b", 40)],
            {"a": (10, 20)},
        ),
        (
            "what comes back with more than it is charged with is charged with that",
            allocations(entry("a", 5)),
            [wants("a", 10, held=12)],
            {"a": (5, 12)},
        ),
        (
            "what comes back with more than there is stays where it is",
            allocations(entry("a", 5)),
            [wants("a", 10, held=21)],
            {"a": (5, 5)},
        ),
        (
            "what is confirmed for an older round frees nothing",
            SHRINKING,
            [wants("a", 40, held=10, confirmed=3), wants("b", 40)],
            {"a": (10, 20)},
        ),
        (
            "pods that still hold more free nothing",
            SHRINKING,
            [wants("a", 40, held=11, confirmed=4), wants("b", 40)],
            {"a": (10, 20)},
        ),
        (
            "an unknown ledger frees nothing",
            SHRINKING,
            [wants("a", 40, held=None, confirmed=4), wants("b", 40)],
            {"a": (10, 20)},
        ),
        (
            "a confirmed shrink lets the other grow",
            SHRINKING,
            [wants("a", 40, held=10, confirmed=4), wants("b", 40)],
            {"a": (10, 10), "b": (10, 10)},
        ),
        (
            "a pool that is not welcome keeps its least",
            ONE,
            [wants("a", 40, held=20, confirmed=4, welcome=False)],
            {"a": (2, 20)},
        ),
        ("a pool that is gone keeps its charge", ONE, [wants("b", 40)], {"a": (20, 20), "b": (0, 0)}),
        ("one whose ledger nobody can read gets no entry", Allocations(0, {}), [wants("a", 8, held=None)], {}),
    ],
)
def test_a_round(
    sentence: str, before: Allocations, applicants: list[Applicant], found: dict[str, tuple[int, int]]
) -> None:
    assert given(allocate(before, applicants, terms(20))) == found, sentence


def test_a_pool_without_pods_is_forgotten_and_another_of_its_name_begins_anew() -> None:
    assert given(allocate(ONE, [wants("b", 40)], terms(20, "a"))) == {"b": (20, 20)}
    again = replace(wants("a", 5), uid="another")
    assert given(allocate(ONE, [again], terms(20))) == {"a": (20, 20)}, "the former one's pods are still there"
    assert given(allocate(ONE, [again], terms(20, "a"))) == {"a": (5, 5)}


def test_a_round_that_changes_nothing_is_the_former_one() -> None:
    again = allocate(ONE, [wants("a", 40, held=20, confirmed=4)], terms(20))
    assert (again.seq, again.entries) == (ONE.seq, ONE.entries)


def test_every_change_has_a_round_above_all_that_anybody_has_seen() -> None:
    found = allocate(ONE, [wants("a", 40, held=20, confirmed=9)], terms(30))
    assert found.seq == 10
    assert found.entries["a"].seq == 10


def test_a_floor_that_does_not_fit_is_refused_and_the_older_pool_keeps_its_own() -> None:
    found = allocate(Allocations(0, {}), [wants("old", 9, floor=6), wants("young", 9, floor=6)], terms(10))
    assert found.refused == ("young",)
    assert found.entries["old"].connections == 9
    assert found.entries.get("young", entry("young", 0)).connections == 0


def test_guarantees_and_maxima_are_those_of_groups() -> None:
    pools = [wants("a", 40), wants("b", 40), wants("c", 40, group="bank")]
    found = allocate(Allocations(0, {}), pools, terms(30, bank=Portion(20, None, 1)))
    assert {name: each.connections for name, each in found.entries.items()} == {"a": 5, "b": 5, "c": 20}
    found = allocate(Allocations(0, {}), pools, terms(30, shop=Portion(0, 8, 10), bank=FREE))
    assert {name: each.connections for name, each in found.entries.items()} == {"a": 4, "b": 4, "c": 22}


def test_a_lower_budget_grows_nobody_until_it_holds() -> None:
    found = allocate(ONE, [wants("a", 40, held=20, confirmed=4), wants("b", 40)], terms(8))
    assert given(found) == {"a": (4, 20)}
    assert found.charged == 20


@pytest.mark.parametrize(
    ("sentence", "pods", "most"),
    [
        ("as granted", {"a", "b"}, 7),
        ("one with no grant takes what such a pod may", {"a", "b", "new"}, 10),
        ("one that is gone still counts", {"a"}, 7),
    ],
)
def test_what_pods_may_hold(sentence: str, pods: set[str], most: int) -> None:
    grants = Grants(9, 3, {"a": Grant(2, 8, 4), "b": Grant(0, 8, 0)})
    assert held(grants, pods) == most, sentence


@pytest.mark.parametrize("before", [Allocations(0, {}), allocations(entry("a", 5))], ids=["first", "again"])
def test_what_brings_more_than_there_is_room_for_is_named(before: Allocations) -> None:
    assert allocate(before, [wants("a", 10, held=21)], terms(20)).refused == ("a",)


FORGED = 10_000


@pytest.mark.parametrize(
    ("sentence", "before", "forger", "found"),
    [
        ("a round above ours", ONE, wants("a", 20, held=FORGED, confirmed=4 + FORGED, largest=FORGED), (20, 20)),
        ("more than it was given", ONE, wants("a", 20, held=FORGED, confirmed=4, largest=FORGED), (20, 20)),
        ("little, by a round above ours", SHRINKING, wants("a", 20, held=0, confirmed=5, largest=0), (10, 20)),
        (
            "a pool that was given nothing",
            allocations(entry("b", 8)),
            wants("a", 20, held=FORGED, confirmed=4, largest=FORGED),
            None,
        ),
    ],
)
def test_a_forged_ledger_takes_nothing_from_the_others(
    sentence: str, before: Allocations, forger: Applicant, found: tuple[int, int] | None
) -> None:
    budget = 20 if before is SHRINKING else 40
    for _ in range(3):  # it is forged again after every round
        after = allocate(before, [forger, wants("b", 30, held=0)], terms(budget))
        forger = replace(forger, confirmed=after.seq + FORGED) if forger.confirmed > 4 else forger
        before = after
    assert given(before).get("a") == found, sentence
    expected = {20: {}, 40: {"b": (20, 20)}}[budget]
    assert {name: each for name, each in given(before).items() if name == "b" and each[1]} == expected, sentence


@pytest.mark.parametrize(
    ("sentence", "changes", "doubted"),
    [
        ("as given", {"held": 10, "confirmed": 4, "largest": 10}, False),
        ("more in all: pods took static shares", {"held": 16, "confirmed": 4, "largest": 10}, False),
        ("a round above ours: an older status was restored", {"held": 10, "confirmed": 9, "largest": 12}, False),
        ("an older round", {"held": 12, "confirmed": 3, "largest": 12}, False),
        ("one pod holds more than its pool may", {"held": 11, "confirmed": 4, "largest": 11}, True),
        ("a round that no server reaches", {"held": 10, "confirmed": ROUNDS + 1, "largest": 10}, True),
    ],
)
def test_only_the_pool_whose_ledger_no_operator_can_have_written_is_named(
    sentence: str, changes: dict[str, int], doubted: bool
) -> None:
    before = allocations(entry("a", 10), entry("b", 10))
    pools = [wants("a", 10, **changes), wants("b", 10, held=10, confirmed=4, largest=10)]
    assert allocate(before, pools, terms(20)).doubted == (("a",) if doubted else ()), sentence


def test_a_lost_record_is_brought_back_by_the_ledgers_each_up_to_what_its_namespace_may_hold() -> None:
    pools = [wants("a", 8, held=8, confirmed=7), wants("b", 8, held=FORGED, confirmed=2**52, group="bank")]
    found = allocate(Allocations(0, {}), pools, terms(40, bank=Portion(0, 4, 10)))
    assert given(found) == {"a": (8, 8), "b": (4, 4)}
    assert 7 < found.seq <= ROUNDS + 1


def test_a_pool_brings_no_more_from_elsewhere_than_its_namespace_may_hold() -> None:
    found = allocate(Allocations(0, {}), [wants("a", 4, held=30)], terms(40, shop=Portion(0, 4, 10)))
    assert (given(found), found.refused) == ({}, ("a",))


def test_a_server_has_no_more_entries_than_its_status_takes_and_pools_that_get_nothing_take_no_room_of_others() -> None:
    poor = [wants(f"shop/poor-{number}", 2, floor=50) for number in range(POOLS)]
    rich = [wants(f"shop/rich-{number}", 1, floor=1) for number in range(POOLS)]
    free = terms(40)
    before = allocate(Allocations(0, {}), poor, terms(40))
    assert len(before.entries) == POOLS
    after = allocate(before, [*poor, *rich[:40]], free)
    assert len(after.entries) == POOLS
    assert after.charged == 40, "the newcomers are in"
    assert allocate(after, [*poor, *rich[:40]], free).entries == after.entries, "it comes to rest"
    full = allocate(Allocations(0, {}), rich, terms(3 * POOLS))
    more = allocate(full, [*rich, wants("shop/newcomer", 1, floor=1)], terms(3 * POOLS))
    assert (more.entries, more.refused) == (full.entries, ("shop/newcomer",))


def test_the_limit_is_that_of_the_definition() -> None:
    one = {"connections": 1, "high": 1, "seq": 1}
    ServerStatus(allocations=[{"pool": f"shop/{number}", **one} for number in range(POOLS)])
    with pytest.raises(ValidationError):
        ServerStatus(allocations=[{"pool": f"shop/{number}", **one} for number in range(POOLS + 1)])


@pytest.mark.parametrize(
    ("sentence", "elsewhere", "before", "applicants", "found"),
    [
        ("nothing is free", entry("z", 0, high=20), Allocations(0, {}), [wants("a", 20)], {}),
        ("what is free", entry("z", 0, high=12), Allocations(0, {}), [wants("a", 20)], {"a": (8, 8)}),
        ("what stays is kept", entry("z", 6), ONE, [wants("a", 20, held=20, confirmed=4)], {"a": (14, 20)}),
        ("a pool brings it", entry("a", 0, high=20), Allocations(0, {}), [wants("a", 20, held=20)], {"a": (20, 20)}),
        (
            "an older pool does not get what a younger one holds there",
            entry("b", 0, high=20),
            Allocations(0, {}),
            [wants("a", 20), wants("b", 20, held=20)],
            {"b": (10, 20)},
        ),
        ("it is counted once", entry("a", 0, high=20), ONE, [wants("a", 20, held=20, confirmed=4)], {"a": (20, 20)}),
    ],
)
def test_what_a_former_server_of_the_host_has_to_get_back_is_not_given(
    sentence: str, elsewhere: Entry, before: Allocations, applicants: list[Applicant], found: dict[str, tuple[int, int]]
) -> None:
    rules = replace(terms(20), elsewhere={elsewhere.pool: elsewhere})
    assert given(allocate(before, applicants, rules)) == found, sentence
