"""What sizes the pools of a scenario: ours, and what others do."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from tests.traces.scenarios import Scenario

from pgbouncer_operator.sizing.demand import Bounds, Decision, SizingState, begun, decide
from pgbouncer_operator.sizing.fairness import Claim, divide
from pgbouncer_operator.sizing.window import Window


@dataclass(frozen=True, slots=True)
class Look:
    """One pool's window, the mean of transaction times with the wait in them (as PgBouncer tells it), and replicas.

    ever: mean seconds that transactions held a connection since the beginning.
    """

    window: Window
    with_wait: float
    desired: int
    ever: float = 0.0


class Policy(Protocol):
    """Gives every pool its size, once a window."""

    def sizes(self, looks: Mapping[str, Look]) -> dict[str, int]:
        """The sizes after these looks."""


@dataclass(slots=True)
class Fixed:
    """A number by hand, for the usual peak."""

    scenario: Scenario

    def sizes(self, looks: Mapping[str, Look]) -> dict[str, int]:
        """Always the same."""
        return dict.fromkeys(looks, self.scenario.fixed)


@dataclass(slots=True)
class Divided:
    """The budget over the most client replicas there may be, a pool in each of them: what they hold together."""

    scenario: Scenario
    most: int = 20

    def sizes(self, looks: Mapping[str, Look]) -> dict[str, int]:
        """A small pool in every replica, whether it needs one or not; at least 1 each."""
        each = max(1, self.scenario.budget // (self.most * len(looks)))
        return {name: each * max(1, look.window.clients) for name, look in looks.items()}


@dataclass(slots=True)
class Naive:
    """The rate times the mean transaction time that PgBouncer tells, which has the wait in it, and a fifth more."""

    scenario: Scenario

    def sizes(self, looks: Mapping[str, Look]) -> dict[str, int]:
        """Up to the whole budget for each."""
        return {
            name: max(
                self.scenario.floor, min(self.scenario.budget, math.ceil(look.window.rate * look.with_wait * 1.2))
            )
            for name, look in looks.items()
        }


@dataclass(slots=True)
class Ours:
    """The package's own functions: what each pool wants by its demand, then shares of the budget.

    restarts: when the operator begins anew, in seconds. It knows then what sizes are in force, and all that PgBouncer
    has counted, if it goes by that. Its first look is no window yet.
    """

    scenario: Scenario
    foretell: bool = True
    restarts: tuple[float, ...] = ()
    counted: bool = True
    sizings: dict[str, SizingState] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)

    def sizes(self, looks: Mapping[str, Look]) -> dict[str, int]:
        """Wants by demand; the budget by weighted max-min. A pool grows from what it has."""
        floor, budget = self.scenario.floor, self.scenario.budget
        claims = []
        for name, look in looks.items():
            bounds = Bounds(floor, budget, look.desired if self.foretell else 0)
            before = self.sizings.get(name, SizingState(self.scenario.fixed))
            if look.window.at in self.restarts:
                self.sizings[name] = begun(before.size, look.window.at, ever=look.ever if self.counted else 0.0)
            else:
                self.sizings[name], self.decisions[name] = decide(before, look.window, bounds)
            claims.append(Claim(name, floor, floor, self.sizings[name].size, budget))
        parts = divide(budget, claims).parts
        for name in looks:
            self.sizings[name] = replace(self.sizings[name], size=parts[name])
        return parts
