"""Workers: take keys from the queue, reconcile them, and queue each key again when its next reconcile is due."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pgbouncer_operator.engine.ratelimit import Backoff, Gate
from pgbouncer_operator.engine.workqueue import Lane, QueueShutDown, WorkQueue

K = TypeVar("K", bound=Hashable)

logger = logging.getLogger(__name__)


def _ignore(_key: object, _seconds: float, _error: Exception | None) -> None: ...


def _never(_error: Exception) -> float | None:
    return None


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How workers behave."""

    count: int = 16
    """Number of keys that are reconciled at the same time."""
    timeout: float = 120.0
    """Seconds after which a reconcile is cancelled and has failed."""
    finished: Callable[[object, float, Exception | None], None] = _ignore
    """Called after every reconcile with the key, its seconds, and the error if it failed."""
    pause_for: Callable[[Exception], float | None] = _never
    """Seconds for which an error stops all workers, as the server asks for (Retry-After); None for no pause."""
    expected: tuple[type[Exception], ...] = (TimeoutError,)
    """Errors that are logged without a stack trace."""


class Workers(Generic[K]):
    """Runs `reconcile(key)` for the keys of a queue, never twice at the same time for one key.

    `reconcile` returns the seconds until the next reconcile of the key, or None. If it raises, the key is queued again
    after a backoff that grows with every failure in a row.
    """

    def __init__(
        self,
        queue: WorkQueue[K],
        reconcile: Callable[[K], Awaitable[float | None]],
        backoff: Backoff[K],
        options: WorkerOptions,
    ) -> None:
        """Nothing runs before `run`."""
        self._queue = queue
        self._reconcile = reconcile
        self._backoff = backoff
        self._options = options
        self._started: dict[K, float] = {}
        self.gate = Gate()

    def busiest(self) -> float:
        """Seconds since the start of the reconcile that has run longest; 0 if none runs."""
        now = asyncio.get_running_loop().time()
        return max((now - since for since in self._started.values()), default=0.0)

    async def run(self) -> None:
        """Work until the queue is shut down and empty, or until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._options.count):
                group.create_task(self._work(), name=f"worker-{number}")

    async def _work(self) -> None:
        while True:
            await self.gate.wait()
            try:
                key = await self._queue.get()
            except QueueShutDown:
                return
            try:
                await self._attempt(key)
            finally:
                self._queue.done(key)

    async def _attempt(self, key: K) -> None:
        loop = asyncio.get_running_loop()
        started = self._started[key] = loop.time()
        try:
            async with asyncio.timeout(self._options.timeout):
                again = await self._reconcile(key)
        except Exception as error:
            self._failed(key, error)
            self._options.finished(key, loop.time() - started, error)
        else:
            self._backoff.forget(key)
            if again is not None:
                self._queue.add_after(key, again, Lane.RESYNC)
            self._options.finished(key, loop.time() - started, None)
        finally:
            del self._started[key]

    def _failed(self, key: K, error: Exception) -> None:
        pause = self._options.pause_for(error)
        if pause is not None:
            self.gate.pause(pause)
        delay = self._backoff.delay(key)
        self._queue.add_after(key, max(delay, pause or 0.0))
        expected = isinstance(error, self._options.expected)
        logger.log(
            logging.WARNING if expected else logging.ERROR,
            "Reconcile failed; trying again",
            extra={"key": str(key), "failures": self._backoff.failures(key), "error": str(error)},
            exc_info=None if expected else error,
        )
