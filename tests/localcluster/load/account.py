"""What the clients of one process saw: every transaction by its outcome, so that it can be held against the rows."""

import json
import math
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

FINENESS = 1.05  # a latency is known to five per cent
FAILURES_KEPT = 5000


@dataclass(slots=True)
class Account:
    """Counts since the start. A client's transactions are numbered from 1; `failures` names those that failed.

    stages: where a client saw an error: connect, begin (first statement, on a connection that was closed meanwhile
    for instance), inside, commit. closed: connections that ended under a client, by the client's number.
    first: when each error was seen first, UTC, to be found in the logs of the same second. silence: the longest time in
    which nobody committed; longest: the longest try of a transaction, failed or not.
    """

    run: str
    connected: int = 0
    most_connected: int = 0
    refused: int = 0
    committed: int = 0
    failed: int = 0
    longest: float = 0.0
    silence: float = 0.0
    last: float = 0.0
    attempts: Counter[int] = field(default_factory=Counter)
    closed: Counter[int] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    latencies: Counter[int] = field(default_factory=Counter)
    failures: list[tuple[int, int]] = field(default_factory=list)

    def opened(self) -> None:
        """A client has connected."""
        self.connected += 1
        self.most_connected = max(self.most_connected, self.connected)

    def blame(self, stage: str, error: Exception) -> None:
        """A client saw this error."""
        self.stages[stage] += 1
        words = " ".join(str(error).split())
        told = f"{stage}: {words.rpartition(' failed: ')[2][:160] or type(error).__name__}"
        self.errors[told] += 1
        self.first.setdefault(told, datetime.now(UTC).isoformat(timespec="milliseconds"))

    def ended(self, client: int, began: float, good: bool) -> None:
        """A try of the client's latest transaction is over."""
        now = time.monotonic()
        self.longest = max(self.longest, now - began)
        if not good:
            self.failed += 1
            if len(self.failures) < FAILURES_KEPT:
                self.failures.append((client, self.attempts[client]))
            return
        self.committed += 1
        self.latencies[round(math.log(max(now - began, 1e-6), FINENESS))] += 1
        if self.last:
            self.silence = max(self.silence, now - self.last)
        self.last = now

    def percentile(self, share: float) -> float | None:
        """Seconds within which that share of the committed transactions was done."""
        left = self.committed * share
        for bucket in sorted(self.latencies):
            left -= self.latencies[bucket]
            if left <= 0:
                return round(FINENESS**bucket, 4)
        return None

    def line(self, done: bool) -> str:
        """One line of JSON. Only the last, `done`, has what is needed to compare with the rows."""
        errors = dict(self.errors.most_common(5))
        told: dict[str, Any] = {
            "done": done,
            "run": self.run,
            "connected": self.connected,
            "most_connected": self.most_connected,
            "refused": self.refused,
            "committed": self.committed,
            "failed": self.failed,
            "longest": round(self.longest, 3),
            "silence": round(self.silence, 3),
            "p50": self.percentile(0.5),
            "p99": self.percentile(0.99),
            "closed": {str(client): count for client, count in sorted(self.closed.items())},
            "stages": dict(self.stages),
            "errors": errors,
            "first": {each: self.first[each] for each in errors},
        }
        if done:
            told["attempts"] = [[client, count] for client, count in sorted(self.attempts.items())]
            told["failures"] = self.failures
        return json.dumps(told)
