"""What pods did in a period of time, and what a series of such periods says of their need. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

SMOOTHED = 30.0  # seconds of the moving average
LEARNED = 120.0  # seconds for which client replicas must have worked before their need is forecast
GOING = 60.0  # seconds in which replicas that have gone, or are not ready, may still end their transactions


@dataclass(frozen=True, slots=True)
class Window:
    """What all pods of a pool did together in a period of time."""

    at: float
    """The end of the window, in monotonic seconds."""
    seconds: float
    """Its length."""
    busy: float
    """Mean number of server connections in a transaction."""
    queued: float
    """Mean number of clients that waited for a server connection."""
    rate: float
    """Transactions per second."""
    clients: int = 0
    """Ready replicas of the client workloads; 0 when unknown."""
    uncounted: float = 0.0
    """The part of `busy` that comes from pods whose transactions are not in `rate`."""

    @property
    def service(self) -> float:
        """Seconds that one transaction held a connection; 0 when there was none."""
        return (self.busy - self.uncounted) / self.rate if self.rate > 0 else 0.0


def mean_need(windows: Sequence[Window]) -> float:
    """Mean connections in use now or in busy minutes, whichever is more. Clients that wait add at most as much."""
    last = windows[-1]
    need = max(_smoothed([(each, each.busy) for each in windows]), percentile([each.busy for each in windows], 0.95))
    return need + min(last.queued, max(need, 1.0)) if last.queued >= 1 else need


def per_client(plain: Sequence[Window], windows: Sequence[Window]) -> float:
    """Server connections in use by one client replica.

    A window is divided by the most replicas of the last GOING seconds: those that went were busy too.
    """
    counted = [
        (each, max(other.clients for other in windows if each.at - GOING <= other.at <= each.at))
        for each in plain
        if each.clients
    ]
    if not counted or counted[-1][0].at - counted[0][0].at < LEARNED:
        return 0.0
    return percentile([each.busy / clients for each, clients in counted], 0.75)


def _smoothed(values: Sequence[tuple[Window, float]]) -> float:
    """Mean of the values with exponential weights over SMOOTHED seconds."""
    at = values[-1][0].at
    weights = [each.seconds * math.exp((each.at - at) / SMOOTHED) for each, _ in values]
    return sum(weight * value for weight, (_, value) in zip(weights, values, strict=True)) / sum(weights)


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which `part` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]
