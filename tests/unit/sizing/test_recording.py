"""Recorded loads as scenarios, and what is written down of two looks at a pool."""

from pathlib import Path

import pytest
from tests.traces import record, recording

from pgbouncer_operator.reconcile.agent_state import Totals

TEXT = """at,rate,service,ready,desired
5.0,100.0,0.0200,5,5
10.0,200.0,0.0400,5,20
300.0,0.0,0.0000,20,20
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


@pytest.mark.parametrize("text", ["", "at,rate\n1,2\n", "at,rate,service,ready,desired\n"])
def test_what_is_no_recording_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a recording has"):
        recording.lines(text)


def test_two_looks_give_the_rate_and_the_time_that_a_transaction_held_a_connection() -> None:
    before = {"a": Totals(100, 10.0, 4.0), "gone": Totals(50, 5.0, 0.0)}
    after = {"a": Totals(180, 16.0, 6.0), "new": Totals(20, 1.0, 0.0)}
    line = record.told(before, after, 5.0)
    assert (line.rate, line.service) == (20.0, pytest.approx(0.05))
