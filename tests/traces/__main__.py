"""Every policy through every scenario: a table on standard output and one SVG each in build/traces."""

import sys
from pathlib import Path

from tests.traces import recording
from tests.traces.plot import chart
from tests.traces.policies import Divided, Fixed, Naive, Ours, Policy
from tests.traces.run import Run, run
from tests.traces.scenarios import SCENARIOS, Scenario

PLOTS = Path("build/traces")
ROW = "{:<12} {:<10} {:>9} {:>10}   {}"


def policies(scenario: Scenario) -> dict[str, Policy]:
    """What is compared, by name."""
    return {
        "fixed": Fixed(scenario),
        "divided": Divided(scenario),
        "naive": Naive(scenario),
        "reactive": Ours(scenario, foretell=False),
        "ours": Ours(scenario),
    }


def row(scenario: Scenario, name: str, found: Run) -> str:
    """One line of the table."""
    waits = ", ".join(f"{pool} {1000 * found.wait(pool):.0f} ms" for pool in scenario.pools)
    peak = f"{found.peak()}/{scenario.budget}"
    return ROW.format(scenario.name, name, peak, f"{found.held_per_busy():.2f}", waits)


def main() -> int:
    """Run everything; 0."""
    PLOTS.mkdir(parents=True, exist_ok=True)
    print(ROW.format("scenario", "policy", "peak", "held/busy", "99th percentile wait"))
    scenarios = [make() for make in SCENARIOS]
    scenarios += map(recording.scenario, sorted(recording.RECORDINGS.glob("*.csv")))
    for scenario in scenarios:
        runs = {}
        for name, policy in policies(scenario).items():
            runs[name] = run(scenario, policy)
            print(row(scenario, name, runs[name]), flush=True)
        plot = PLOTS / f"{scenario.name}.svg"
        plot.write_text(chart(scenario, runs))
        print(f"             plotted in {plot}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
