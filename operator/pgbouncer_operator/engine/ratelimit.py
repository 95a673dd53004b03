"""Rate limits: a backoff for each key, a token bucket, and a gate that pauses all workers at once."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Backoff(Generic[K]):
    """Exponential backoff per key with full jitter: a random delay below a ceiling that doubles with every failure."""

    def __init__(self, random: Callable[[], float], base: float = 0.25, cap: float = 60.0) -> None:
        """random: returns numbers in [0, 1). base, cap: the first and the highest ceiling, in seconds."""
        self._random = random
        self._base = base
        self._cap = cap
        self._failures: dict[K, int] = {}

    def delay(self, key: K) -> float:
        """Count a failure of `key` and return the seconds to wait before the next attempt."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # The exponent is bounded, because 2.0 to the power of 1024 overflows. The cap applies long before 30.
        return self._random() * min(self._cap, self._base * 2.0 ** min(failures, 30))

    def failures(self, key: K) -> int:
        """Failures of `key` in a row."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """Reset the failures of `key`, because it succeeded or does not exist any more."""
        self._failures.pop(key, None)


class TokenBucket:
    """Allows `burst` actions at once and `rate` actions a second in the long run."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]) -> None:
        """rate: actions a second. burst: actions at once. clock: returns monotonic seconds."""
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        self._tokens = float(burst)
        self._filled_at = clock()

    def take(self) -> bool:
        """Take a token. Returns False if there is none."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class Gate:
    """A gate that every worker passes before it takes a key. The pause that ends last decides when it opens."""

    def __init__(self) -> None:
        """The gate is open."""
        self._until = 0.0

    def pause(self, seconds: float) -> None:
        """Close the gate for `seconds` from now, unless it stays closed for longer already."""
        self._until = max(self._until, asyncio.get_running_loop().time() + seconds)

    def remaining(self) -> float:
        """Seconds until the gate opens; 0 if it is open."""
        return max(0.0, self._until - asyncio.get_running_loop().time())

    async def wait(self) -> None:
        """Return once the gate is open."""
        while (remaining := self.remaining()) > 0:
            await asyncio.sleep(remaining)
