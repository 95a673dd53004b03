"""Leader election on a lease: at most one process leads, and another takes over when it stops or does not renew.

The rules are client-go's (https://pkg.go.dev/k8s.io/client-go/tools/leaderelection), and three more: time is monotonic,
every request ends before the lease could be lost, and a leader that stops releases the lease at once.
Clocks of different machines are never compared: a lease is expired if a candidate has not seen it change for its
duration.

Why not the elector of the Python client library (kubernetes.aio.leaderelection): it measures with the wall clock, so a
step of that clock makes two leaders; it never releases the lease, so each restart costs a whole lease duration; and
after a loss it cancels the leader's task without awaiting its end, so the task may still write while another leads.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

logger = logging.getLogger(__name__)


class LeaseLost(Exception):
    """This process no longer holds the lease, or cannot show in time that it does."""


class LeaseConflict(Exception):
    """Another process wrote the lease first."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as it is stored."""

    holder: str
    """Identity of the holder; empty if nobody holds the lease."""
    duration: float
    """Seconds without a write after which another candidate may take the lease."""
    transitions: int = 0
    """How often the holder has changed."""
    version: str = ""
    """Changes with every write."""


class LeaseStore(Protocol):
    """Where the lease is stored. After any exception but LeaseConflict the write may or may not have happened."""

    async def get(self) -> Lease | None:
        """The lease, or None if there is none. `version` must change with every write, renewals included."""

    async def create(self, lease: Lease) -> Lease:
        """Store the first lease. Raises LeaseConflict if there is one."""

    async def update(self, lease: Lease) -> Lease:
        """Replace the lease of version `lease.version`. Raises LeaseConflict if the stored version is another one."""


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """Times of an election, in seconds."""

    duration: float = 15.0
    """How long a lease is valid after its last write."""
    renew_deadline: float = 10.0
    """How long a leader leads after the start of its last successful write. Less than `duration`: it stops first."""
    retry: float = 2.0
    """Between two attempts to take or to renew the lease."""
    request: float = 5.0
    """For one attempt."""


class Elector:
    """One candidate. `run` takes the lease, leads, and releases the lease."""

    def __init__(
        self,
        store: LeaseStore,
        identity: str,
        random: Callable[[], float],
        timing: LeaseTiming,
    ) -> None:
        """identity: unique among the candidates. random: returns numbers in [0, 1) for jitter."""
        self._store = store
        self._identity = identity
        self._random = random
        self._timing = timing
        self._lease: Lease | None = None
        self._changed_at = 0.0  # when this process first read the present version of the lease
        self._tried = False  # whether a write of this process may have made it the holder, answered or not
        self._proven_at: float | None = None  # start of the last write that took or renewed the lease
        self.last_tick = 0.0  # loop time of the last attempt, for the liveness probe
        self.read_at: float | None = None  # loop time of the last read of the lease, for the readiness probe

    @property
    def holder(self) -> str:
        """Identity of the holder when the lease was last read; empty if nobody held it."""
        return self._lease.holder if self._lease else ""

    def leads(self) -> bool:
        """Whether this process holds the lease and wrote it within `renew_deadline`."""
        return self._proven_at is not None and self._now() < self._proven_at + self._timing.renew_deadline

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, run `lead()` while renewing it, and release it when `lead` ends or this is cancelled.

        Raises LeaseLost if the lease was lost, after `lead` was cancelled and has ended.
        """
        try:
            await self.acquire()
            await self._lead_and_renew(lead)
        finally:
            await self.release()

    async def acquire(self) -> None:
        """Return once this process holds the lease."""
        while True:
            self.last_tick = self._now()
            try:
                async with asyncio.timeout(self._timing.request):
                    if await self._try_to_take():
                        logger.info("Took the lease", extra={"identity": self._identity})
                        return
            except LeaseConflict:
                pass  # another candidate was faster; the next read shows which
            except Exception as error:
                logger.warning("Could not take the lease; trying again", extra={"error": str(error)})
            await asyncio.sleep(self._pause())

    async def hold(self) -> None:
        """Renew until the lease is lost. Raises LeaseLost."""
        if self._proven_at is None:
            raise LeaseLost("The lease was never taken.")
        uncertain = False
        while True:
            deadline = self._proven_at + self._timing.renew_deadline
            self.last_tick = self._now()
            await asyncio.sleep(max(0.0, min(self._pause(), deadline - self._now())))
            if self._now() >= deadline:
                raise LeaseLost(f"The lease was not renewed within {self._timing.renew_deadline:g} seconds.")
            try:
                async with asyncio.timeout(min(self._timing.request, deadline - self._now())):
                    await self._renew(read_first=uncertain)
                uncertain = False
            except LeaseLost:
                raise
            except Exception as error:
                uncertain = True  # the write may have happened: read the lease before the next write
                logger.warning("Could not renew the lease; trying again", extra={"error": str(error)})

    async def release(self) -> None:
        """Release the lease if it names this process, even if no write was answered. Raises only CancelledError."""
        self._proven_at = None
        if not self._tried:
            return
        with contextlib.suppress(Exception):
            async with asyncio.timeout(self._timing.retry):
                latest = await self._store.get()
                if latest is not None and latest.holder == self._identity:
                    self._lease = await self._store.update(replace(latest, holder="", duration=1.0))
                    logger.info("Released the lease", extra={"identity": self._identity})

    async def _lead_and_renew(self, lead: Callable[[], Awaitable[None]]) -> None:
        leading = asyncio.ensure_future(lead())
        holding = asyncio.ensure_future(self.hold())
        try:
            await asyncio.wait({leading, holding}, return_when=asyncio.FIRST_COMPLETED)
            if holding.done():
                self._proven_at = None
        finally:
            # Renewing goes on until the leader has ended, so that no other process takes over before.
            await _stop(leading)
            await _stop(holding)
        lost = None if holding.cancelled() else holding.exception()
        failed = None if leading.cancelled() else leading.exception()
        if lost is not None:
            raise lost from failed
        if failed is not None:
            raise failed

    async def _try_to_take(self) -> bool:
        started = self._now()
        lease = await self._store.get()
        self.read_at = self._now()
        if lease is None:
            self._tried = True
            taken = await self._store.create(Lease(self._identity, self._timing.duration))
        else:
            if self._lease is None or lease.version != self._lease.version:
                self._lease, self._changed_at = lease, self._now()
            expired = self._now() >= self._changed_at + lease.duration
            if lease.holder not in ("", self._identity) and not expired:
                return False
            self._tried = True
            transitions = lease.transitions + (lease.holder != self._identity)
            taken = await self._store.update(
                replace(lease, holder=self._identity, duration=self._timing.duration, transitions=transitions)
            )
        self._lease, self._changed_at, self._proven_at = taken, self._now(), started
        return True

    async def _renew(self, read_first: bool) -> None:
        started = self._now()
        lease = self._lease
        if read_first or lease is None:
            lease = await self._store.get()
        if lease is None or lease.holder != self._identity:
            raise LeaseLost(f"The lease is held by {lease.holder if lease else 'nobody'!r}.")
        try:
            self._lease = await self._store.update(lease)
        except LeaseConflict:
            if read_first:
                raise
            await self._renew(read_first=True)
        else:
            self._changed_at, self._proven_at = self._now(), started

    def _pause(self) -> float:
        return self._timing.retry * (0.6 + 0.4 * self._random())

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def _stop(future: asyncio.Future[None]) -> None:
    """Cancel `future` and wait for its end, even if the waiting task is cancelled meanwhile."""
    future.cancel()
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({future})
