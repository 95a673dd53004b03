"""How many server connections a pool should have, from what it used, what waited and what its clients are about to be.

`busy` is Little's law: the rate of transactions times what one holds a connection for. `busy + 2 * sqrt(busy)` keeps
the probability of waiting near 2.5 % at any size (square-root staffing, Halfin and Whitt 1981). Growth follows need at
once but never latency alone: a pool that grows because its server is slow makes the server slower. Shrinking is slow.

The server is slow while transactions take clearly longer than they usually do. What was seen meanwhile says nothing of
what is usual and is no reason to grow afterwards; it still keeps a pool from shrinking. The usual time is the median of
the last minutes; after a restart, the mean of all that PgBouncer has done. A spell of more than half of the memory
becomes the usual: the work has changed, and growth must not be held for ever. Where nothing at all is known, no time is
slow. Pure.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

SMOOTHED = 30.0  # seconds of the moving average
REMEMBERED = 600.0  # seconds of windows that are kept: the 95th percentile and the usual service time come from them
LEARNED = 120.0  # seconds that client replicas must have been seen working before their need is foretold
GOING = 60.0  # seconds in which replicas that went, or are not ready, may still be ending their transactions
STEP_APART = 30.0  # seconds between two growths
STEP_LEAST = 8  # connections that one growth may add, or as many as there are, whichever is more
CALM = 300.0  # seconds whose highest want a shrink respects
SHRINK_EVERY, SHRINK_BY = 60.0, 0.2
SLOW = 1.5  # times the usual service time: then the server is the bottleneck, not the pool
SLOW_EVER = 2.0  # times the mean of days, of which the work of this hour may honestly differ
DOUBTFUL = 1.15  # times the usual, with a new queue: a slow spell may have begun within the window; the next one tells
LATE = 0.2  # of a window: a queue that began in this last part of it may as well be a slow spell's
LEFT = 60.0  # seconds in which a queue that a slow server has left is thought to end without more connections
KNOWN = 4  # windows that it takes to say what is usual
GAIN = 1.05  # times the rate before: less after a growth, on a slow server, and the growth is taken back
HELD = 600.0  # seconds without growth after that, but for replicas that are still to come


class SizingReason(StrEnum):
    """Why the size is what it is."""

    ENOUGH = "Enough"
    GROWN = "Grown"
    FORETOLD = "Foretold"  # grown for client replicas that are still to come
    PACED = "Paced"  # grows on, a step at a time, or when the queue is seen to be none that a slow server has left
    SHRUNK = "Shrunk"
    CALMING = "Calming"  # would shrink, and waits whether the need comes back
    SERVER_SLOW = "ServerSlow"  # queues, but more connections would not help
    TAKEN_BACK = "TakenBack"  # the last growth made the server slower and brought nothing
    AT_LIMIT = "AtLimit"


@dataclass(frozen=True, slots=True)
class Window:
    """What all pods of a pool did together in the `seconds` before `at` (monotonic).

    busy: mean server connections with a transaction. queued: mean clients that waited for one. rate: transactions per
    second. clients: replicas of the client workloads, 0 when not known. uncounted: of `busy`, what pods use whose
    transactions are not in `rate`.
    """

    at: float
    seconds: float
    busy: float
    queued: float
    rate: float
    clients: int = 0
    uncounted: float = 0.0

    @property
    def service(self) -> float:
        """Seconds that one transaction held a connection; 0 when there was none."""
        return (self.busy - self.uncounted) / self.rate if self.rate > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """floor, ceiling: of the size. clients: replicas that the client workloads are about to have, 0 when not known.

    unsure: there may be more of them, so that nothing shrinks.
    """

    floor: int
    ceiling: int
    clients: int = 0
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class Growth:
    """The last growth, until it has proved itself: when, from what size, and the rate before it.

    clients: replicas that it was for while they were still to come, 0 when it was for those that were there.
    """

    at: float
    size: int
    rate: float
    clients: int = 0


@dataclass(frozen=True, slots=True)
class SizingState:
    """A size and what is remembered to find the next one. wants: (when, want) of the last CALM seconds.

    began: when the first window did. usual: seconds that a transaction usually holds a connection, 0 while not known.
    """

    size: int
    windows: tuple[Window, ...] = ()
    wants: tuple[tuple[float, int], ...] = ()
    growth: Growth | None = None
    grown_at: float = -math.inf
    shrunk_at: float = -math.inf
    held_until: float = -math.inf
    began: float = -math.inf
    usual: float = 0.0

    def slow(self, window: Window) -> bool:
        """Whether its transactions took clearly longer than usual."""
        return 0 < SLOW * self.usual < window.service

    @property
    def plain(self) -> tuple[Window, ...]:
        """Windows in which the server was not slow and had not left the queue behind, nor had who knows what before."""
        found, left = [], self.began + LEFT
        for each in self.windows:
            if self.slow(each):
                left = each.at + LEFT
            elif each.queued < 1:
                left = -math.inf
            if each.at > left:
                found.append(each)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Decision:
    """A size with its reason and inputs. need: mean connections that were or will be in use. want: what that asks for.

    per_client: connections in use by one client replica, 0 while not known.
    """

    size: int
    want: int
    need: float
    per_client: float
    reason: SizingReason


def staffed(need: float) -> int:
    """Connections for a mean of `need` in use, so that few transactions wait."""
    return math.ceil(need + 2 * math.sqrt(need)) if need > 0 else 0


def begun(size: int, at: float, usual: float = 0.0, ever: float = 0.0) -> SizingState:
    """A size without any windows. Seconds that a transaction holds a connection, 0 when not known: usual, as it was
    found before; ever, the mean since PgBouncer started, which is good enough while there is nothing better."""
    return SizingState(size, began=at, usual=usual or ever * SLOW_EVER / SLOW)


def decide(before: SizingState, window: Window, bounds: Bounds) -> tuple[SizingState, Decision]:
    """The next size after one more window. A caller without fresh figures does not ask, so the size stays."""
    kept = tuple(each for each in before.windows if each.at > window.at - REMEMBERED)
    now = _learned(replace(before, windows=(*kept, window)))
    plain = now.plain
    per_client = _per_client(plain, now.windows)
    foretold = per_client * bounds.clients
    usually, need = _need(plain) if plain else 0.0, max(_need(now.windows), foretold)
    asked, want = _bounded(max(usually, foretold), bounds), _bounded(need, bounds)
    wants = (*(each for each in before.wants if each[0] > window.at - CALM), (window.at, want))
    now, size, reason = _move(replace(now, wants=wants), bounds, asked, foretold > usually)
    if reason is SizingReason.ENOUGH and staffed(need) > bounds.ceiling:
        reason = SizingReason.AT_LIMIT
    return replace(now, size=size), Decision(size, want, round(need, 2), round(per_client, 3), reason)


def by_replicas(per_client: int, bounds: Bounds) -> Decision:
    """The size that the user's own figure for one client replica gives."""
    asked = per_client * bounds.clients
    size = max(bounds.floor, min(bounds.ceiling, asked))
    return Decision(
        size, size, float(asked), float(per_client), SizingReason.AT_LIMIT if asked > size else SizingReason.ENOUGH
    )


