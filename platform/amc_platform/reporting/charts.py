"""Line charts as SVG paths: small, sharp at any size, and coloured by the page's own style."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from amc_platform.reporting.content import Curve, Series

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 40, 10, 10, 24
_MOST_POINTS = 120


@dataclass(frozen=True, slots=True)
class Line:
    """An SVG path and the index of its colour."""

    path: str
    colour: int


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis in pixels, and its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A curve laid out in a box of WIDTH x HEIGHT."""

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def layout(curve: Curve, names: Sequence[str]) -> Chart | None:
    """Lay a curve out; a line's colour is its name's place in `names`. None without a finite point."""
    thinned = [(series.name, _thinned(series)) for series in curve.series]
    every = [point for _, points in thinned for point in points]
    if not every:
        return None
    x_ticks = ticks(0, max(step for step, _ in every), 4)
    y_ticks = ticks(min(value for _, value in every), max(value for _, value in every), 4)
    x_low, x_high = 0, max(step for step, _ in every) or 1
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def x_of(step: float) -> float:
        return LEFT + (step - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def y_of(value: float) -> float:
        return HEIGHT - BOTTOM - (value - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    lines = tuple(
        Line(
            "M" + " L".join(f"{x_of(step):.1f} {y_of(value):.1f}" for step, value in points),
            names.index(name),
        )
        for name, points in thinned
        if points
    )
    return Chart(
        curve.title,
        lines,
        tuple(Tick(x_of(step), _label(step)) for step in x_ticks if step <= x_high),
        tuple(Tick(y_of(value), _label(value)) for value in y_ticks),
    )


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers, about `about` steps apart, the first at or below `low`, the last at or above `high`."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _thinned(series: Series) -> list[tuple[float, float]]:
    """Finite points, averaged in equal runs where there are more than a chart of this size can show."""
    points = [(float(step), value) for step, value in series.points if math.isfinite(value)]
    run = math.ceil(len(points) / _MOST_POINTS)
    if run <= 1:
        return points
    runs = [points[start : start + run] for start in range(0, len(points), run)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in runs]


def _label(value: float) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:g}"
