"""The ledger in every order of events: each walk visits all states that can be reached within its depth.

PGBOUNCER_TEST_MODEL makes the walks deeper by so many steps; `all` walks on until there is nothing new.
"""

import os
from dataclasses import replace

import pytest
from tests.property import ledger_faults
from tests.property.ledger_faults import FAULTS
from tests.property.ledger_model import Violation
from tests.property.ledger_space import CROSSED, HONEST, IDLE, SILENT, Size, Space

DEEPER = os.environ.get("PGBOUNCER_TEST_MODEL", "0")
DEEPEST_FAULT = 8  # steps from a pool at rest to the violation that is farthest away
TRIO = Size(pods=3, budgets=(4,), replicas=1)
# Sizes, their depths, and how many states there must be at least: a walk that goes nowhere finds no violation.
WALKS = {
    "two pods": (ledger_faults.TWO, 9, 15_000),
    "three pods": (TRIO, 6, 7_000),
    "a budget that changes": (ledger_faults.CHANGES, 7, 15_000),
    "two databases": (ledger_faults.FLOORS, 8, 5_000),
    "answers of others, and idle pods": (replace(ledger_faults.TWO, words=(SILENT, HONEST, IDLE, CROSSED)), 7, 4_000),
    "agents that say so too early": (ledger_faults.HASTY, 8, 8_000),
    "caches that go back": (ledger_faults.CACHES, 7, 12_000),
    "pods deleted by force": (ledger_faults.FORCE, 7, 8_000),
    "pods that lose their label": (ledger_faults.LABELS, 7, 8_000),
    "a ledger that is deleted": (ledger_faults.LOSSES, 7, 8_000),
    "no operator at all": (ledger_faults.NOBODY, 9, 1_000),
}


@pytest.mark.parametrize("name", WALKS)
def test_in_no_order_of_events_is_more_held_than_the_budget(name: str) -> None:
    size, depth, least = WALKS[name]
    space = Space(replace(size, depth=None if DEEPER == "all" else depth + int(DEEPER))).walk()
    print(f"{name}: {space.states} states, {space.steps} steps, depth {space.depth}")
    assert space.states > least


@pytest.mark.parametrize("name", FAULTS)
def test_the_walk_notices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = FAULTS[name]
    fault.plant(monkeypatch)
    with pytest.raises(Violation):
        Space(replace(fault.size, depth=DEEPEST_FAULT)).walk()
