"""One SVG for each scenario: demand and allocation above, waiting below, a line for each policy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from tests.traces.run import Point, Run
from tests.traces.scenarios import Scenario

WIDTH, HEIGHT, MARGIN, LEGEND = 760, 200, 60, 140
COLOURS = ("#1f5fa8", "#c2410c", "#6b7280", "#7c3aed", "#15803d", "#000000")
LONGEST = 2.0  # seconds of waiting that the plot shows: beyond that it is bad enough


@dataclass(frozen=True, slots=True)
class Line:
    """A polyline in a panel's own coordinates."""

    name: str
    colour: str
    points: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram."""

    title: str
    top: int
    highest: str
    lines: tuple[Line, ...]
    width: int = WIDTH
    height: int = HEIGHT


def chart(scenario: Scenario, runs: Mapping[str, Run]) -> str:
    """The SVG of one scenario: all pools together."""
    held = {name: _together(run, lambda point: point.held) for name, run in runs.items()}
    busy = {"in use (ours)": _together(runs["ours"], lambda point: point.busy)}
    waits = {
        name: [min(LONGEST, max(_waits(run, index))) for index in range(_length(run))] for name, run in runs.items()
    }
    panels = (
        _panel("server connections held", 50, {**held, **busy}),
        _panel(f"99th percentile wait, the worst pool's, in s (cut at {LONGEST:g})", 300, waits),
    )
    template = jinja2.Environment(autoescape=True).from_string(Path(__file__).with_name("chart.svg.j2").read_text())
    title = f"{scenario.about}; budget {scenario.budget}, {scenario.machine.cores} cores"
    return template.render(title=title, panels=panels, width=MARGIN + WIDTH + LEGEND, height=520) + "\n"


def _together(run: Run, value: Callable[[Point], float]) -> list[float]:
    return [sum(map(value, points)) for points in zip(*run.points.values(), strict=True)]


def _waits(run: Run, index: int) -> list[float]:
    return [points[index].wait for points in run.points.values()]


def _length(run: Run) -> int:
    return len(next(iter(run.points.values())))


def _panel(title: str, top: int, series: Mapping[str, Sequence[float]]) -> Panel:
    highest = max(1e-9, *(max(values) for values in series.values()))
    lines = tuple(
        Line(name, COLOURS[index], _points(values, highest)) for index, (name, values) in enumerate(series.items())
    )
    return Panel(title, top, f"{highest:.3g}", lines)


def _points(values: Sequence[float], highest: float) -> str:
    """At most one point a pixel, the highest of those that fall on it: a peak must not get lost."""
    per = max(1, -(-len(values) // WIDTH))
    shown = [max(values[start : start + per]) for start in range(0, len(values), per)]
    across = WIDTH / max(1, len(shown) - 1)
    return " ".join(f"{index * across:.1f},{HEIGHT * (1 - value / highest):.1f}" for index, value in enumerate(shown))
