"""Which events happen, and what the user of a campaign has chosen. Pure."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

PREFIX = "NEMESIS_"
MINUTES = 30.0


class OptionError(ValueError):
    """An environment variable cannot be used; the message names it, the reason and what is possible."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user chose."""

    seed: int
    minutes: float
    """Of the events. Every kind happens once even when that takes longer; 0 ends then."""
    kinds: tuple[str, ...]
    apart: bool
    """One event at a time, each followed by rest, so that every breach has one cause."""
    gap: tuple[float, float] = (1.0, 5.0)
    """Fewest and most seconds between two events."""
    patience: float = 1.0
    """Factor of the seconds within which all pools are Ready, for a machine that other work keeps busy."""

    @classmethod
    def read(cls, environment: Mapping[str, str], kinds: Sequence[str], seed: int) -> "Options":
        """From the environment. kinds: all that may be chosen; seed: where none is given. OptionError."""
        return cls(
            seed=int(_number(environment, "SEED", float(seed))),
            minutes=_number(environment, "MINUTES", MINUTES),
            kinds=_kinds(environment, kinds),
            apart=environment.get(f"{PREFIX}APART", "") not in {"", "0"},
            patience=_number(environment, "PATIENCE", 1.0),
        )


def _number(environment: Mapping[str, str], name: str, otherwise: float) -> float:
    text = environment.get(PREFIX + name, "")
    try:
        number = float(text) if text else otherwise
    except ValueError:
        number = -1.0
    if number < 0:
        raise OptionError(f"{PREFIX}{name} is {text!r}: give a number that is not negative.")
    return number


def _kinds(environment: Mapping[str, str], kinds: Sequence[str]) -> tuple[str, ...]:
    """The kinds of ONLY, or all, without those of WITHOUT; both are names with spaces or commas between."""
    only, without = (environment.get(PREFIX + name, "").replace(",", " ").split() for name in ("ONLY", "WITHOUT"))
    if unknown := sorted({*only, *without} - set(kinds)):
        raise OptionError(
            f"{PREFIX}ONLY and {PREFIX}WITHOUT: no kind {', '.join(unknown)}. There are {' '.join(kinds)}."
        )
    chosen = tuple(each for each in kinds if each not in without and (not only or each in only))
    if not chosen:
        raise OptionError(f"{PREFIX}ONLY and {PREFIX}WITHOUT leave no kind.")
    return chosen


def order(kinds: Sequence[str], seed: int) -> Iterator[str]:
    """Kinds without an end: all of them in random order, then all of them in another order. The seed decides."""
    chance = random.Random(seed)
    while True:
        yield from chance.sample(list(kinds), len(kinds))


def chance(seed: int, number: int, kind: str) -> random.Random:
    """The choices inside one event. They depend on nothing else, so that one event can be repeated."""
    return random.Random(f"{seed} {number} {kind}")
