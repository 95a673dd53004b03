"""The load of a real pool, as `record` wrote it down, as a scenario.

A recording is a CSV file, a line for every quarter of a minute: `at` (s since it began), `rate` (transactions per
second), `busy` (mean server connections with a transaction), `ready` and `desired` (replicas of the clients'
Deployment, 0 where none was named). Rates are those that were served: what was recorded while clients waited shows less
than they would have done.
"""

import csv
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from tests.traces.scenarios import Over, Scenario, Trace
from tests.traces.server import Machine

from pgbouncer_operator.sizing.demand import staffed

RECORDINGS = Path(__file__).parent / "recorded"
CORES = 100_000  # the recorded times are those of a machine with its crowd already
BUDGET = 100


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a recording."""

    at: float
    rate: float
    busy: float
    ready: float
    desired: float

    @property
    def service(self) -> float:
        """Seconds for which one transaction held a connection; 0 when there was none."""
        return self.busy / self.rate if self.rate > 0 else 0.0


def lines(text: str) -> list[Line]:
    """A recording's lines; ValueError when a column is missing or no number."""
    found = []
    for row in csv.DictReader(text.splitlines()):
        try:
            found.append(Line(*(float(row[name]) for name in ("at", "rate", "busy", "ready", "desired"))))
        except (KeyError, TypeError) as error:
            raise ValueError(f"a recording has the columns at, rate, busy, ready and desired: {row}") from error
    if not found:
        raise ValueError("a recording has at least one line")
    return found


def scenario(path: Path) -> Scenario:
    """The recording as it went; by hand the pool would have had what its busiest twentieth asks for."""
    found = lines(path.read_text(encoding="utf-8"))
    served = sorted(each.service for each in found if each.service > 0)
    usual = served[len(served) // 2] if served else Machine().service
    busy = sorted(each.busy for each in found)
    trace = Trace(_over(found, "rate"), _over(found, "ready"), _over(found, "desired"))
    service = _over(found, "service")
    return Scenario(
        path.stem,
        f"recorded: {path.stem}",
        found[-1].at,
        BUDGET,
        {path.stem: trace},
        fixed=max(1, staffed(busy[int(0.95 * (len(busy) - 1))])),
        slow=lambda at: (service(at) or usual) / usual,
        machine=Machine(CORES, usual),
    )


def _over(found: list[Line], column: str) -> Over:
    """A line tells of the time before it."""
    ends = [each.at for each in found]
    values = [getattr(each, column) for each in found]
    return lambda at: float(values[min(len(values) - 1, bisect_right(ends, at))])
