"""When traffic is held back, and when a pool is said to rest."""

import pytest

from pgbouncer_operator.agent.console import ConsoleAnswer, DatabaseRow, Figures
from pgbouncer_operator.agent.pause import flow, holds
from pgbouncer_operator.protocol.reasons import Flow

OPEN, PAUSED = DatabaseRow(5, 0, False), DatabaseRow(5, 0, True)


@pytest.mark.parametrize(
    ("databases", "busy", "expected"),
    [
        ({"a": PAUSED, "b": PAUSED}, 0, Flow.PAUSED),
        ({"a": PAUSED, "b": PAUSED}, 1, Flow.FLOWING),
        ({"a": PAUSED, "b": OPEN}, 0, Flow.FLOWING),
        ({}, 0, Flow.FLOWING),
    ],
)
def test_a_pool_rests_when_every_database_is_paused_and_no_transaction_runs(
    databases: dict[str, DatabaseRow], busy: int, expected: Flow
) -> None:
    assert flow(ConsoleAnswer(databases, Figures(busy=busy))) is expected


@pytest.mark.parametrize(
    ("until", "now", "draining", "expected"),
    [
        (None, 5.0, False, False),
        (10, 5.0, False, True),
        (10, 10.0, False, False),
        (10, 5.0, True, False),
    ],
)
def test_traffic_is_held_back_until_the_deadline_and_never_in_a_drain(
    until: int | None, now: float, draining: bool, expected: bool
) -> None:
    assert holds(until, now, draining) is expected
