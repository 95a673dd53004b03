"""How fast we may go: backoff per key, a token bucket, and a pause for all when the server asks for one."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Backoff(Generic[K]):
    """Exponential backoff per key with full jitter: a random delay below a ceiling that doubles with every failure."""

    def __init__(self, random: Callable[[], float], base: float = 0.25, cap: float = 60.0) -> None:
        """`random` gives numbers in [0, 1); `base` and `cap` are the first and the highest ceiling in seconds."""
        self._random = random
        self._base = base
        self._cap = cap
        self._failures: dict[K, int] = {}

    def delay(self, key: K) -> float:
        """Count a failure of `key` and give the seconds to wait before the next try."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # Beyond 2**30 the cap has long won; the limit keeps the power from growing without end.
        return self._random() * min(self._cap, self._base * 2.0 ** min(failures, 30))

    def failures(self, key: K) -> int:
        """Failures of `key` in a row."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """Say that `key` succeeded or is gone: its next failure starts from the beginning."""
        self._failures.pop(key, None)


class TokenBucket:
    """Allows `burst` actions at once and `rate` actions a second in the long run."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        self._tokens = float(burst)
        self._filled_at = clock()

    def take(self) -> bool:
        """Take a token if there is one."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class Gate:
    """Open, unless someone asked everybody to pause; the longest pause asked for counts."""

    def __init__(self) -> None:
        """Make an open gate."""
        self._until = 0.0

    def pause(self, seconds: float) -> None:
        """Close the gate for `seconds` from now, or leave it if it is closed for longer."""
        self._until = max(self._until, asyncio.get_running_loop().time() + seconds)

    def remaining(self) -> float:
        """Seconds until the gate opens; 0 if it is open."""
        return max(0.0, self._until - asyncio.get_running_loop().time())

    async def wait(self) -> None:
        """Return once the gate is open."""
        while (remaining := self.remaining()) > 0:
            await asyncio.sleep(remaining)
