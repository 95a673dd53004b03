"""What the simulator of sizes shows: pictures for operator/docs/images, and the figures beside them.

Only scenarios that take less than a second; `make simulate` runs them all.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.reference.markdown import table
from tests.traces.__main__ import policies
from tests.traces.plot import chart
from tests.traces.run import Run, run
from tests.traces.scenarios import Scenario, burst, neighbour, slow_server

IMAGES = Path("operator/docs/images")
SHOWN = (burst, slow_server, neighbour)


def pictures() -> dict[Path, str]:
    """The SVG of each scenario, by its path in the repository."""
    return {IMAGES / f"sizing-{scenario.name}.svg": chart(scenario, runs) for scenario, runs in _simulated()}


def figures() -> str:
    """One row for each scenario and policy."""
    rows = [
        (scenario.about, name, f"{found.peak()} of {scenario.budget}", f"{found.held_per_busy():.1f}", _waits(found))
        for scenario, runs in _simulated()
        for name, found in runs.items()
    ]
    head = ("scenario", "policy", "most connections held", "held for one in use", "99th percentile wait")
    return table(head, rows)


def _waits(found: Run) -> str:
    return ", ".join(f"{pool} {_time(found.wait(pool))}" for pool in found.points)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{1000 * seconds:.0f} ms"


@cache
def _simulated() -> tuple[tuple[Scenario, Mapping[str, Run]], ...]:
    scenarios = [make() for make in SHOWN]
    return tuple(
        (scenario, {name: run(scenario, policy) for name, policy in policies(scenario).items()})
        for scenario in scenarios
    )
