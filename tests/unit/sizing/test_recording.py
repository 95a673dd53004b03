"""Recorded loads as scenarios, and what is written down of two looks at a pool."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.traces import record, recording
from tests.traces.policies import Ours
from tests.traces.run import run
from tests.unit.reconcile import looks

from pgbouncer_operator.protocol.state import AgentState, Totals

OPEN = 9


NOTHING = Totals(0, 0, 0)


def says(totals: Totals = NOTHING, busy: int = 0) -> AgentState:
    return replace(looks.state("a", "0"), totals=totals, busy=busy, open=OPEN)


TEXT = """at,rate,busy,ready,desired
5.0,100.0,2.00,5,5
10.0,200.0,8.00,5,20
300.0,0.0,0.00,20,20
"""


def test_a_recording_goes_as_it_went(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text(TEXT)
    scenario = recording.scenario(path)
    trace = scenario.pools["shop"]
    assert scenario.seconds == 300.0
    assert [trace.rate(at) for at in (0, 4.9, 5, 9.9, 10, 299, 1000)] == [100, 100, 200, 200, 0, 0, 0]
    assert [trace.desired(at) - trace.ready(at) for at in (0, 5, 10)] == [0, 15, 0]
    seconds = [scenario.machine.seconds(8, scenario.slow(at)) for at in (0, 5, 10)]
    assert seconds == pytest.approx([0.02, 0.04, 0.04]), "without any transaction the usual time stands"


@pytest.mark.parametrize("text", ["", "at,rate\n1,2\n", "at,rate,busy,ready,desired\n"])
def test_what_is_no_recording_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a recording has"):
        recording.lines(text)


def test_two_looks_give_the_rate_and_the_connections_in_use_of_pods_that_were_heard_twice() -> None:
    before = {"a": says(totals=Totals(100, 10_000_000, 4_000_000)), "gone": says(totals=Totals(50, 5_000_000, 0))}
    after = {"a": says(totals=Totals(180, 16_000_000, 6_000_000)), "new": says(totals=Totals(20, 1_000_000, 0))}
    line = record.told(before, after, 5.0)
    assert (line.rate, line.busy, line.service) == (16.0, pytest.approx(0.8), pytest.approx(0.05))


def test_a_connection_in_use_at_both_ends_was_in_use_and_none_that_was_not_open() -> None:
    long = record.told({"a": says(busy=3)}, {"a": says(busy=2)}, 5.0)
    assert (long.rate, long.busy) == (0.0, 2.0)
    ended = record.told({"a": says()}, {"a": says(totals=Totals(1, 600_000_000, 0))}, 5.0)
    assert ended.busy == OPEN


@pytest.mark.parametrize("path", sorted(recording.RECORDINGS.glob("*.csv")), ids=lambda path: str(path.stem))
def test_what_was_recorded_is_served_by_demand_within_the_budget(path: Path) -> None:
    scenario = recording.scenario(path)
    ours = run(scenario, Ours(scenario))
    assert ours.peak() <= scenario.budget
    assert ours.wait(path.stem) < 0.1
