"""The size that a pool needs, from what it used, what waited, and how many clients it is about to have. Pure.

`busy` follows Little's law: transactions per second times the seconds that one holds a connection. A size of `busy + 2
* sqrt(busy)` keeps the probability of waiting near 2.5 % at every size (square-root staffing: Halfin and Whitt 1981,
https://doi.org/10.1287/opre.29.3.567). A pool grows at once when it needs more, but never because of latency alone: a
pool that grows because its server is slow makes the server slower. A pool shrinks slowly.

The server is slow while transactions take clearly longer than usual. Windows of such a time do not change what is
usual, and they are no reason to grow afterwards; they still keep a pool from shrinking. The usual time is the median
over the remembered windows; after a restart it is the mean of all that PgBouncer has done. A slow time of more than
half of the memory becomes the usual one: the work has changed, and growth must not be held back for ever. While nothing
is known, no window counts as slow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pgbouncer_operator.sizing.window import Window, mean_need, per_client, percentile

REMEMBERED = 600.0  # seconds of windows that are kept for the 95th percentile and the usual service time
STEP_APART = 30.0  # seconds between two growths
STEP_LEAST = 8  # one growth adds at most this many connections, or doubles the size if that is more
CALM = 300.0  # a shrink respects the highest want of these seconds
SHRINK_EVERY = 60.0  # seconds between two shrinks
SHRINK_BY = 0.2  # part of the size that one shrink takes
SLOW = 1.5  # times the usual service time: then the server is the bottleneck, not the pool
SLOW_EVER = 2.0  # times the mean since the start: the work of this hour may differ from that of past days
DOUBTFUL = 1.15  # times the usual time, with a new queue: a slow time may have begun; the next window decides
LATE = 0.2  # part of a window: a queue that began in this last part may belong to a slow time
LEFT = 60.0  # seconds in which a queue that a slow server left behind should end without more connections
KNOWN = 4  # windows that are needed to say what is usual
GAIN = 1.05  # times the rate before a growth: a slow server that does less takes the growth back
HELD = 600.0  # seconds without growth after that, except for replicas that are still to come


class SizingReason(StrEnum):
    """Why the size is what it is."""

    ENOUGH = "Enough"
    GROWN = "Grown"
    FORETOLD = "Foretold"  # grown for client replicas that are still to come
    PACED = "Paced"  # grows a step at a time, or waits whether a slow server left the queue behind
    SHRUNK = "Shrunk"
    CALMING = "Calming"  # would shrink, and waits whether the need comes back
    SERVER_SLOW = "ServerSlow"  # has a queue that more connections would not shorten
    TAKEN_BACK = "TakenBack"  # the last growth made the server slower and brought nothing
    AT_LIMIT = "AtLimit"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What limits the size."""

    floor: int
    """The lowest size, in server connections."""
    ceiling: int
    """The highest size, in server connections."""
    clients: int = 0
    """Replicas that the client workloads are about to have; 0 when unknown."""
    unsure: bool = False
    """Whether there may be more clients than `clients`; then the size does not shrink."""


@dataclass(frozen=True, slots=True)
class Growth:
    """The last growth, until a later window has judged it."""

    at: float
    """When it took place, in monotonic seconds."""
    size: int
    """The size before it."""
    rate: float
    """Transactions per second before it."""
    clients: int = 0
    """Replicas that it is for while they have not come yet; 0 when it is for replicas that exist."""


@dataclass(frozen=True, slots=True)
class SizingState:
    """A size, and what is remembered to find the next one. Times are monotonic seconds."""

    size: int
    """Server connections."""
    windows: tuple[Window, ...] = ()
    """Windows of the last REMEMBERED seconds, the oldest first."""
    wants: tuple[tuple[float, int], ...] = ()
    """(time, want in server connections) of the last CALM seconds, the oldest first."""
    growth: Growth | None = None
    """The last growth while it is not judged yet."""
    grown_at: float = -math.inf
    """When the size last grew."""
    shrunk_at: float = -math.inf
    """When the size last shrank."""
    held_until: float = -math.inf
    """Until when the size does not grow for clients that exist, because the last growth was useless."""
    began: float = -math.inf
    """When the first window began."""
    usual: float = 0.0
    """Seconds that a transaction usually holds a connection; 0 while unknown."""

    def slow(self, window: Window) -> bool:
        """Whether the window's transactions took clearly longer than usual."""
        return 0 < SLOW * self.usual < window.service

    @property
    def plain(self) -> tuple[Window, ...]:
        """Windows in which the server was not slow and had not left the queue behind.

        The first seconds after `began` do not count while there is a queue: what came before them is unknown.
        """
        plain, left = [], self.began + LEFT
        for each in self.windows:
            if self.slow(each):
                left = each.at + LEFT
            elif each.queued < 1:
                left = -math.inf
            if each.at > left:
                plain.append(each)
        return tuple(plain)


@dataclass(frozen=True, slots=True)
class Decision:
    """A size with its reason and its inputs."""

    size: int
    """Server connections."""
    want: int
    """The size that `need` asks for, without steps and pauses."""
    need: float
    """Mean number of server connections that are or will be in use."""
    per_client: float
    """Server connections in use by one client replica; 0 while unknown."""
    reason: SizingReason
    """Why the size is what it is."""


