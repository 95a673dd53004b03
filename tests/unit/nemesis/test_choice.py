import pytest
from tests.nemesis import choice
from tests.nemesis.choice import OptionError, Options

NAMES = ("evict", "restart", "pause", "kill")


def first(count: int, seed: int) -> list[str]:
    kinds = choice.order(NAMES, seed)
    return [next(kinds) for _ in range(count)]


def test_every_kind_happens_once_before_any_happens_twice() -> None:
    kinds = first(12, seed=1)
    assert [sorted(kinds[start : start + 4]) for start in (0, 4, 8)] == [sorted(NAMES)] * 3


def test_the_seed_decides_the_order() -> None:
    assert first(40, seed=1) == first(40, seed=1)
    assert first(40, seed=1) != first(40, seed=2)
    assert first(4, seed=1) != first(8, seed=1)[4:]


def test_an_event_is_repeated_by_seed_number_and_kind_alone() -> None:
    values = [choice.chance(*key).random() for key in ((1, 2, "kill"), (1, 2, "kill"), (1, 3, "kill"), (2, 2, "kill"))]
    assert values[0] == values[1]
    assert len(set(values)) == 3


def test_without_options_every_kind_runs_for_half_an_hour() -> None:
    assert Options.read({}, NAMES, 5) == Options(5, 30.0, NAMES, apart=False)


def test_the_environment_chooses_seed_minutes_and_kinds() -> None:
    environment = {
        "NEMESIS_SEED": "7",
        "NEMESIS_MINUTES": "0.5",
        "NEMESIS_ONLY": "kill, pause evict",
        "NEMESIS_WITHOUT": "pause",
        "NEMESIS_APART": "1",
        "NEMESIS_PATIENCE": "3",
    }
    assert Options.read(environment, NAMES, 5) == Options(7, 0.5, ("evict", "kill"), apart=True, patience=3.0)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"NEMESIS_SEED": "x"}, "NEMESIS_SEED is 'x': give a number"),
        ({"NEMESIS_MINUTES": "-1"}, "NEMESIS_MINUTES is '-1': give a number"),
        ({"NEMESIS_WITHOUT": "kil"}, "no kind kil. There are evict restart pause kill."),
        ({"NEMESIS_ONLY": "kill", "NEMESIS_WITHOUT": "kill"}, "leave no kind"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(environment: dict[str, str], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Options.read(environment, NAMES, 5)
