"""Walks for larger pools than can be walked in every order: up to 7 pods, 60 connections, 6 databases, 96 steps.

hypothesis chooses what happens, and tells the shortest walk that fails. PGBOUNCER_TEST_WALKS is the number of walks.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.campaign import length
from tests.property.ledger_model import Op, Violation, World
from tests.property.test_ledger import SILENT, STEPS, at_rest, within_the_budget

from pgbouncer_operator.sizing.ledger import LedgerTerms, Round, allocate

WALKS = length("PGBOUNCER_TEST_WALKS", short=2000, full=10_000)
STEP = 3  # bytes: what happens, to whom, how
HEAD = 4  # bytes: budget, databases, replicas, pods at the beginning


def happens(walk: bytes) -> list[Op]:
    """The steps that the bytes stand for."""
    ops: list[Op] = [*[("born", 0, 0)] * (walk[3] % 4), ("look", 0, 0), ("write", 0, 0)]
    for place in range(HEAD, len(walk) - STEP + 1, STEP):
        kind, one, two = STEPS[walk[place] % len(STEPS)], walk[place + 1] % 7, walk[place + 2]
        ops.append((kind, one, SILENT[two % len(SILENT)] if kind == "look" else two))
    return ops


def world(walk: bytes, run: object, strict: bool) -> World:
    databases = 1 + walk[1] % 6
    return World(run, databases + walk[0] % (61 - databases), databases, 1 + walk[2] % 5, strict)  # type: ignore[arg-type]


walks = st.binary(min_size=HEAD + 10 * STEP, max_size=HEAD + 96 * STEP)
many = settings(max_examples=WALKS // 2, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@many
@given(walks)
def test_a_walk_with_an_operator_never_holds_more_than_the_budget(walk: bytes) -> None:
    found = world(walk, allocate, strict=True)
    found.run(happens(walk))
    within_the_budget(found)


@many
@given(walks)
def test_a_walk_without_one_grows_by_nobodys_write_and_comes_to_rest_within_the_budget(walk: bytes) -> None:
    found = world(walk, allocate, strict=False)
    found.run(happens(walk))
    at_rest(found)


def test_walks_are_no_idle_ones() -> None:
    """A walk of a fault fails, so walks can."""

    def doubled(*arguments: object) -> Round:
        grants, pods, limits = arguments
        assert isinstance(limits, LedgerTerms)
        twice = LedgerTerms(2 * limits.size, limits.floor, limits.slots, limits.static, now=limits.now)
        return allocate(grants, pods, twice)  # type: ignore[arg-type]

    @settings(many, database=None)
    @given(walks)
    def walked(walk: bytes) -> None:
        world(walk, doubled, strict=True).run(happens(walk))

    with pytest.raises(Violation):
        walked()
