from tests.nemesis import report
from tests.nemesis.promises import FORCED, Breach, Event, Promise, judge

EVENTS = [
    Event(1, "evict-pod", 10.0, ended=11.0),
    Event(2, "delete-by-force", 20.0, FORCED, ended=21.0),
    Event(3, "evict-pod", 60.0, ended=61.0, trouble="no pod"),
    Event(4, "pause", 70.0, ended=71.0, trouble="no pool"),
]
VERDICTS = [
    judge(Breach(Promise.FAILED, 12.0, 3, "one"), EVENTS),
    judge(Breach(Promise.REFUSED, 22.0, 5, "one"), EVENTS),
    judge(Breach(Promise.BUDGET, 23.0, 2, "PostgreSQL"), EVENTS),
]


def test_a_line_for_each_kind_tells_what_broke_after_it() -> None:
    lines = report.table(EVENTS, VERDICTS, {1: 4.0, 3: 12.4}).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["delete-by-force", "1", "2", "5"],
        ["evict-pod", "2", "1", "3", "12", "s"],
        ["pause", "1", "1"],
    ]
    assert len({len(line) for line in lines}) == 1
    heads = lines[0]
    assert heads[: heads.index("over budget") + len("over budget")].endswith("over budget")
    assert lines[1][heads.index("over budget") + len("over budget") - 1] == "2"
    assert lines[1][heads.index("excused") + len("excused") - 1] == "5"


def test_what_a_stated_exception_covers_is_no_fault() -> None:
    assert [each.breach.promise for each in report.faults(VERDICTS)] == [Promise.FAILED, Promise.BUDGET]


def test_a_kind_that_could_not_be_done_a_single_time_is_named() -> None:
    assert report.never_done(EVENTS) == ["pause"]
