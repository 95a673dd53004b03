"""What the bursts of one size came to: every round has both clients in it, and what is told is the median."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from tests.bench import audit
from tests.bench.operator_process import Usage

HEADS = (
    "pools",
    "plain client s",
    "operator s",
    "ratio",
    "writes/pool",
    "reads/pool",
    "pokes/pool",
    "events/pool",
    "CPU s",
    "MiB (peak)",
    "change all s",
    "writes/pool",
    "pokes/pool",
)


@dataclass(frozen=True, slots=True)
class Operated:
    """The operator's burst, and one parameter changed on all its pools. Seconds; memory: MiB now and at most."""

    seconds: float
    created: Counter[str]
    used: Usage
    memory: tuple[int, int]
    changed_seconds: float
    changed: Counter[str]


@dataclass(frozen=True, slots=True)
class Round:
    """A plain client's burst and the operator's, one right after the other."""

    plain_seconds: float
    operated: Operated

    @property
    def ratio(self) -> float:
        """The operator's time by the plain client's."""
        return self.operated.seconds / self.plain_seconds


@dataclass(frozen=True, slots=True)
class Result:
    """One size's rounds. As text, a row of medians; of ratios also lowest and highest, of memory the worst."""

    size: int
    rounds: tuple[Round, ...]

    @staticmethod
    def heading() -> str:
        """The table's head."""
        return "| " + " | ".join(HEADS) + " |\n|" + "---|" * len(HEADS)

    def __str__(self) -> str:
        ratios = [each.ratio for each in self.rounds]
        figures = (
            str(self.size),
            f"{median(each.plain_seconds for each in self.rounds):.2f}",
            f"{median(each.operated.seconds for each in self.rounds):.2f}",
            f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
            self._each(lambda each: audit.writes(each.created)),
            self._each(lambda each: audit.reads(each.created)),
            self._each(lambda each: each.created["patch pods/status"]),
            self._each(lambda each: each.created["create events"]),
            f"{median(each.operated.used.cpu for each in self.rounds):.2f}",
            "{} ({})".format(*max((each.operated.memory for each in self.rounds), key=lambda each: each[1])),
            f"{median(each.operated.changed_seconds for each in self.rounds):.2f}",
            self._each(lambda each: audit.writes(each.changed)),
            self._each(lambda each: each.changed["patch pods/status"]),
        )
        last = self.rounds[-1].operated
        detail = f"<!-- last round: created: {_listed(last.created)}; changed: {_listed(last.changed)} -->"
        return "| " + " | ".join(figures) + f" |\n{detail}"

    def _each(self, count: Callable[[Operated], int]) -> str:
        """A count for each pool."""
        return f"{median(count(each.operated) for each in self.rounds) / self.size:.2f}"


def _listed(counted: Counter[str]) -> str:
    return ", ".join(f"{key} {count}" for key, count in sorted(counted.items()))