def _bounded(need: float, bounds: Bounds) -> int:
    return max(bounds.floor, min(bounds.ceiling, staffed(need)))


def _learned(now: SizingState) -> SizingState:
    """With the usual time after one more window."""
    slow = sum(each.seconds for each in now.windows if now.slow(each))
    known = now.windows if slow > REMEMBERED / 2 else now.plain
    served = [each.service for each in known if each.rate > 0]
    return replace(now, usual=_percentile(served, 0.5)) if len(served) >= KNOWN else now


def _move(now: SizingState, bounds: Bounds, asked: int, foretold: bool) -> tuple[SizingState, int, SizingReason]:
    """asked: what there is reason to grow to; what the last minutes wanted is what a shrink respects."""
    window = now.windows[-1]
    size = max(bounds.floor, min(bounds.ceiling, now.size))
    now = _awaited(now, bounds.clients)
    if now.growth is not None and window.at - now.growth.at >= STEP_APART:
        useless = now.slow(window) and window.rate < now.growth.rate * GAIN
        back, now = now.growth.size, replace(now, growth=None)
        if useless and back < size:
            now = replace(now, held_until=window.at + HELD)
            return now, max(bounds.floor, back), SizingReason.TAKEN_BACK
    if now.wants[-1][1] > size:
        coming = bounds.clients if foretold and bounds.clients > window.clients else 0
        return _grow(now, size, asked, foretold, coming)
    return _shrink(now, size, bounds.unsure)


