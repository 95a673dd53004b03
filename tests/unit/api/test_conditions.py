"""Conditions: every reason has a remedy, transition times are kept, messages always fit."""

import json

import pytest

from pgbouncer_operator.api.conditions import (
    MESSAGE_MAX,
    REMEDIES,
    Condition,
    ConditionStatus,
    ConditionType,
    Reason,
    merge,
)

EARLY, LATE = "2026-11-21T01:00:00Z", "2026-11-21T02:00:00Z"


def ready(status: ConditionStatus, message: str = "", at: str | None = None) -> Condition:
    return Condition(
        type=ConditionType.READY, status=status, reason=Reason.READY, message=message, last_transition_time=at
    )


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_remedy_in_a_sentence(reason: Reason) -> None:
    remedy = REMEDIES[reason]
    assert len(remedy) >= 20
    assert remedy.endswith(".")
    assert remedy[0].isupper()


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_one_word_as_kubernetes_wants_it(reason: Reason) -> None:
    assert reason.value.isalpha()
    assert reason.value[0].isupper()


def test_a_remedy_is_there_for_nothing_else() -> None:
    assert set(REMEDIES) == set(Reason)


def test_a_condition_that_stays_keeps_its_time_even_with_new_words() -> None:
    (merged,) = merge([ready(ConditionStatus.TRUE, "old", EARLY)], [ready(ConditionStatus.TRUE, "new")], LATE)
    assert merged.last_transition_time == EARLY
    assert merged.message == "new"


def test_a_condition_that_turns_gets_the_time_of_now() -> None:
    (merged,) = merge([ready(ConditionStatus.TRUE, at=EARLY)], [ready(ConditionStatus.FALSE)], LATE)
    assert merged.last_transition_time == LATE


def test_a_new_condition_gets_the_time_of_now_and_an_absent_one_goes() -> None:
    stalled = Condition(type=ConditionType.STALLED, status=ConditionStatus.TRUE, reason=Reason.NAME_CONFLICT)
    (merged,) = merge([stalled], [ready(ConditionStatus.TRUE)], LATE)
    assert merged.type is ConditionType.READY
    assert merged.last_transition_time == LATE


def test_a_condition_without_a_time_of_its_own_gets_one() -> None:
    (merged,) = merge([ready(ConditionStatus.TRUE)], [ready(ConditionStatus.TRUE)], LATE)
    assert merged.last_transition_time == LATE


def test_the_order_of_conditions_is_always_the_same() -> None:
    conditions = [
        Condition(type=kind, status=ConditionStatus.TRUE, reason=Reason.READY) for kind in reversed(ConditionType)
    ]
    assert [condition.type for condition in merge([], conditions, LATE)] == list(ConditionType)


def test_merging_again_changes_nothing() -> None:
    once = merge([], [ready(ConditionStatus.TRUE)], EARLY)
    assert merge(once, [ready(ConditionStatus.TRUE)], LATE) == once


def test_postgresqls_words_of_several_lines_become_one_that_fits() -> None:
    condition = ready(ConditionStatus.FALSE, "FATAL:\tno\nHINT: " + "ü" * 5000)
    assert condition.message.startswith("FATAL: no HINT: ü")
    assert condition.message.endswith("…")
    assert len(condition.message) == MESSAGE_MAX


def test_a_condition_goes_over_the_wire_and_back() -> None:
    condition = ready(ConditionStatus.TRUE, "fine", EARLY)
    wire = json.loads(json.dumps(condition.wire()))
    assert wire == {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "fine",
        "observedGeneration": 0,
        "lastTransitionTime": EARLY,
    }
    assert Condition.model_validate(wire) == condition
