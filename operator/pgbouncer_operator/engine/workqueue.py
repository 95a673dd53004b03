"""A work queue with client-go's semantics: a key is never worked on twice at once and never lost.

Source of the rules: k8s.io/client-go/util/workqueue. A key added while it is being worked on is worked on once more
afterwards; a key added many times before that is worked on once.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable
from enum import StrEnum
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Lane(StrEnum):
    """Why a key is waiting: someone changed something, or we look again of our own accord."""

    USER = "user"
    RESYNC = "resync"


class QueueShutDown(Exception):
    """The queue was shut down and nothing is left in it."""


class WorkQueue(Generic[K]):
    """Keys to work on, deduplicated, serial per key, in two lanes.

    The user lane goes first. A key that has waited `aging` seconds in the resync lane goes before it, so that a storm
    of changes cannot starve the resync. Not thread-safe: it belongs to the loop that first calls it.
    """

    def __init__(self, aging: float = 5.0) -> None:
        """Make an empty queue. `aging`: seconds after which a resync key overtakes the user lane."""
        self._aging = aging
        self._ready: dict[Lane, OrderedDict[K, float]] = {lane: OrderedDict() for lane in Lane}
        self._dirty: dict[K, Lane] = {}
        self._processing: set[K] = set()
        self._delayed: dict[K, tuple[asyncio.TimerHandle, Lane]] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def __len__(self) -> int:
        """Keys that could be worked on now."""
        return sum(len(lane) for lane in self._ready.values())

    def add(self, key: K, lane: Lane = Lane.USER) -> None:
        """Have `key` worked on soon. A key that waits in the resync lane moves up when a user change comes."""
        if self._closed:
            return
        waiting_in = self._dirty.get(key)
        if waiting_in is not None and (waiting_in is lane or lane is Lane.RESYNC):
            return
        self._dirty[key] = lane
        if key in self._processing:
            return
        since = self._ready[Lane.RESYNC].pop(key, None)
        self._ready[lane][key] = asyncio.get_running_loop().time() if since is None else since
        self._wake()

    def add_after(self, key: K, seconds: float, lane: Lane = Lane.USER) -> None:
        """Have `key` worked on in `seconds`. Of several delays of one key the earliest counts."""
        if self._closed:
            return
        if seconds <= 0:
            self.add(key, lane)
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        if key in self._delayed:
            timer, former = self._delayed[key]
            if timer.when() <= when:
                return
            timer.cancel()
            lane = Lane.USER if Lane.USER in (lane, former) else Lane.RESYNC
        self._delayed[key] = (loop.call_at(when, self._expire, key), lane)

    async def get(self) -> K:
        """Wait for a key and mark it as being worked on; call `done` with it afterwards.

        Raises QueueShutDown once the queue is shut down and empty.
        """
        while not len(self):
            if self._closed:
                raise QueueShutDown
            getter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                self._forsake(getter)
                raise
        key = self._pop()
        del self._dirty[key]
        self._processing.add(key)
        return key

    def done(self, key: K) -> None:
        """Say that work on `key` has ended; if it was added meanwhile it becomes ready again."""
        self._processing.discard(key)
        lane = self._dirty.get(key)
        if lane is not None and key not in self._ready[lane]:
            self._ready[lane][key] = asyncio.get_running_loop().time()
            self._wake()

    def shut_down(self) -> None:
        """Take nothing new and drop what is delayed; what is ready is still handed out."""
        self._closed = True
        for timer, _ in self._delayed.values():
            timer.cancel()
        self._delayed.clear()
        while self._getters:
            self._wake()

    def _expire(self, key: K) -> None:
        _, lane = self._delayed.pop(key)
        self.add(key, lane)

    def _pop(self) -> K:
        user, resync = self._ready[Lane.USER], self._ready[Lane.RESYNC]
        aged = resync and asyncio.get_running_loop().time() - next(iter(resync.values())) >= self._aging
        return (resync if aged or not user else user).popitem(last=False)[0]

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _forsake(self, getter: asyncio.Future[None]) -> None:
        if getter in self._getters:
            self._getters.remove(getter)
        elif len(self):
            self._wake()  # the wake-up was ours and we will not use it: pass it on
