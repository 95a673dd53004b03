"""The sizing functions against traces: what they promise beside what others do in the same run."""

import pytest
from tests.traces.plot import chart
from tests.traces.policies import Fixed, Naive, Ours
from tests.traces.run import run
from tests.traces.scenarios import burst, day, neighbour, slow_server
from tests.traces.server import Machine


def test_a_day_is_served_without_waiting_and_with_few_idle_connections() -> None:
    scenario = day()
    ours, fixed = run(scenario, Ours(scenario)), run(scenario, Fixed(scenario))
    assert ours.wait("shop") < 0.01
    assert ours.held_per_busy() < 2.5 < fixed.held_per_busy()
    assert ours.peak() <= scenario.budget


def test_replicas_that_are_foretold_do_not_wait() -> None:
    scenario = burst()
    foretold, reactive = run(scenario, Ours(scenario)), run(scenario, Ours(scenario, foretell=False))
    assert foretold.wait("shop") < 0.05 < reactive.wait("shop")


def test_a_slow_server_is_not_pushed_past_its_knee_and_the_naive_rule_does_push_it() -> None:
    scenario = slow_server()
    ours, naive = run(scenario, Ours(scenario)), run(scenario, Naive(scenario))
    assert ours.peak() <= 1.5 * scenario.fixed
    assert naive.peak() == scenario.budget, "else this trace would show nothing"
    assert ours.points["shop"][-1].wait < 0.05, "it recovers when the fault ends"


@pytest.mark.parametrize("fixed", [15, 30])
@pytest.mark.parametrize("late", [0.0, 1.0, 3.0, 7.0, 14.0])
def test_a_pool_does_not_grow_for_a_slow_server_nor_for_what_it_leaves_behind(late: float, fixed: int) -> None:
    scenario = slow_server(1200.0 + late, fixed)
    points = run(scenario, Ours(scenario)).points["shop"]
    held = [each.held for each in points if each.at >= 1200.0]
    assert max(held) == held[0] < 30
    assert max(each.wait for each in points if each.at > 1380.0) < 0.05


@pytest.mark.parametrize("restart", [1215.0, 1260.0, 1320.0, 1335.0])
@pytest.mark.parametrize("late", [0.0, 7.0])
def test_an_operator_that_restarts_during_it_or_just_afterwards_does_not_either(restart: float, late: float) -> None:
    scenario = slow_server(1200.0 + late, 15)
    points = run(scenario, Ours(scenario, restarts=(restart,))).points["shop"]
    held = [each.held for each in points if each.at >= 1200.0]
    assert max(held) == held[0]
    assert max(each.wait for each in points if each.at > 1380.0) < 0.05


def test_an_operator_that_does_not_know_what_is_usual_grows_a_pool_of_a_slow_server() -> None:
    scenario = slow_server(1200.0, 15)
    policy = Ours(scenario, restarts=(1215.0,), counted=False)
    assert run(scenario, policy).peak() > 40, "else these traces would show nothing"


def test_one_wild_pool_takes_nothing_that_others_need() -> None:
    scenario = neighbour()
    found = run(scenario, Ours(scenario))
    assert found.peak() <= scenario.budget
    assert all(point.held >= scenario.floor for points in found.points.values() for point in points)
    assert max(found.points[pool][-1].wait for pool in ("shop", "search")) < 0.05


@pytest.mark.parametrize("running", [1.0, 32.0])
def test_the_model_serves_at_full_speed_up_to_its_cores(running: float) -> None:
    assert Machine().seconds(running, 1.0) == Machine().service


def test_the_model_loses_throughput_past_its_knee() -> None:
    machine = Machine()
    assert 64 / machine.seconds(64, 1.0) < 32 / machine.seconds(32, 1.0)


def test_the_plot_is_an_image_with_a_line_for_each_policy() -> None:
    scenario = burst()
    runs = {"fixed": run(scenario, Fixed(scenario)), "ours": run(scenario, Ours(scenario))}
    drawn = chart(scenario, runs)
    assert drawn.startswith("<svg")
    assert drawn.count("<polyline") == 2 * len(runs) + 1
