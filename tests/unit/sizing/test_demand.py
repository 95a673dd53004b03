"""How a pool's size follows its demand: at once up, slowly down, and never after a slow server."""

from dataclasses import replace
from itertools import pairwise

import pytest

from pgbouncer_operator.sizing.demand import (
    CALM,
    HELD,
    LEFT,
    REMEMBERED,
    STEP_APART,
    Bounds,
    Decision,
    SizingReason,
    SizingState,
    Window,
    begun,
    by_replicas,
    decide,
    staffed,
)

EVERY = 15.0
BOUNDS = Bounds(floor=2, ceiling=100)


def window(at: float, busy: float, queued: float = 0.0, rate: float | None = None, clients: int = 0) -> Window:
    return Window(at, EVERY, busy, queued, busy / 0.02 if rate is None else rate, clients)


def steady(size: int, busy: float, seconds: float = 600.0, clients: int = 0) -> tuple[SizingState, Decision, float]:
    """A pool that has used `busy` connections for a while; its state, its last decision, and the time."""
    sizing, at, decision = SizingState(size), 0.0, None
    while at < seconds:
        at += EVERY
        sizing, decision = decide(sizing, window(at, busy, clients=clients), BOUNDS)
    assert decision is not None
    return sizing, decision, at


def slowed(at: float, size: int, times: float = 5.0) -> Window:
    """All connections are in use, clients wait, and a transaction takes `times` its 20 ms."""
    return window(at, size, queued=50.0, rate=size / (0.02 * times))


def lasting(
    sizing: SizingState, at: float, seconds: float, times: float = 5.0
) -> tuple[SizingState, list[Decision], float]:
    """The server slow for so long, whatever size the pool gets meanwhile."""
    made, began = [], at
    while at < began + seconds:
        at += EVERY
        sizing, decision = decide(sizing, slowed(at, sizing.size, times), BOUNDS)
        made.append(decision)
    return sizing, made, at


@pytest.mark.parametrize(("need", "connections"), [(0, 0), (1, 3), (5, 10), (20, 29), (60, 76), (200, 229)])
def test_staffing_grows_with_the_square_root(need: float, connections: int) -> None:
    assert staffed(need) == connections


def test_a_pool_that_is_busy_and_queues_grows_at_once_by_at_most_its_own_size() -> None:
    sizing, _, at = steady(10, 6.0)
    _, decision = decide(sizing, window(at + EVERY, 10.0, queued=30.0), BOUNDS)
    assert (decision.reason, decision.size) == (SizingReason.GROWN, 20)
    assert decision.want > 20


def test_the_next_step_waits_for_its_turn() -> None:
    sizing, _, at = steady(10, 6.0)
    sizing, _ = decide(sizing, window(at + EVERY, 10.0, queued=30.0), BOUNDS)
    _, decision = decide(sizing, window(at + 2 * EVERY, 20.0, queued=30.0), BOUNDS)
    assert (decision.reason, decision.size) == (SizingReason.PACED, 20)


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
        assert (decision.reason, decision.size) == (SizingReason.SERVER_SLOW, 30)


@pytest.mark.parametrize("known", [{"usual": 0.02}, {"ever": 0.02}, {"usual": 0.02, "ever": 0.3}, {"ever": 0.04}])
def test_an_operator_that_starts_while_the_server_is_slow_does_not_grow_the_pool(known: dict[str, float]) -> None:
    sizing, made, at = lasting(begun(12, 0.0, **known), 0.0, 120.0)
    assert {(each.reason, each.size) for each in made} == {(SizingReason.SERVER_SLOW, 12)}
    for _ in range(20):
        at += EVERY
        sizing, decision = decide(sizing, window(at, 6.0), BOUNDS)
        assert decision.size == 12
    assert sizing.usual == pytest.approx(0.02)


def test_an_hour_whose_work_differs_a_little_from_that_of_days_is_not_slow() -> None:
    sizing, _ = decide(begun(12, 0.0, ever=0.02), window(EVERY, 5.0, rate=5.0 / 0.035), BOUNDS)
    made = []
    for at in (2 * EVERY, 3 * EVERY):
        sizing, decision = decide(sizing, window(at, 12.0, queued=20.0, rate=12.0 / 0.035), BOUNDS)
        made.append((decision.reason, decision.size))
    assert made == [(SizingReason.PACED, 12), (SizingReason.GROWN, 24)]


def test_a_queue_that_an_operator_finds_at_its_start_is_given_time_to_end() -> None:
    sizing, sizes = begun(12, 0.0, usual=0.02), []
    for number in range(1, 8):
        sizing, decision = decide(sizing, window(number * EVERY, 12.0, queued=20.0), BOUNDS)
        sizes.append(decision.size)
    assert sizes == [*[12] * round(LEFT / EVERY), 24, 24, 34]


def test_what_was_in_use_while_the_server_was_slow_is_no_reason_to_grow_afterwards() -> None:
    sizing, before, at = steady(15, 8.0)
    sizing, _, at = lasting(sizing, at, 120.0)
    for _ in range(60):
        at += EVERY
        sizing, decision = decide(sizing, window(at, 8.0), BOUNDS)
        assert decision.size == before.size == 15


def test_a_queue_that_a_slow_server_has_left_is_given_time_to_end() -> None:
    sizing, _, at = steady(15, 8.0)
    sizing, _, at = lasting(sizing, at, 120.0)
    for _ in range(round(LEFT / EVERY)):
        at += EVERY
        sizing, decision = decide(sizing, window(at, 15.0, queued=30.0), BOUNDS)
        assert (decision.reason, decision.size) == (SizingReason.PACED, 15)
    _, decision = decide(sizing, window(at + EVERY, 15.0, queued=30.0), BOUNDS)
    assert (decision.reason, decision.size) == (SizingReason.GROWN, 30), "it did not end"


