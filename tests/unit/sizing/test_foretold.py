"""What client replicas that are still to come do to a pool's size, and when that is judged."""

from dataclasses import replace

import pytest
from tests.unit.sizing.test_demand import BOUNDS, EVERY, lasting, slowed, steady, window

from pgbouncer_operator.sizing.demand import HELD, Bounds, SizingReason, SizingState, begun, decide


def coming(growth: float = 0.0) -> tuple[SizingState, Bounds, float]:
    """A pool of 5 clients that has just grown for 20, `growth` seconds ago in which nothing came."""
    sizing, _, at = steady(10, 5.0, clients=5)
    told, end = replace(BOUNDS, clients=20), at + EVERY + growth
    while at < end:
        at += EVERY
        sizing, decision = decide(sizing, window(at, 5.0, clients=5), told)
        assert decision.size > 10
    return sizing, told, at


def test_what_a_replica_needs_is_learned_while_the_server_is_not_slow() -> None:
    sizing, at = begun(30, 0.0, usual=0.02), 0.0
    for slow in [True] * 8 + [False] * 9:
        at += EVERY
        seen = window(at, 30.0, queued=50.0, rate=300.0, clients=5) if slow else window(at, 5.0, clients=5)
        sizing, decision = decide(sizing, seen, BOUNDS)
    assert decision.per_client == pytest.approx(1.0)


def test_replicas_that_went_are_not_reckoned_to_those_that_stayed() -> None:
    """They end their transactions, so that each of the few that are left seems to need what many did."""
    sizing, at = begun(30, 0.0, usual=0.02), 0.0
    for _ in range(6):
        for clients, busy in ((20, 20.0), (20, 20.0), (2, 16.0), (2, 12.0), (10, 16.0)):
            at += EVERY
            sizing, decision = decide(sizing, window(at, busy, clients=clients), BOUNDS)
    assert decision.per_client == pytest.approx(1.0)


def test_replicas_to_come_do_not_wait_for_the_queue_that_a_slow_server_has_left() -> None:
    sizing, _, at = steady(10, 5.0, clients=5)
    sizing, _, at = lasting(sizing, at, 60.0)
    told = replace(BOUNDS, clients=20)
    _, decision = decide(sizing, window(at + EVERY, 10.0, queued=30.0, clients=5), told)
    assert (decision.reason, decision.size) == (SizingReason.FORETOLD, 20)


def test_replicas_still_to_come_are_given_their_connections_before_they_are_ready() -> None:
    sizing, before, at = steady(10, 5.0, clients=5)
    told = replace(BOUNDS, clients=20)
    _, decision = decide(sizing, window(at + EVERY, 5.0, clients=5), told)
    assert before.per_client == pytest.approx(1.0)
    assert (decision.reason, decision.need) == (SizingReason.FORETOLD, 20.0)
    assert decision.size == 20, "at most twice as many in one step"


def test_a_growth_for_replicas_to_come_is_not_judged_before_they_are_there() -> None:
    sizing, told, at = coming()
    for _ in range(8):
        at += EVERY
        sizing, decision = decide(sizing, replace(slowed(at, 10), clients=5), told)
        assert (decision.reason, decision.size) == (SizingReason.SERVER_SLOW, 20)
    _, decision = decide(sizing, window(at + EVERY, 6.0, clients=19), told)
    assert (decision.reason, decision.size) == (SizingReason.FORETOLD, 29), "nor is growth held"


def test_a_growth_for_replicas_that_have_come_is_judged_when_they_have_had_their_time() -> None:
    sizing, told, at = coming(growth=300.0)
    size, reasons = sizing.size, []
    for _ in range(4):
        at += EVERY
        sizing, decision = decide(sizing, window(at, size, queued=20.0, rate=250.0, clients=20), told)
        reasons.append(decision.reason)
    assert reasons[:3] == [SizingReason.SERVER_SLOW, SizingReason.TAKEN_BACK, SizingReason.SERVER_SLOW]
    assert sizing.size < size
    _, decision = decide(sizing, window(at + EVERY, 20.0, queued=20.0, clients=20), told)
    assert decision.reason is SizingReason.SERVER_SLOW, "all are there, and growth is held"


def test_a_growth_for_replicas_that_are_not_to_come_any_more_is_not_judged() -> None:
    sizing, _, at = coming()
    told = replace(BOUNDS, clients=5)
    for _ in range(8):
        at += EVERY
        sizing, decision = decide(sizing, replace(slowed(at, 10), clients=5), told)
        assert decision.size == 20
    _, decision = decide(sizing, window(at + EVERY, 20.0, queued=20.0, clients=5), told)
    assert decision.reason is not SizingReason.SERVER_SLOW, "growth is not held"


def test_a_growth_that_was_taken_back_does_not_hold_one_for_replicas_to_come() -> None:
    sizing, _, at = steady(10, 5.0, clients=5)
    sizing = replace(sizing, held_until=at + HELD)
    _, decision = decide(sizing, window(at + EVERY, 5.0, clients=5), replace(BOUNDS, clients=20))
    assert (decision.reason, decision.size) == (SizingReason.FORETOLD, 20)
    _, decision = decide(sizing, replace(slowed(at + EVERY, 10), clients=5), replace(BOUNDS, clients=20))
    assert (decision.reason, decision.size) == (SizingReason.SERVER_SLOW, 10), "only a server that is slow now does"


def test_nothing_is_foretold_before_the_replicas_have_been_seen_at_work() -> None:
    sizing, _, at = steady(10, 5.0, seconds=60.0, clients=5)
    _, decision = decide(sizing, window(at + EVERY, 5.0, clients=5), replace(BOUNDS, clients=20))
    assert (decision.per_client, decision.size) == (0.0, 10)
