"""Leader election on a lease: at most one process acts, and another takes over when it stops or falls silent.

The rules are client-go's (k8s.io/client-go/tools/leaderelection), with what they leave open closed: time is monotonic,
every request ends before the lease could be lost, and a leader that stops gives the lease back at once.
Clocks of different machines are never compared: a lease has expired when it did not change while *we* watched.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

logger = logging.getLogger(__name__)


class LeaseLost(Exception):
    """We were the leader and are not any more, or can no longer prove it."""


class LeaseConflict(Exception):
    """Somebody else wrote the lease first."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as stored: `holder` is empty when nobody has it, `duration` in seconds, `version` changes with writes."""

    holder: str
    duration: float
    transitions: int = 0
    version: str = ""


class LeaseStore(Protocol):
    """Where the lease is kept. Any exception but LeaseConflict means: not known whether it was done."""

    async def get(self) -> Lease | None:
        """The lease, or None if there is none yet. `version` must change with every write, renewals included."""

    async def create(self, lease: Lease) -> Lease:
        """Store the first lease. Raises LeaseConflict if there is one."""

    async def update(self, lease: Lease) -> Lease:
        """Replace the lease that has `lease.version`. Raises LeaseConflict if it has another one by now."""


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """Seconds. `renew_deadline` < `duration`: we stop before anybody may take over."""

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0
    request: float = 5.0


class Elector:
    """One candidate. `run` acquires the lease, leads, and gives it back."""

    def __init__(
        self,
        store: LeaseStore,
        identity: str,
        random: Callable[[], float],
        timing: LeaseTiming,
    ) -> None:
        """`identity` must be unique among the candidates; `random` gives numbers in [0, 1) for jitter."""
        self._store = store
        self._identity = identity
        self._random = random
        self._timing = timing
        self._known: Lease | None = None
        self._seen_at = 0.0  # when we first saw the lease as it is known
        self._tried = False  # whether a write of ours may have made us the holder, answered or not
        self._proven_at: float | None = None  # start of the last write that made or kept us leader
        self.last_tick = 0.0  # loop time of the last turn of our loop, for the liveness probe

    @property
    def holder(self) -> str:
        """Who held the lease when we last looked; empty if nobody."""
        return self._known.holder if self._known else ""

    def leads(self) -> bool:
        """Whether we hold the lease and could prove it within the deadline."""
        return self._proven_at is not None and self._now() < self._proven_at + self._timing.renew_deadline

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, run `lead()` while renewing, give the lease back when `lead` ends or we are cancelled.

        Raises LeaseLost, after `lead` was cancelled and has ended, if the lease was lost meanwhile.
        """
        try:
            await self.acquire()
            await self._lead_and_renew(lead)
        finally:
            await self.release()

    async def acquire(self) -> None:
        """Return once the lease is ours."""
        while True:
            self.last_tick = self._now()
            try:
                async with asyncio.timeout(self._timing.request):
                    if await self._try_to_take():
                        logger.info("Took the lease", extra={"identity": self._identity})
                        return
            except LeaseConflict:
                pass  # another candidate was faster; the next look shows who
            except Exception as error:
                logger.warning("Could not take the lease; it is tried again", extra={"error": str(error)})
            await asyncio.sleep(self._pause())

    async def hold(self) -> None:
        """Renew until the lease is lost. Raises LeaseLost."""
        if self._proven_at is None:
            raise LeaseLost("The lease was never taken.")
        doubtful = False
        while True:
            deadline = self._proven_at + self._timing.renew_deadline
            self.last_tick = self._now()
            await asyncio.sleep(max(0.0, min(self._pause(), deadline - self._now())))
            if self._now() >= deadline:
                raise LeaseLost(f"The lease was not renewed within {self._timing.renew_deadline:g} seconds.")
            try:
                async with asyncio.timeout(min(self._timing.request, deadline - self._now())):
                    await self._renew(look_first=doubtful)
                doubtful = False
            except LeaseLost:
                raise
            except Exception as error:
                doubtful = True  # our write may have been done: look before the next one
                logger.warning("Could not renew the lease; it is tried again", extra={"error": str(error)})

    async def release(self) -> None:
        """Give the lease back if it is ours, known to us or not. Never raises but CancelledError."""
        self._proven_at = None
        if not self._tried:
            return
        with contextlib.suppress(Exception):
            async with asyncio.timeout(self._timing.retry):
                latest = await self._store.get()
                if latest is not None and latest.holder == self._identity:
                    self._known = await self._store.update(replace(latest, holder="", duration=1.0))
                    logger.info("Gave the lease back", extra={"identity": self._identity})

    async def _lead_and_renew(self, lead: Callable[[], Awaitable[None]]) -> None:
        leading = asyncio.ensure_future(lead())
        holding = asyncio.ensure_future(self.hold())
        try:
            await asyncio.wait({leading, holding}, return_when=asyncio.FIRST_COMPLETED)
            if holding.done():
                self._proven_at = None
        finally:
            # The lease is kept alive until the leader has really stopped: nobody may take over before.
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
        if lease is None:
            self._tried = True
            taken = await self._store.create(Lease(self._identity, self._timing.duration))
        else:
            if self._known is None or lease.version != self._known.version:
                self._known, self._seen_at = lease, self._now()
            expired = self._now() >= self._seen_at + lease.duration
            if lease.holder not in ("", self._identity) and not expired:
                return False
            self._tried = True
            transitions = lease.transitions + (lease.holder != self._identity)
            taken = await self._store.update(
                replace(lease, holder=self._identity, duration=self._timing.duration, transitions=transitions)
            )
        self._known, self._seen_at, self._proven_at = taken, self._now(), started
        return True

    async def _renew(self, look_first: bool) -> None:
        started = self._now()
        lease = self._known
        if look_first or lease is None:
            lease = await self._store.get()
        if lease is None or lease.holder != self._identity:
            raise LeaseLost(f"The lease is held by {lease.holder if lease else 'nobody'!r}.")
        try:
            self._known = await self._store.update(lease)
        except LeaseConflict:
            if look_first:
                raise
            await self._renew(look_first=True)
        else:
            self._seen_at, self._proven_at = self._now(), started

    def _pause(self) -> float:
        return self._timing.retry * (0.6 + 0.4 * self._random())

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def _stop(future: asyncio.Future[None]) -> None:
    """Cancel `future` and wait until it has ended, however it ends and even if we are cancelled meanwhile."""
    future.cancel()
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({future})