def test_a_queue_that_comes_after_the_slow_server_has_been_well_is_a_need() -> None:
    sizing, _, at = steady(15, 8.0)
    sizing, _, at = lasting(sizing, at, 120.0)
    sizing, _ = decide(sizing, window(at + EVERY, 8.0), BOUNDS)
    _, decision = decide(sizing, window(at + 2 * EVERY, 15.0, queued=30.0), BOUNDS)
    assert (decision.reason, decision.size) == (SizingReason.GROWN, 30)


@pytest.mark.parametrize("part", [0.02, 0.1, 0.2, 0.3, 0.5, 1.0])
def test_the_window_in_which_the_server_becomes_slow_does_not_grow_the_pool(part: float) -> None:
    sizing, before, at = steady(15, 10.0)
    busy, rate = (1 - part) * 10.0 + part * 15.0, (1 - part) * 500.0 + part * 150.0
    sizing, first = decide(sizing, window(at + EVERY, busy, queued=2000 * part * part, rate=rate), BOUNDS)
    sizing, made, at = lasting(sizing, at + EVERY, 105.0)
    assert {each.size for each in (first, *made)} == {before.size}


def test_what_takes_long_and_rarely_does_not_grow_a_pool_and_is_not_shrunk_away() -> None:
    sizing, at = SizingState(20), 0.0
    for number in range(1, 200):
        at += EVERY
        batch = number % 10 == 0
        sizing, decision = decide(sizing, window(at, 12.0 if batch else 1.0, rate=100.0), BOUNDS)
        assert decision.size >= staffed(12.0)
        assert decision.size <= 20


@pytest.mark.parametrize("start", [begun(12, 0.0, usual=0.02), steady(12, 6.0)[0]])
def test_a_spell_of_more_than_half_of_the_memory_becomes_the_usual(start: SizingState) -> None:
    began = start.windows[-1].at if start.windows else 0.0
    sizing, made, at = lasting(start, began, REMEMBERED / 2)
    assert {each.size for each in made} == {12}
    sizing, made, _ = lasting(sizing, at, 60.0)
    assert sizing.usual == pytest.approx(0.1)
    assert made[-1].size > 12


def test_a_time_that_nobody_knows_the_usual_of_is_not_slow() -> None:
    sizing, _ = decide(begun(12, 0.0), window(EVERY, 1.0, rate=10.0), BOUNDS)
    _, decision = decide(sizing, window(2 * EVERY, 12.0, queued=30.0, rate=120.0), BOUNDS)
    assert (decision.reason, decision.size) == (SizingReason.GROWN, 24)


def test_a_growth_that_brings_nothing_is_taken_back_and_growth_is_held() -> None:
    sizing, before, at = steady(20, 15.0)
    sizing, decision = decide(sizing, window(at + EVERY, before.size, queued=20.0), BOUNDS)
    assert decision.reason is SizingReason.GROWN
    at += EVERY + STEP_APART
    sizing, decision = decide(sizing, window(at, decision.size, queued=20.0, rate=1000.0), BOUNDS)
    assert (decision.reason, decision.size) == (SizingReason.TAKEN_BACK, before.size)
    _, decision = decide(sizing, window(at + EVERY, 20.0, queued=20.0), BOUNDS)
    assert decision.reason is SizingReason.SERVER_SLOW
    late = replace(sizing, windows=sizing.windows[-1:])
    _, decision = decide(late, window(at + HELD + EVERY, 20.0, queued=20.0), BOUNDS)
    assert decision.reason is SizingReason.GROWN


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


def test_a_pool_whose_clients_cannot_all_be_seen_grows_but_does_not_shrink() -> None:
    sizing, _, at = steady(40, 30.0, clients=5)
    unsure = replace(BOUNDS, unsure=True)
    for _ in range(120):
        at += EVERY
        sizing, decision = decide(sizing, window(at, 4.0), unsure)
        assert decision.size == 40
    assert decision.reason is SizingReason.CALMING
    for _ in range(3):
        at += EVERY
        sizing, decision = decide(sizing, window(at, 40.0, queued=30.0), unsure)
    assert decision.size > 40
    for _ in range(120):
        at += EVERY
        sizing, decision = decide(sizing, window(at, 4.0), BOUNDS)
    assert decision.size < 40, "all are seen again"


def test_floor_and_ceiling_hold_and_the_ceiling_is_told() -> None:
    sizing, decision, at = steady(10, 0.0)
    assert decision.want == BOUNDS.floor
    bounds = Bounds(floor=2, ceiling=12)
    sizing, decision = decide(sizing, window(at + EVERY, 10.0, queued=40.0), bounds)
    assert decision.size <= 12
    _, decision = decide(replace(sizing, size=12), window(at + 2 * EVERY, 12.0, queued=40.0), bounds)
    assert (decision.size, decision.reason) == (12, SizingReason.AT_LIMIT)


@pytest.mark.parametrize(
    ("per_client", "clients", "size", "reason"),
    [(2, 5, 10, SizingReason.ENOUGH), (2, 0, 2, SizingReason.ENOUGH), (10, 20, 100, SizingReason.AT_LIMIT)],
)
def test_the_users_own_figure_for_a_replica_decides_alone(
    per_client: int, clients: int, size: int, reason: SizingReason
) -> None:
    decision = by_replicas(per_client, Bounds(2, 100, clients))
    assert (decision.size, decision.reason) == (size, reason)