def _awaited(now: SizingState, clients: int) -> SizingState:
    """A growth for replicas to come has its time from when they are there, and is not judged if they stay away."""
    window, growth = now.windows[-1], now.growth
    if growth is None or window.clients >= growth.clients:
        return now
    return replace(now, growth=replace(growth, at=window.at) if clients >= growth.clients else None)


def _grow(
    now: SizingState, size: int, asked: int, foretold: bool, coming: int
) -> tuple[SizingState, int, SizingReason]:
    """coming: replicas that it is foretold for, 0 when all are there."""
    window = now.windows[-1]
    if now.slow(window) or (window.at < now.held_until and not coming):
        return now, size, SizingReason.SERVER_SLOW
    if not foretold:  # replicas to come are reckoned from better times, and do not wait
        if window.queued >= 1 and (now.plain[-1:] != (window,) or _turning(now.windows, now.usual, size)):
            return now, size, SizingReason.PACED
        if window.queued < 1 and window.busy < size / 2:
            return now, size, SizingReason.ENOUGH  # an idle pool's percentile is the past
    if asked <= size or (asked - size < max(2, size / 10) and window.queued < 1):
        return now, size, SizingReason.ENOUGH
    if window.at - now.grown_at < STEP_APART and not foretold:
        return now, size, SizingReason.PACED
    grown = min(asked, size + max(STEP_LEAST, size))
    now = replace(now, growth=Growth(window.at, size, window.rate, coming), grown_at=window.at)
    return now, grown, SizingReason.FORETOLD if foretold else SizingReason.GROWN


def _turning(windows: Sequence[Window], usual: float, size: int) -> bool:
    """Whether a queue has only just begun, and may be the first sign of a slow server."""
    if len(windows) < 2 or windows[-2].queued >= 1 or not usual:
        return False
    before, last = windows[-2:]
    return last.service > DOUBTFUL * usual or last.busy - before.busy < LATE * (size - before.busy)


def _shrink(now: SizingState, size: int, unsure: bool) -> tuple[SizingState, int, SizingReason]:
    window, highest = now.windows[-1], max(want for _, want in now.wants)
    if size - highest < max(2, size / 10):
        low = size - now.wants[-1][1] >= max(2, size / 10)
        return now, size, SizingReason.CALMING if low else SizingReason.ENOUGH
    seen = window.at - now.windows[0].at
    if unsure or window.queued >= 1 or seen < CALM or window.at - now.shrunk_at < SHRINK_EVERY:
        return now, size, SizingReason.CALMING
    least = size - max(1, math.floor(size * SHRINK_BY))
    return replace(now, shrunk_at=window.at), max(highest, least), SizingReason.SHRUNK


def _need(windows: Sequence[Window]) -> float:
    """Mean connections in use: the present or the busy part of the last minutes, and what waits, at most doubled."""
    last = windows[-1]
    need = max(_smoothed([(each, each.busy) for each in windows]), _percentile([each.busy for each in windows], 0.95))
    return need + min(last.queued, max(need, 1.0)) if last.queued >= 1 else need


def _per_client(plain: Sequence[Window], windows: Sequence[Window]) -> float:
    """Connections in use by one replica, of as many as there were within GOING: those that went were busy too."""
    known = [
        (each, max(other.clients for other in windows if each.at - GOING <= other.at <= each.at))
        for each in plain
        if each.clients
    ]
    if not known or known[-1][0].at - known[0][0].at < LEARNED:
        return 0.0
    return _percentile([each.busy / clients for each, clients in known], 0.75)


def _smoothed(values: Sequence[tuple[Window, float]]) -> float:
    at = values[-1][0].at
    weights = [each.seconds * math.exp((each.at - at) / SMOOTHED) for each, _ in values]
    return sum(weight * value for weight, (_, value) in zip(weights, values, strict=True)) / sum(weights)


def _percentile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]
