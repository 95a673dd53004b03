"""Runs a policy through a scenario and measures it."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.traces.policies import Look, Policy
from tests.traces.scenarios import Scenario
from tests.traces.server import STEP, Queue, Server, percentile

from pgbouncer_operator.sizing.window import Window

WINDOW = 15.0  # seconds between two looks of the operator
SEED = 7


@dataclass(frozen=True, slots=True)
class Point:
    """One pool at the end of a window: connections held and in use, and the window's 99th percentile wait in s."""

    at: float
    held: int
    busy: float
    wait: float


@dataclass(slots=True)
class Run:
    """What came of it. points: by pool. waits: of every transaction, by pool."""

    points: dict[str, list[Point]] = field(default_factory=dict)
    waits: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def peak(self) -> int:
        """The most connections held at once by all pools together."""
        return max(map(sum, zip(*([each.held for each in points] for points in self.points.values()), strict=True)))

    def held_per_busy(self) -> float:
        """Connections held for one in use, over the whole run."""
        everything = [each for points in self.points.values() for each in points]
        return sum(each.held for each in everything) / sum(each.busy for each in everything)

    def wait(self, pool: str) -> float:
        """The 99th percentile of a pool's waits, in seconds."""
        return percentile(self.waits[pool], 0.99)


def run(scenario: Scenario, policy: Policy) -> Run:
    """The scenario from beginning to end. The same seed gives every policy the same arrivals."""
    server = Server(scenario.machine, {name: Queue() for name in scenario.pools})
    sizes = dict.fromkeys(scenario.pools, scenario.fixed)
    found = Run({name: [] for name in scenario.pools}, {name: [] for name in scenario.pools})
    chance, steps, at = random.Random(SEED), round(WINDOW / STEP), 0.0
    while at < scenario.seconds:
        for _ in range(steps):
            rates = {name: trace.rate(at) for name, trace in scenario.pools.items()}
            server.step(rates, sizes, scenario.slow(at), chance)
            at += STEP
        looks = {name: _look(scenario, server, name, at) for name in scenario.pools}
        _note(found, server.pools, sizes, looks)
        sizes = policy.sizes(looks)
    return found


def _look(scenario: Scenario, server: Server, name: str, at: float) -> Look:
    queue, trace = server.pools[name], scenario.pools[name]
    busy, rate = queue.busy_seconds / WINDOW, queue.served / WINDOW
    with_wait = (queue.busy_seconds + queue.wait_seconds) / queue.served if queue.served else 0.0
    window = Window(at, WINDOW, busy, queue.wait_seconds / WINDOW, rate, round(trace.ready(at)))
    return Look(window, with_wait, round(trace.desired(at)), queue.ever)


def _note(found: Run, queues: Mapping[str, Queue], sizes: Mapping[str, int], looks: Mapping[str, Look]) -> None:
    for name, queue in queues.items():
        window = looks[name].window
        found.points[name].append(Point(window.at, sizes[name], window.busy, percentile(queue.waits, 0.99)))
        found.waits[name] += queue.waits
        queue.reset()
