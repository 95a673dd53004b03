"""How a pool's size follows its demand: at once up, slowly down, and never after a slow server."""

from dataclasses import replace
from itertools import pairwise

import pytest

from pgbouncer_operator.sizing.demand import (
    CALM,
    HELD,
    STEP_APART,
    Bounds,
    Decision,
    Reason,
    Sizing,
    Window,
    by_replicas,
    decide,
    staffed,
)

EVERY = 15.0
BOUNDS = Bounds(floor=2, ceiling=100)


def window(at: float, busy: float, queued: float = 0.0, rate: float | None = None, clients: int = 0) -> Window:
    return Window(at, EVERY, busy, queued, busy / 0.02 if rate is None else rate, clients)


def steady(size: int, busy: float, seconds: float = 600.0, clients: int = 0) -> tuple[Sizing, Decision, float]:
    """A pool that has used `busy` connections for a while; its state, its last decision, and the time."""
    sizing, at, decision = Sizing(size), 0.0, None
    while at < seconds:
        at += EVERY
        sizing, decision = decide(sizing, window(at, busy, clients=clients), BOUNDS)
    assert decision is not None
    return sizing, decision, at


@pytest.mark.parametrize(("need", "connections"), [(0, 0), (1, 3), (5, 10), (20, 29), (60, 76), (200, 229)])
def test_staffing_grows_with_the_square_root(need: float, connections: int) -> None:
    assert staffed(need) == connections


def test_a_pool_that_is_busy_and_queues_grows_at_once_by_at_most_its_own_size() -> None:
    sizing, _, at = steady(10, 6.0)
    _, decision = decide(sizing, window(at + EVERY, 10.0, queued=30.0), BOUNDS)
    assert (decision.reason, decision.size) == (Reason.GROWN, 20)
    assert decision.want > 20


def test_the_next_step_waits_for_its_turn() -> None:
    sizing, _, at = steady(10, 6.0)
    sizing, _ = decide(sizing, window(at + EVERY, 10.0, queued=30.0), BOUNDS)
    _, decision = decide(sizing, window(at + 2 * EVERY, 20.0, queued=30.0), BOUNDS)
    assert (decision.reason, decision.size) == (Reason.PACED, 20)


def test_a_pool_that_uses_less_than_half_of_what_it_has_does_not_grow() -> None:
    sizing, before, at = steady(30, 25.0)
    _, decision = decide(replace(sizing, size=30), window(at + EVERY, 3.0), BOUNDS)
    assert decision.want == before.want > 30
    assert decision.size == 30


def test_a_slow_server_is_not_given_more_connections() -> None:
    sizing, _, at = steady(30, 20.0)
    for _ in range(8):
        at += EVERY
        sizing, decision = decide(sizing, window(at, 30.0, queued=50.0, rate=300.0), BOUNDS)
        assert (decision.reason, decision.size) == (Reason.SERVER_SLOW, 30)


def test_a_growth_that_brings_nothing_is_taken_back_and_growth_is_held() -> None:
    sizing, before, at = steady(20, 15.0)
    sizing, decision = decide(sizing, window(at + EVERY, before.size, queued=20.0), BOUNDS)
    assert decision.reason is Reason.GROWN
    at += EVERY + STEP_APART
    sizing, decision = decide(sizing, window(at, decision.size, queued=20.0, rate=1000.0), BOUNDS)
    assert (decision.reason, decision.size) == (Reason.TAKEN_BACK, before.size)
    _, decision = decide(sizing, window(at + EVERY, 20.0, queued=20.0), BOUNDS)
    assert decision.reason is Reason.SERVER_SLOW
    late = replace(sizing, windows=sizing.windows[-1:])
    _, decision = decide(late, window(at + HELD + EVERY, 20.0, queued=20.0), BOUNDS)
    assert decision.reason is Reason.GROWN


def test_a_pool_shrinks_slowly_and_never_below_what_the_last_minutes_wanted() -> None:
    sizing, _, at = steady(40, 30.0)
    began, sizes = at, []
    while at < began + 1800:
        at += EVERY
        sizing, decision = decide(sizing, window(at, 4.0), BOUNDS)
        sizes.append(decision.size)
    # The 95th percentile remembers the busy time for 10 minutes, and the highest want for 5 more.
    assert set(sizes[: int(CALM / EVERY)]) == {40}
    assert all(later >= earlier * 0.8 - 1 for earlier, later in pairwise(sizes))
    assert staffed(4.0) <= sizes[-1] <= staffed(4.0) + 2


def test_replicas_still_to_come_are_given_their_connections_before_they_are_ready() -> None:
    sizing, before, at = steady(10, 5.0, clients=5)
    told = replace(BOUNDS, clients=20)
    _, decision = decide(sizing, window(at + EVERY, 5.0, clients=5), told)
    assert before.per_client == pytest.approx(1.0)
    assert (decision.reason, decision.need) == (Reason.FORETOLD, 20.0)
    assert decision.size == 20, "at most twice as many in one step"


def test_nothing_is_foretold_before_the_replicas_have_been_seen_at_work() -> None:
    sizing, _, at = steady(10, 5.0, seconds=60.0, clients=5)
    _, decision = decide(sizing, window(at + EVERY, 5.0, clients=5), replace(BOUNDS, clients=20))
    assert (decision.per_client, decision.size) == (0.0, 10)


def test_floor_and_ceiling_hold_and_the_ceiling_is_told() -> None:
    sizing, decision, at = steady(10, 0.0)
    assert decision.want == BOUNDS.floor
    bounds = Bounds(floor=2, ceiling=12)
    sizing, decision = decide(sizing, window(at + EVERY, 10.0, queued=40.0), bounds)
    assert decision.size <= 12
    _, decision = decide(replace(sizing, size=12), window(at + 2 * EVERY, 12.0, queued=40.0), bounds)
    assert (decision.size, decision.reason) == (12, Reason.AT_LIMIT)


@pytest.mark.parametrize(
    ("per_client", "clients", "size", "reason"),
    [(2, 5, 10, Reason.ENOUGH), (2, 0, 2, Reason.ENOUGH), (10, 20, 100, Reason.AT_LIMIT)],
)
def test_the_users_own_figure_for_a_replica_decides_alone(
    per_client: int, clients: int, size: int, reason: Reason
) -> None:
    decision = by_replicas(per_client, Bounds(2, 100, clients))
    assert (decision.size, decision.reason) == (size, reason)
