"""What a campaign checks, and the stated exceptions from it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum


class Promise(Enum):
    """One thing that must not happen; the value says what it is when it does."""

    FAILED = "failed transactions"
    REFUSED = "refused connections"
    LOST = "lost rows"
    BUDGET = "connections above the budget"
    FENCE = "logins refused by the role's limit"
    READY = "pools not Ready in time"


@dataclass(frozen=True, slots=True)
class Exemption:
    """A stated exception of the promises."""

    reason: str
    """Words for the reader of the documentation."""
    seconds: float
    """How long after the event began its clients may see what is excused."""
    excuses: frozenset[Promise]
    ready_seconds: float
    """Seconds after the event within which all pools are Ready again."""


READY_SECONDS = 30.0
CLIENTS = frozenset({Promise.FAILED, Promise.REFUSED})
FORCED = Exemption("a pod is deleted by force", 20, CLIENTS, 45)
NO_SERVICE = Exemption("the Service itself is deleted", 15, CLIENTS, READY_SECONDS)


@dataclass(slots=True)
class Event:
    """One event of a campaign. Moments are monotonic seconds."""

    number: int
    kind: str
    began: float
    exemption: Exemption | None = None
    ended: float = 0.0
    text: str = ""
    """What it did: the names of its objects."""
    trouble: str = ""
    """Why it could not be done; empty when it was."""

    def excuses(self, promise: Promise, moment: float) -> bool:
        """Whether a stated exception covers that promise at that moment."""
        exemption = self.exemption
        if exemption is None or promise not in exemption.excuses:
            return False
        return self.began <= moment <= max(self.ended, self.began) + exemption.seconds


@dataclass(frozen=True, slots=True)
class Breach:
    """Something that was promised not to happen."""

    promise: Promise
    moment: float
    """When it was seen, monotonic seconds. Clients report once a second."""
    count: int
    where: str
    text: str = ""


TOGETHER = 5.0
"""Seconds between two breaches that are reported as one."""


def merged(breaches: Sequence[Breach]) -> list[Breach]:
    """One breach for those of the same promise at the same place that follow each other closely.

    It has the moment and the text of the first, and the sum of the counts.
    """
    found: list[Breach] = []
    latest: dict[tuple[Promise, str], tuple[int, float]] = {}  # place in `found`, moment of the last one
    for each in sorted(breaches, key=lambda breach: breach.moment):
        key = (each.promise, each.where)
        index, moment = latest.get(key, (-1, float("-inf")))
        if each.moment - moment > TOGETHER:
            index = len(found)
            found.append(each)
        else:
            found[index] = replace(found[index], count=found[index].count + each.count)
        latest[key] = (index, each.moment)
    return found


@dataclass(frozen=True, slots=True)
class Verdict:
    """A breach, the events that preceded it, the latest first, and the exception that covers it if one does."""

    breach: Breach
    after: Sequence[Event]
    excused: Exemption | None = None

    @property
    def event(self) -> Event | None:
        """The event that preceded the breach."""
        return self.after[0] if self.after else None

    def line(self) -> str:
        """For people."""
        breach = self.breach
        events = ", ".join(f"{each.kind} ({breach.moment - each.began:.1f} s before)" for each in self.after)
        excused = f" [stated exception: {self.excused.reason}]" if self.excused else ""
        return f"{breach.count} {breach.promise.value} at {breach.where}, after {events or 'no event'}{excused}: " + (
            breach.text or "no more is known"
        )


NAMED = 3
"""Events that a verdict names."""


def judge(breach: Breach, events: Sequence[Event]) -> Verdict:
    """Name the events that began before the breach, and the stated exception of any event that covers it."""
    before = sorted((each for each in events if each.began <= breach.moment), key=lambda each: -each.began)
    excusing = next((each for each in before if each.excuses(breach.promise, breach.moment)), None)
    return Verdict(breach, tuple(before[:NAMED]), excusing.exemption if excusing else None)


@dataclass(slots=True)
class Budget:
    """The connections that PostgreSQL may count, over time: (monotonic seconds, connections), in order."""

    limits: list[tuple[float, int]] = field(default_factory=list)

    @property
    def now(self) -> int:
        """The limit in force."""
        return self.limits[-1][1]

    def at(self, moment: float) -> int:
        """The limit in force at that moment; before the first one, the first."""
        return next((limit for since, limit in reversed(self.limits) if since <= moment), self.limits[0][1])

    def peak(self, counts: Sequence[tuple[float, int]]) -> float:
        """The greatest count in parts of the limit of its moment. counts: (monotonic seconds, connections)."""
        return max((count / self.at(moment) for moment, count in counts), default=0.0)
