"""A work queue with client-go's semantics: a key is never processed twice at the same time, and never lost.

The rules are those of https://pkg.go.dev/k8s.io/client-go/util/workqueue. A key that is added while it is processed is
processed once more afterwards. A key that is added several times before it is processed is processed once.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable
from enum import StrEnum
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Lane(StrEnum):
    """Why a key waits: an object has changed, or a periodic reconcile is due."""

    USER = "user"
    RESYNC = "resync"


class QueueShutDown(Exception):
    """The queue is shut down and empty."""


class WorkQueue(Generic[K]):
    """Keys to process, each of them once, in two lanes.

    The user lane goes first. A key that has waited `aging` seconds in the resync lane goes before the user lane, so
    that many changes cannot starve the resync. Not thread-safe: a queue belongs to the loop that first calls it.
    """

    def __init__(self, aging: float = 5.0) -> None:
        """The queue is empty. aging: seconds after which a key of the resync lane goes before the user lane."""
        self._aging = aging
        self._ready: dict[Lane, OrderedDict[K, float]] = {lane: OrderedDict() for lane in Lane}
        self._dirty: dict[K, Lane] = {}
        self._processing: set[K] = set()
        self._delayed: dict[K, tuple[asyncio.TimerHandle, Lane]] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def __len__(self) -> int:
        """Number of keys that are ready to be processed."""
        return sum(len(lane) for lane in self._ready.values())

    def add(self, key: K, lane: Lane = Lane.USER) -> None:
        """Make `key` ready. A key that waits in the resync lane moves to the user lane if `lane` is that."""
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
        """Make `key` ready in `seconds`. Of several delays of one key the earliest counts."""
        if self._closed:
            return
        if seconds <= 0:
            self.add(key, lane)
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        if key in self._delayed:
            timer, earlier = self._delayed[key]
            if timer.when() <= when:
                return
            timer.cancel()
            lane = Lane.USER if Lane.USER in (lane, earlier) else Lane.RESYNC
        self._delayed[key] = (loop.call_at(when, self._expire, key), lane)

    async def get(self) -> K:
        """Wait for a key and mark it as processed now. Call `done` with it afterwards.

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
                self._abandon(getter)
                raise
        key = self._pop()
        del self._dirty[key]
        self._processing.add(key)
        return key

    def done(self, key: K) -> None:
        """End the processing of `key`. It becomes ready again if it was added meanwhile."""
        self._processing.discard(key)
        lane = self._dirty.get(key)
        if lane is not None and key not in self._ready[lane]:
            self._ready[lane][key] = asyncio.get_running_loop().time()
            self._wake()

    def shut_down(self) -> None:
        """Accept no more keys and drop the delayed ones. Keys that are ready are still handed out."""
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

    def _abandon(self, getter: asyncio.Future[None]) -> None:
        if getter in self._getters:
            self._getters.remove(getter)
        elif len(self):
            self._wake()  # this getter was woken and takes no key: wake another one