def staffed(need: float) -> int:
    """Server connections for a mean of `need` in use, so that few transactions wait."""
    return math.ceil(need + 2 * math.sqrt(need)) if need > 0 else 0


def begun(size: int, at: float, usual: float = 0.0, ever: float = 0.0) -> SizingState:
    """A size without windows.

    usual: seconds that a transaction usually holds a connection, as found earlier; 0 when unknown. ever: the mean of
    these seconds since PgBouncer started; it serves while `usual` is unknown.
    """
    return SizingState(size, began=at, usual=usual or ever * SLOW_EVER / SLOW)


def decide(before: SizingState, window: Window, bounds: Bounds) -> tuple[SizingState, Decision]:
    """The next size after one more window. A caller without fresh figures does not call, so the size stays."""
    kept = tuple(each for each in before.windows if each.at > window.at - REMEMBERED)
    now = _learned(replace(before, windows=(*kept, window)))
    plain = now.plain
    each_client = per_client(plain, now.windows)
    foretold = each_client * bounds.clients
    usually, need = mean_need(plain) if plain else 0.0, max(mean_need(now.windows), foretold)
    asked, want = _bounded(max(usually, foretold), bounds), _bounded(need, bounds)
    wants = (*(each for each in before.wants if each[0] > window.at - CALM), (window.at, want))
    now, size, reason = _move(replace(now, wants=wants), bounds, asked, foretold > usually)
    if reason is SizingReason.ENOUGH and staffed(need) > bounds.ceiling:
        reason = SizingReason.AT_LIMIT
    return replace(now, size=size), Decision(size, want, round(need, 2), round(each_client, 3), reason)


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
    """The state with the usual time after its last window."""
    slow = sum(each.seconds for each in now.windows if now.slow(each))
    windows = now.windows if slow > REMEMBERED / 2 else now.plain
    served = [each.service for each in windows if each.rate > 0]
    return replace(now, usual=percentile(served, 0.5)) if len(served) >= KNOWN else now


def _move(now: SizingState, bounds: Bounds, asked: int, foretold: bool) -> tuple[SizingState, int, SizingReason]:
    """The next state, size and reason. asked: the size to grow to. A shrink respects the wants of the last minutes."""
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
    """A growth for replicas to come is judged from when they are there, and not at all if they stay away."""
    window, growth = now.windows[-1], now.growth
    if growth is None or window.clients >= growth.clients:
        return now
    return replace(now, growth=replace(growth, at=window.at) if clients >= growth.clients else None)


def _grow(
    now: SizingState, size: int, asked: int, foretold: bool, coming: int
) -> tuple[SizingState, int, SizingReason]:
    """The state, size and reason of a pool that wants more. coming: replicas it grows for; 0 when all are there."""
    window = now.windows[-1]
    if now.slow(window) or (window.at < now.held_until and not coming):
        return now, size, SizingReason.SERVER_SLOW
    if not foretold:  # the need of replicas to come is known from windows without a slow server
        if window.queued >= 1 and (now.plain[-1:] != (window,) or _turning(now.windows, now.usual, size)):
            return now, size, SizingReason.PACED
        if window.queued < 1 and window.busy < size / 2:
            return now, size, SizingReason.ENOUGH  # the 95th percentile of a pool that uses little is the past
    if asked <= size or (asked - size < max(2, size / 10) and window.queued < 1):
        return now, size, SizingReason.ENOUGH
    if window.at - now.grown_at < STEP_APART and not foretold:
        return now, size, SizingReason.PACED
    grown = min(asked, size + max(STEP_LEAST, size))
    now = replace(now, growth=Growth(window.at, size, window.rate, coming), grown_at=window.at)
    return now, grown, SizingReason.FORETOLD if foretold else SizingReason.GROWN


def _turning(windows: Sequence[Window], usual: float, size: int) -> bool:
    """Whether a queue has just begun: it may be the first sign of a slow server."""
    if len(windows) < 2 or windows[-2].queued >= 1 or not usual:
        return False
    before, last = windows[-2:]
    return last.service > DOUBTFUL * usual or last.busy - before.busy < LATE * (size - before.busy)


def _shrink(now: SizingState, size: int, unsure: bool) -> tuple[SizingState, int, SizingReason]:
    """The state, size and reason of a pool that wants less, or as much as it has."""
    window, highest = now.windows[-1], max(want for _, want in now.wants)
    if size - highest < max(2, size / 10):
        low = size - now.wants[-1][1] >= max(2, size / 10)
        return now, size, SizingReason.CALMING if low else SizingReason.ENOUGH
    measured = window.at - now.windows[0].at
    if unsure or window.queued >= 1 or measured < CALM or window.at - now.shrunk_at < SHRINK_EVERY:
        return now, size, SizingReason.CALMING
    least = size - max(1, math.floor(size * SHRINK_BY))
    return replace(now, shrunk_at=window.at), max(highest, least), SizingReason.SHRUNK
