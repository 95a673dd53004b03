"""A model of PostgreSQL behind pools of connections: one fluid queue a pool, and cores that all pools share."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

STEP = 0.25  # seconds


@dataclass(frozen=True, slots=True)
class Machine:
    """cores: transactions that run at full speed at once. service: seconds of one alone. penalty: what each further
    doubling of running transactions costs beside the sharing of cores (locks, caches): the knee."""

    cores: int = 32
    service: float = 0.02
    penalty: float = 0.3

    def seconds(self, running: float, slow: float) -> float:
        """How long one transaction holds a connection while `running` of them do."""
        crowd = max(1.0, running / self.cores)
        return self.service * slow * crowd * (1 + self.penalty * math.log2(crowd))


@dataclass(slots=True)
class Queue:
    """One pool: clients that wait, and sums since the last reading. waits: (seconds, how many waited so).

    before: what was served, and the time it took, until that reading.
    """

    waiting: float = 0.0
    busy: float = 0.0
    served: float = 0.0
    arrived: float = 0.0
    busy_seconds: float = 0.0
    wait_seconds: float = 0.0
    waits: list[tuple[float, float]] = field(default_factory=list)
    before: tuple[float, float] = (0.0, 0.0)

    @property
    def ever(self) -> float:
        """Mean seconds that a transaction took since the beginning, without its wait."""
        served, seconds = self.before
        return (seconds + self.busy_seconds) / (served + self.served) if served + self.served else 0.0

    def reset(self) -> None:
        """Begin another reading."""
        self.before = (self.before[0] + self.served, self.before[1] + self.busy_seconds)
        self.served = self.arrived = self.busy_seconds = self.wait_seconds = 0.0
        self.waits = []


@dataclass(slots=True)
class Server:
    """The machine with its pools. patience: seconds after which a waiting transaction gives up (query_wait_timeout)."""

    machine: Machine
    pools: Mapping[str, Queue]
    patience: float = 30.0

    def step(self, rates: Mapping[str, float], sizes: Mapping[str, int], slow: float, chance: random.Random) -> None:
        """One STEP: arrivals by chance around their rates, as many served as connections allow."""
        seconds = self.machine.seconds(sum(each.busy for each in self.pools.values()), slow)
        for name, queue in self.pools.items():
            expected = rates[name] * STEP
            arrivals = max(0.0, chance.gauss(expected, math.sqrt(expected)))
            most = sizes[name] * STEP / seconds
            served = min(queue.waiting + arrivals, most)
            queue.waiting = min(queue.waiting + arrivals - served, self.patience * most / STEP)
            queue.busy = served * seconds / STEP
            queue.served += served
            queue.arrived += arrivals
            queue.busy_seconds += queue.busy * STEP
            queue.wait_seconds += queue.waiting * STEP
            queue.waits.append((queue.waiting * STEP / most if most else self.patience, arrivals))


def percentile(waits: Sequence[tuple[float, float]], part: float) -> float:
    """The wait that `part` of all transactions do not pass, in seconds."""
    ordered = sorted(waits)
    total, seen = sum(count for _, count in ordered), 0.0
    for seconds, count in ordered:
        seen += count
        if seen >= part * total:
            return seconds
    return 0.0
