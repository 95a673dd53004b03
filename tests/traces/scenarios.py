"""What happens to the pools: who asks how much and when, and how well the server is."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.traces.server import Machine

USUAL = Machine()
Over = Callable[[float], float]  # of seconds since the beginning


@dataclass(frozen=True, slots=True)
class Trace:
    """One pool's load. rate: transactions per second. ready, desired: replicas of its client workload."""

    rate: Over
    ready: Over
    desired: Over


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named trace for each pool on one server. fixed: what each pool would have had by hand, for its usual peak.

    watched: the pools whose waits are plotted, empty for all.
    """

    name: str
    about: str
    seconds: float
    budget: int
    pools: Mapping[str, Trace]
    fixed: int
    floor: int = 2
    slow: Over = lambda _: 1.0
    machine: Machine = USUAL
    watched: tuple[str, ...] = ()


def day() -> Scenario:
    """24 hours: quiet nights, a peak at noon and one in the evening; replicas follow the rate."""

    def rate(at: float) -> float:
        hour = at / 3600
        noon, evening = (math.exp(-(((hour - peak) / width) ** 2)) for peak, width in ((12.5, 2.5), (20.0, 1.5)))
        return 40 + 760 * noon + 500 * evening

    def replicas(at: float) -> float:
        return max(2.0, math.ceil(rate(at) / 50))

    trace = Trace(rate, lambda at: replicas(at - 60), replicas)
    return Scenario("day", "one day of a shop", 86_400, 100, {"shop": trace}, fixed=60)


def burst() -> Scenario:
    """A Deployment goes from 5 to 20 replicas for 10 minutes; its pods need 30 s to become Ready."""

    def desired(at: float) -> float:
        return 20.0 if 900 <= at < 1500 else 5.0

    def ready(at: float) -> float:
        return 20.0 if 930 <= at < 1500 else 5.0

    trace = Trace(lambda at: 60 * ready(at), ready, desired)
    return Scenario("burst", "5 to 20 replicas and back", 2400, 100, {"shop": trace}, fixed=15)


def slow_server(since: float = 1200.0, fixed: int = 30) -> Scenario:
    """The server takes five times as long for 2 minutes: more connections would only make it worse."""
    trace = Trace(lambda _: 600.0, lambda _: 10.0, lambda _: 10.0)
    return Scenario(
        "slow-server",
        "the server five times slower for 2 minutes",
        2400,
        200,
        {"shop": trace},
        fixed=fixed,
        slow=lambda at: 5.0 if since <= at < since + 120 else 1.0,
    )


def neighbour() -> Scenario:
    """Three pools on one server; one of them begins to ask for far more than there is."""

    def steady(rate: float) -> Trace:
        return Trace(lambda _: rate, lambda _: 4.0, lambda _: 4.0)

    wild = Trace(lambda at: 4000.0 if at >= 900 else 200.0, lambda _: 4.0, lambda _: 4.0)
    pools = {"shop": steady(300), "search": steady(200), "wild": wild}
    return Scenario(
        "neighbour", "one pool of three runs wild", 2400, 60, pools, fixed=20, floor=4, watched=("shop", "search")
    )


SCENARIOS = (day, burst, slow_server, neighbour)
