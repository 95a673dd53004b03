import pytest
from tests.nemesis.promises import FORCED, NO_SERVICE, Breach, Budget, Event, Exemption, Promise, judge, merged

EVENTS = (
    Event(1, "reload", 10.0, ended=11.0),
    Event(2, "evict-pod", 20.0, ended=21.0),
    Event(3, "pause", 30.0, ended=34.0),
)


def breach(moment: float, promise: Promise = Promise.FAILED) -> Breach:
    return Breach(promise, moment, 2, "one", "closed")


def test_the_event_that_began_last_before_a_breach_is_named_first() -> None:
    verdict = judge(breach(29.9), EVENTS)
    assert [each.kind for each in verdict.after] == ["evict-pod", "reload"]
    assert verdict.event == EVENTS[1]
    assert (
        verdict.line() == "2 failed transactions at one, after evict-pod (9.9 s before), reload (19.9 s before): closed"
    )


def test_an_event_that_still_goes_on_is_named_too() -> None:
    assert judge(breach(32.0), EVENTS).event == EVENTS[2]


def test_a_breach_before_any_event_has_none() -> None:
    verdict = judge(breach(1.0), EVENTS)
    assert verdict.event is None
    assert "after no event" in verdict.line()


def test_a_stated_exception_excuses_clients_for_its_seconds_even_when_another_event_followed() -> None:
    forced = Event(4, "delete-by-force", 40.0, FORCED, ended=41.0)
    events = (*EVENTS, forced, Event(5, "reload", 45.0, ended=45.5))
    verdict = judge(breach(50.0), events)
    assert verdict.excused is FORCED
    assert verdict.event == events[-1]
    assert judge(breach(41.0 + FORCED.seconds), events).excused is FORCED
    assert judge(breach(41.1 + FORCED.seconds), events).excused is None
    assert judge(breach(39.9), events).excused is None


@pytest.mark.parametrize("promise", [Promise.BUDGET, Promise.FENCE, Promise.READY, Promise.LOST])
@pytest.mark.parametrize("exemption", [FORCED, NO_SERVICE])
def test_no_exception_excuses_more_than_clients(promise: Promise, exemption: Exemption) -> None:
    event = Event(1, "delete", 40.0, exemption, ended=41.0)
    assert judge(breach(42.0, promise), [event]).excused is None


def test_a_count_is_held_against_the_budget_of_its_moment() -> None:
    budget = Budget([(0.0, 30), (10.0, 20), (20.0, 36)])
    assert [budget.at(moment) for moment in (-1.0, 0.0, 9.9, 10.0, 25.0)] == [30, 30, 30, 20, 36]
    assert budget.now == 36
    assert budget.peak([(5.0, 27), (15.0, 19), (25.0, 33)]) == 0.95
    assert budget.peak([(5.0, 30), (10.0, 21)]) == 1.05
    assert budget.peak([]) == 0.0


def test_breaches_of_one_place_that_follow_closely_are_one_with_the_first_moment() -> None:
    refused = [Breach(Promise.REFUSED, moment, 2, "one", f"at {moment}") for moment in (14.0, 10.0, 20.0)]
    other = Breach(Promise.REFUSED, 11.0, 1, "two")
    failed = breach(12.0)
    assert merged([*refused, other, failed]) == [
        Breach(Promise.REFUSED, 10.0, 4, "one", "at 10.0"),
        other,
        failed,
        refused[2],
    ]
    assert merged([]) == []
