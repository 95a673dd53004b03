"""What clients report, line by line, as breaches. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.nemesis.promises import Breach, Promise

KEPT_ERRORS = 3
"""Errors that a breach names."""
LETTERS = 70
"""Of each error."""


WAITS = {
    "connection timeout expired": 60.0,
    "connect: TimeoutError": 60.0,
    "ETIMEDOUT": 127.0,
    "query_wait_timeout": 30.0,
}
"""Seconds before an error, by its words: of tests/localcluster/load, of Linux, and timeouts.queryWaitSeconds."""


@dataclass(slots=True)
class Tally:
    """The failures of one group of clients until now.

    immortal: they never close a connection. A leaving pod closes it once between two transactions, so an error of
    their first statement breaks no promise.
    """

    name: str
    immortal: bool = False
    committed: int = 0
    counted: Counter[Promise] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def take(self, account: Mapping[str, Any], moment: float) -> list[Breach]:
        """The breaches since the last account. account: see tests/localcluster/load/account.py."""
        failed = account["failed"] - (account["stages"].get("begin", 0) if self.immortal else 0)
        totals = Counter({Promise.FAILED: failed, Promise.REFUSED: account["refused"]})
        errors = Counter(account["errors"])
        more, fresh = totals - self.counted, errors - self.errors
        self.counted, self.errors, self.committed = totals, errors, account["committed"]
        if self.immortal:
            fresh = Counter({error: count for error, count in fresh.items() if not error.startswith("begin:")})
        waited = self._after_waiting(fresh, moment)
        more -= sum((Counter({each.promise: each.count}) for each in waited), Counter[Promise]())
        text = _named(Counter({error: count for error, count in fresh.items() if not _waiting(error)}))
        return [*waited, *(Breach(promise, moment, count, self.name, text) for promise, count in more.items())]

    def _after_waiting(self, errors: Counter[str], moment: float) -> list[Breach]:
        """Errors at the end of a wait. What caused them happened when the wait began, so that is their moment."""
        return [
            Breach(
                Promise.REFUSED if error.startswith("connect:") else Promise.FAILED,
                moment - seconds,
                count,
                self.name,
                f"{_named(Counter({error: count}))}, after {seconds:.0f} s",
            )
            for error, count in errors.items()
            if (seconds := _waiting(error))
        ]


def _waiting(error: str) -> float:
    """Seconds that a client waits before it sees this error; 0 for those that come at once."""
    return next((seconds for words, seconds in WAITS.items() if words in error), 0.0)


def _named(errors: Counter[str]) -> str:
    return "; ".join(f"{count} x {error[:LETTERS]}" for error, count in errors.most_common(KEPT_ERRORS))


def above(counts: Sequence[tuple[float, int]], limit: int) -> Breach | None:
    """The worst of PostgreSQL's counts that is above the limit. counts: (monotonic seconds, connections)."""
    over = [(count, moment) for moment, count in counts if count > limit]
    if not over:
        return None
    count, moment = max(over)
    return Breach(Promise.BUDGET, moment, count - limit, "PostgreSQL", f"{count} of {limit} in {len(over)} counts")


FULL = ("too many connections", "too many clients", "remaining connection slots")


def refused_by_server(lines: Sequence[str], moment: float) -> Breach | None:
    """The logins that PostgreSQL refused, by the lines of its log."""
    full = [line for line in lines if any(words in line for words in FULL)]
    return Breach(Promise.FENCE, moment, len(full), "PostgreSQL", full[0].strip()[-120:]) if full else None
