"""One SVG for each scenario: demand and allocation above, waiting below, a line for each policy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from tests.traces.run import Point, Run
from tests.traces.scenarios import Scenario

WIDTH, HEIGHT, MARGIN, LEGEND = 760, 200, 60, 140
# By place in a panel: on light paper, on dark paper.
COLOURS = (
    ("#1f5fa8", "#79c0ff"),
    ("#c2410c", "#ffa657"),
    ("#6b7280", "#8b949e"),
    ("#7c3aed", "#d2a8ff"),
    ("#15803d", "#56d364"),
    ("#000000", "#ffffff"),
)
DASHED = {"reactive"}  # often the same as ours: both stay visible
LONGEST = 2.0  # seconds of waiting that the plot shows: beyond that it is bad enough


@dataclass(frozen=True, slots=True)
class Line:
    """A polyline in a panel's own coordinates."""

    name: str
    points: str
    dashed: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram."""

    title: str
    top: int
    highest: str
    last: str
    lines: tuple[Line, ...]
    width: int = WIDTH
    height: int = HEIGHT


def chart(scenario: Scenario, runs: Mapping[str, Run]) -> str:
    """The SVG of one scenario: all pools together."""
    held = {name: _together(run, lambda point: point.held) for name, run in runs.items()}
    busy = {"in use (ours)": _together(runs["ours"], lambda point: point.busy)}
    waits = {
        name: [min(LONGEST, max(_waits(scenario, run, index))) for index in range(_length(run))]
        for name, run in runs.items()
    }
    panels = (
        _panel("server connections held", 50, scenario, {**held, **busy}),
        _panel(f"99th percentile wait of {_watched(scenario)}, in s (cut at {LONGEST:g})", 320, scenario, waits),
    )
    template = jinja2.Environment(autoescape=True).from_string(Path(__file__).with_name("chart.svg.j2").read_text())
    title = f"{scenario.about}; budget {scenario.budget}, {scenario.machine.cores} cores"
    return (
        template.render(title=title, panels=panels, colours=COLOURS, width=MARGIN + WIDTH + LEGEND, height=560) + "\n"
    )


def _together(run: Run, value: Callable[[Point], float]) -> list[float]:
    return [sum(map(value, points)) for points in zip(*run.points.values(), strict=True)]


def _waits(scenario: Scenario, run: Run, index: int) -> list[float]:
    return [run.points[pool][index].wait for pool in scenario.watched or scenario.pools]


def _watched(scenario: Scenario) -> str:
    pools = scenario.watched or tuple(scenario.pools)
    return pools[0] if len(pools) == 1 else f"{' and '.join(pools)}, the longer one"


def _length(run: Run) -> int:
    return len(next(iter(run.points.values())))


def _panel(title: str, top: int, scenario: Scenario, series: Mapping[str, Sequence[float]]) -> Panel:
    highest = max(1e-9, *(max(values) for values in series.values()))
    lines = tuple(Line(name, _points(values, highest), name in DASHED) for name, values in series.items())
    return Panel(title, top, f"{highest:.3g}", _duration(scenario.seconds), lines)


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 7200 else f"{seconds / 60:g} min"


def _points(values: Sequence[float], highest: float) -> str:
    """At most one point a pixel, the highest of those that fall on it: a peak must not get lost."""
    per = max(1, -(-len(values) // WIDTH))
    shown = [max(values[start : start + per]) for start in range(0, len(values), per)]
    across = WIDTH / max(1, len(shown) - 1)
    return " ".join(f"{index * across:.1f},{HEIGHT * (1 - value / highest):.1f}" for index, value in enumerate(shown))
