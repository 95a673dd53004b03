"""Windows of demand: what the pods did together, and what is unknown."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.reconcile.looks import healthy, saying

from pgbouncer_operator.reconcile.budget.measure import LONGEST, SHORTEST, with_measured_demand
from pgbouncer_operator.reconcile.cache.workloads import ClientReplicas
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.pause import Pause
from pgbouncer_operator.sizing.demand import SLOW, SLOW_EVER
from pgbouncer_operator.sizing.window import Window


def totals(transactions: int, seconds: float, waited: float = 0.0) -> dict[str, int]:
    return {
        "transactions": transactions,
        "transactionMicroseconds": round(seconds * 1e6),
        "waitMicroseconds": round(waited * 1e6),
    }


def says(observed: Observed, **changes: Any) -> Observed:
    """Both pods say the same."""
    for uid in ("a", "b"):
        observed = saying(observed, uid, **changes)
    return observed


def later(observed: Observed, seconds: float) -> Observed:
    return replace(observed, now=observed.now + seconds)


def begun(**spec: Any) -> Observed:
    """A look at which both pods were heard for the first time, at rest."""
    return with_measured_demand(says(healthy(**spec), totals=totals(1000, 50.0, 10.0), busy=0, open=10))


def last(observed: Observed) -> Window:
    assert observed.memory.demand is not None
    return observed.memory.demand.sizing.windows[-1]


def windows(observed: Observed) -> int:
    assert observed.memory.demand is not None
    return len(observed.memory.demand.sizing.windows)


def test_the_wait_is_taken_off_the_time_in_transactions() -> None:
    observed = with_measured_demand(says(later(begun(), 10.0), totals=totals(1500, 100.0, 20.0), busy=0, open=10))
    window = last(observed)
    assert (window.seconds, window.busy, window.queued, window.rate) == (10.0, 8.0, 2.0, 100.0)


def test_clients_that_wait_now_count_although_their_wait_has_not_ended() -> None:
    observed = with_measured_demand(
        says(later(begun(), 10.0), totals=totals(1000, 50.0, 10.0), busy=0, open=10, waiting=7)
    )
    assert last(observed).queued == 14


def test_a_long_transaction_that_ends_is_not_many_connections() -> None:
    observed = with_measured_demand(says(later(begun(), 10.0), totals=totals(1001, 350.0, 10.0), busy=0, open=3))
    assert last(observed).busy == 20, "at most what was open at either end"
    assert (
        last(with_measured_demand(says(later(observed, 10.0), totals=totals(1002, 650.0, 10.0), busy=0, open=3))).busy
        == 6
    )


def test_long_transactions_that_have_not_ended_are_seen_by_their_connections() -> None:
    first = with_measured_demand(says(healthy(), totals=totals(5, 1.0), busy=3, open=5))
    observed = with_measured_demand(says(later(first, 10.0), totals=totals(5, 1.0), busy=4, open=5))
    assert last(observed).busy == 6


def test_counters_that_fell_count_from_zero() -> None:
    observed = with_measured_demand(says(later(begun(), 10.0), totals=totals(100, 20.0), busy=0, open=10))
    assert (last(observed).busy, last(observed).rate) == (4.0, 20.0)


def test_an_agent_without_totals_is_taken_at_its_connections() -> None:
    first = with_measured_demand(says(healthy(), busy=3))
    assert last(with_measured_demand(says(later(first, 15.0), busy=3, waiting=1))) == Window(
        1015.0, 15.0, 6.0, 2.0, 0.0, uncounted=6.0
    )


def test_a_pod_that_comes_makes_no_server_look_slow() -> None:
    alone = replace(healthy(), pods=healthy().pods[:1])
    observed = with_measured_demand(saying(alone, "a", totals=totals(0, 0.0), busy=10, open=10))
    observed = with_measured_demand(saying(later(observed, 10.0), "a", totals=totals(5000, 100.0), busy=10, open=10))
    assert last(observed).service == pytest.approx(0.02)
    both = replace(later(observed, 10.0), pods=healthy().pods)
    both = saying(both, "a", totals=totals(10_000, 200.0), busy=10, open=10)
    observed = with_measured_demand(saying(both, "b", totals=totals(90_000, 900.0, 100.0), busy=8, open=10, waiting=3))
    assert last(observed).service == pytest.approx(0.02), "its transactions are of nobody knows when"
    assert (last(observed).busy, last(observed).queued) == (18.0, 3.0), "its connections and clients are of now"


def test_a_pod_whose_pgbouncer_is_silent_makes_no_server_look_slow() -> None:
    observed = says(later(begun(), 10.0), totals=totals(1500, 60.0, 10.0), busy=1, open=10)
    observed = with_measured_demand(saying(observed, "b", totals=None, busy=8, open=10))
    assert (last(observed).busy, last(observed).rate) == (9.0, 50.0)
    assert last(observed).service == pytest.approx(0.02)


def test_in_session_mode_a_connection_is_used_while_a_session_holds_it() -> None:
    observed = with_measured_demand(
        says(later(begun(poolMode="session"), 10.0), totals=totals(1001, 50.1, 10.0), busy=4, open=5)
    )
    assert last(observed).busy == 8


@pytest.mark.parametrize(("seconds", "made"), [(0.05, 0), (SHORTEST - 0.1, 0), (SHORTEST, 1)])
def test_looks_that_come_in_bursts_make_no_windows(seconds: float, made: int) -> None:
    assert windows(with_measured_demand(later(begun(), seconds))) == made


def test_a_pod_that_does_not_answer_makes_the_window_unknown() -> None:
    observed = later(begun(), 15.0)
    silent = with_measured_demand(replace(observed, states={**observed.states, "b": None}))
    assert silent.memory == observed.memory
    assert last(with_measured_demand(replace(later(silent, 5.0), states=observed.states))).seconds == 20.0, (
        "and the next is as long as that took"
    )


def test_a_pod_that_starts_and_one_that_leaves_do_not() -> None:
    observed = later(begun(), 15.0)
    pods = (
        observed.pods[0],
        replace(observed.pods[1], terminating=True),
        replace(observed.pods[1], uid="c", ready=False),
    )
    assert (
        windows(
            with_measured_demand(replace(observed, pods=pods, states={"a": observed.states["a"], "b": None, "c": None}))
        )
        == 1
    )


def test_after_a_long_silence_it_begins_anew_and_shrinks_nothing() -> None:
    observed = with_measured_demand(
        later(begun(serverConnections={"max": 20, "sizing": {"mode": "Demand"}}), LONGEST + 1)
    )
    assert windows(observed) == 0
    assert observed.memory.demand is not None
    assert observed.memory.demand.sizing.size == 20


def usual(observed: Observed) -> float:
    assert observed.memory.demand is not None
    return observed.memory.demand.sizing.usual


def test_an_operator_that_starts_knows_roughly_what_a_transaction_takes_by_all_that_was_done() -> None:
    assert usual(begun()) == pytest.approx(0.04 * SLOW_EVER / SLOW)


@pytest.mark.parametrize("counted", [None, totals(0, 0.0), totals(5, 1.0, 2.0)])
def test_pods_that_have_done_nothing_yet_tell_nothing_usual(counted: dict[str, int] | None) -> None:
    assert usual(with_measured_demand(says(healthy(), totals=counted, busy=0))) == 0


@pytest.mark.parametrize("mode", ["Fixed", "Demand"])
def test_what_is_usual_outlives_a_long_silence(mode: str) -> None:
    observed = begun(serverConnections={"max": 20, "sizing": {"mode": mode}})
    for number in range(1, 6):
        observed = with_measured_demand(
            says(later(observed, 15.0), totals=totals(1000 + 100 * number, 50.0 + number, 10.0), busy=0)
        )
    assert usual(observed) == pytest.approx(0.01)
    silent = with_measured_demand(later(observed, LONGEST + 1))
    assert windows(silent) == 0
    assert usual(silent) == pytest.approx(0.01)


@pytest.mark.parametrize(("sentence", "terminating"), [("all are new", False), ("one more is on its way out", True)])
def test_pods_that_do_not_serve_yet_say_nothing_of_demand(sentence: str, terminating: bool) -> None:
    observed = begun(serverConnections={"max": 40, "sizing": {"mode": "Demand"}})
    for number in range(1, 31):
        busy = totals(1000 + 5000 * number, 50.0 + 100.0 * number, 10.0)
        observed = with_measured_demand(says(later(observed, 10.0), totals=busy, busy=10, open=10))
    known = observed.memory.demand
    new = tuple(replace(pod, uid=f"new-{pod.uid}", ready=False) for pod in observed.pods)
    old = tuple(replace(pod, terminating=True) for pod in observed.pods[:1] if terminating)
    states = {pod.uid: None for pod in new} | {pod.uid: observed.states[pod.uid] for pod in old}
    for _ in range(60):
        observed = with_measured_demand(replace(later(observed, 15.0), pods=new + old, states=states))
    assert observed.memory.demand == known, sentence


def test_a_pool_without_pods_keeps_what_is_known() -> None:
    observed = begun()
    assert with_measured_demand(replace(later(observed, 30.0), pods=(), states={})).memory == observed.memory
    assert with_measured_demand(replace(healthy(), pods=(), states={})).memory.demand is None


def paused(observed: Observed) -> Observed:
    return replace(observed, pause=Pause(2_000_000_000, 20))


def test_a_pause_says_nothing_of_demand() -> None:
    observed = begun()
    for _ in range(5):
        observed = with_measured_demand(
            says(paused(later(observed, 15.0)), totals=totals(1000, 50.0, 10.0), busy=0, waiting=9)
        )
    assert windows(observed) == 0
    assert observed.memory.demand is not None
    assert observed.memory.demand.decision is None


@pytest.mark.parametrize(
    ("sentence", "looks"),
    [("the first look is late", [15.0]), ("some still wait at the first look", [0.1, 15.0])],
)
def test_the_waits_that_a_pause_made_are_no_queue(sentence: str, looks: list[float]) -> None:
    """PgBouncer counts a wait when it ends, which is after the pause."""
    observed = with_measured_demand(says(later(begun(), 10.0), totals=totals(1500, 60.0, 10.0), busy=1, open=10))
    for _ in range(4):
        observed = with_measured_demand(
            says(paused(later(observed, 15.0)), totals=totals(1500, 60.0, 10.0), busy=0, waiting=20)
        )
    for number, seconds in enumerate(looks, 1):
        waited = 1200.0 * number / len(looks)
        said = totals(1500 + 1000 * number, 60.0 + 20.0 * number + waited, 10.0 + waited)
        observed = with_measured_demand(
            says(replace(later(observed, seconds), pause=None), totals=said, busy=1, open=10)
        )
    done = 1500 + 1000 * len(looks)
    observed = with_measured_demand(
        says(later(observed, 15.0), totals=totals(done + 750, 1315.0, 1210.0), busy=1, open=10)
    )
    assert windows(observed) == 2, sentence
    assert (last(observed).seconds, last(observed).rate, last(observed).queued) == (15.0, 100.0, 0.0)


def test_pods_that_still_hold_traffic_back_are_paused_whatever_is_asked() -> None:
    observed = with_measured_demand(
        says(later(begun(), 15.0), traffic="Paused", totals=totals(1000, 50.0, 10.0), waiting=20)
    )
    assert windows(observed) == 0


def test_an_operator_that_starts_in_a_pause_counts_no_waits_of_it() -> None:
    observed = with_measured_demand(says(paused(healthy()), totals=totals(1000, 50.0, 10.0), busy=0, waiting=20))
    flowing = replace(later(observed, 10.0), pause=None)
    observed = with_measured_demand(says(flowing, totals=totals(1100, 660.0, 610.0), busy=1, open=10))
    assert windows(observed) == 0
    assert (
        windows(with_measured_demand(says(later(observed, 10.0), totals=totals(1200, 670.0, 610.0), busy=1, open=10)))
        == 1
    )


def test_clients_that_are_about_to_come_are_not_kept_waiting_for_the_next_window() -> None:
    five, twenty = ClientReplicas(5, 5, 5, 1), ClientReplicas(20, 5, 20, 1)
    observed = with_measured_demand(replace(says(healthy(), totals=totals(0, 0.0)), clients=five))
    assert windows(with_measured_demand(replace(later(observed, 2.0), clients=five))) == 0
    window = last(with_measured_demand(replace(later(observed, 2.0), clients=twenty)))
    assert (window.seconds, window.clients) == (2.0, 5), "what they use is learned from those that serve"


def test_a_pool_that_does_nothing_keeps_few_windows_and_says_nothing_new() -> None:
    observed = begun()
    essences = []
    for _ in range(400):
        observed = with_measured_demand(later(observed, 15.0))
        assert observed.memory.demand is not None
        essences.append(observed.memory.demand.fingerprint)
    assert windows(observed) < 20
    assert len(set(essences)) <= 3, "not young any more, and idle after an hour"
    assert observed.memory.demand is not None
    assert observed.memory.demand.idle


def test_any_use_ends_the_quiet() -> None:
    observed = with_measured_demand(says(later(begun(), 15.0), totals=totals(1001, 50.01, 10.0), busy=0, open=1))
    assert observed.memory.demand is not None
    assert observed.memory.demand.quiet_since == observed.now
