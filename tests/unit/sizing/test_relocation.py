"""Named situations of a server whose host or port was edited."""

from dataclasses import replace

import pytest

from pgbouncer_operator.sizing.allocation import Allocations, Applicant, Entry, Terms, allocate
from pgbouncer_operator.sizing.fairness import Portion
from pgbouncer_operator.sizing.relocation import FORMER, relocate

OLD, NEW = "main:5432", "other:5432"
SHOP = Entry("a", "a-uid", 20, 20, 4)
THERE = Allocations(4, {"a": SHOP}, address=OLD)
POOL = Applicant("a", "a-uid", "shop", 2, 40, 20, 4)


def terms(elsewhere: int = 0) -> Terms:
    theirs = {"z": Entry("z", "z-uid", 0, elsewhere, 0)} if elsewhere else {}
    return Terms(40, {"shop": Portion(0, None, 10)}, frozenset(), theirs)


def moved(before: Allocations, elsewhere: int = 0, gives: bool = True, pool: Applicant = POOL) -> Allocations:
    rules = terms(elsewhere)
    return relocate(before, allocate(before, [pool], rules), NEW, rules, gives)


def test_what_was_given_is_charged_at_the_former_host_and_nothing_more() -> None:
    found = moved(THERE)
    assert (found.address, found.seq) == (NEW, 5)
    assert found.entries["a"] == Entry("a", "a-uid", 40, 40, 5, ((OLD, 20),))


@pytest.mark.parametrize(
    ("sentence", "elsewhere", "gives", "connections"),
    [
        ("what others hold there leaves too little", 30, True, 20),
        ("another server gives what is there", 0, False, 20),
    ],
)
def test_a_server_that_does_not_fit_stays_and_adds_nothing(
    sentence: str, elsewhere: int, gives: bool, connections: int
) -> None:
    found = moved(THERE, elsewhere, gives)
    assert (found.address, found.entries["a"].connections) == (OLD, connections), sentence


def test_an_entry_with_too_many_former_hosts_moves_no_further() -> None:
    full = replace(SHOP, former=tuple((f"host{number}:5432", 1) for number in range(FORMER)))
    assert moved(replace(THERE, entries={"a": full})).address == OLD


def test_a_server_that_comes_back_has_left_the_other_and_not_this_one() -> None:
    away = replace(THERE, entries={"a": replace(SHOP, former=((NEW, 10),))})
    assert moved(away).entries["a"].former == ((OLD, 20),)


@pytest.mark.parametrize(
    ("sentence", "pool", "former"),
    [
        ("a ledger of this round says that all are here", replace(POOL, reached=NEW), ()),
        ("a ledger of an older round does not count", replace(POOL, reached=NEW, confirmed=3), ((OLD, 20),)),
        ("that of another host does not either", replace(POOL, reached=OLD), ((OLD, 20),)),
    ],
)
def test_the_former_host_is_free_once_the_ledger_says_so(
    sentence: str, pool: Applicant, former: tuple[tuple[str, int], ...]
) -> None:
    before = Allocations(4, {"a": replace(SHOP, former=((OLD, 20),))}, address=NEW)
    assert moved(before, pool=pool).entries["a"].former == former, sentence


def test_a_pool_that_has_shrunk_is_charged_with_less_there_when_it_grows_again() -> None:
    before = Allocations(4, {"a": Entry("a", "a-uid", 5, 20, 4, ((OLD, 20),))}, address=NEW)
    assert moved(before, pool=replace(POOL, held=5)).entries["a"].former == ((OLD, 5),)
