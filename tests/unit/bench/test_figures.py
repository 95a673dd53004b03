from collections import Counter

from tests.bench.figures import Operated, Result, Round
from tests.bench.operator_process import Usage


def told(plain: float, seconds: float, creates: int, memory: int) -> Round:
    created = Counter({"create configmaps": creates, "patch pods/status": 4, "create events": 1, "get secrets": 2})
    changed = Counter({"patch configmaps": 2, "patch pods/status": 4})
    return Round(plain, Operated(seconds, created, Usage(1.0), (memory - 1, memory), 3.0, changed))


def test_a_row_tells_medians_and_how_far_the_ratios_lie_apart() -> None:
    rounds = (told(10, 12, 16, 100), told(20, 40, 19, 90), told(10, 15, 16, 95))
    head, row = (text.splitlines()[0].strip("| ").split(" | ") for text in (Result.heading(), str(Result(2, rounds))))
    # The median of the rounds' ratios, not the ratio of the medians: a round's two bursts share the machine's pace.
    assert row[:4] == ["2", "10.00", "15.00", "1.50 (1.20-2.00)"]
    assert row[4:] == ["8.00", "1.00", "2.00", "0.50", "1.00", "99 (100)", "3.00", "1.00", "2.00"]
    assert len(row) == len(head)
