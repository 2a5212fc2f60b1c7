# SPDX-License-Identifier: Apache-2.0
"""Charts as inline SVG: no script, no file beside the page, colours from the page's own style.

Classes ``s0`` to ``s7`` colour the series; the page defines them for light and dark. Text a chart cannot show (a series
without points) is the caller's to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Optional

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 62, 28, 12, 40
SERIES_COLOURS = 8

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A line: its name in the legend, its points in data units in the order of x, and its colour (0 to 7)."""

    name: str
    points: Sequence[Point]
    colour: int
    dashed: bool = False


@dataclass(frozen=True)
class Axis:
    """An axis from ``low`` to ``high`` in data units; ``place`` maps a value to 0..1 along it."""

    label: str
    ticks: Sequence[tuple[float, str]]
    place: Callable[[float], float]


def linear_axis(label: str, low: float, high: float, target_ticks: int = 6) -> Axis:
    """Ticks at round numbers from ``low`` to ``high``."""
    high = high if high > low else low + 1
    step = _round_step((high - low) / target_ticks)
    first = math.ceil(low / step - 1e-9)
    ticks = [(i * step, f"{i * step:g}") for i in range(first, math.floor(high / step + 1e-9) + 1)]
    return Axis(label, ticks, lambda value: (value - low) / (high - low))


def log_axis(label: str, low: float, high: float) -> Axis:
    """Ticks at 1, 2 and 5 times the powers of ten; ``low`` must be above zero."""
    start, end = math.log10(low), math.log10(max(high, low * 1.01))
    ticks = [
        (factor * 10.0**power, f"{factor * 10.0**power:g}")
        for power in range(math.floor(start), math.ceil(end) + 1)
        for factor in (1, 2, 5)
        if start - 1e-9 <= math.log10(factor * 10.0**power) <= end + 1e-9
    ]
    return Axis(label, ticks, lambda value: (math.log10(max(value, low)) - start) / (end - start))


def percentile_axis(label: str, nines: int = 3) -> Axis:
    """Percentiles as operators read them: each further nine takes the same space (G. Tene's HdrHistogram plots).

    A value is a share below 1; what lies beyond ``nines`` nines is drawn at the end.
    """
    known = [0.0, 0.5, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 0.99999]
    shown = [share for share in known if share <= 1 - 10.0**-nines + 1e-12]
    return Axis(
        label,
        [(share, f"p{share * 100:g}") for share in shown],
        lambda share: min(1.0, -math.log10(max(1 - share, 10.0**-nines)) / nines),
    )


def line_chart(
    title: str, series: Sequence[Series], x: Axis, y: Axis, limit: Optional[float] = None, limit_label: str = ""
) -> str:
    """Lines over common axes, with a horizontal ``limit`` where one is given. ``title`` is read out, not drawn."""
    parts = [*_frame(title, x, y, HEIGHT)]
    for line in series:
        points = " ".join(f"{_x(x, px):.1f},{_y(y, py, HEIGHT):.1f}" for px, py in line.points)
        dashed = ' stroke-dasharray="5 3"' if line.dashed else ""
        parts.append(
            f'<polyline class="line s{line.colour % SERIES_COLOURS}" points="{points}"{dashed}>'
            f"<title>{escape(line.name)}</title></polyline>"
        )
    if limit is not None:
        at = _y(y, limit, HEIGHT)
        parts.append(f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        place = f'x="{WIDTH - RIGHT - 4}" y="{at - 5:.1f}" text-anchor="end"'
        parts.append(f'<text class="limit" {place}>{escape(limit_label)}</text>')
    return _figure([*parts, "</svg>"], [(line.name, line.colour, line.dashed) for line in series])


def stacked_bars(
    title: str, rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], x: Axis, limit: Optional[float] = None
) -> str:
    """A horizontal bar per row, made of named parts; ``limit`` is a vertical line."""
    height = TOP + BOTTOM + 34 * len(rows)
    names = list(dict.fromkeys(name for _, row in rows for name, _ in row))
    parts = [*_frame(title, x, None, height)]
    for index, (label, row) in enumerate(rows):
        top, done = TOP + 34 * index + 5, 0.0
        parts.append(f'<text x="{LEFT - 8}" y="{top + 16}" text-anchor="end">{escape(label)}</text>')
        for name, value in row:
            left, right = _x(x, done), _x(x, done + value)
            done += value
            place = f'x="{left:.1f}" y="{top}" width="{max(right - left, 0.5):.1f}" height="24"'
            told = escape(f"{name}: {value:.4g}")
            colour = names.index(name) % SERIES_COLOURS
            parts.append(f'<rect class="bar s{colour}" {place}><title>{told}</title></rect>')
    if limit is not None:
        at = _x(x, limit)
        parts.append(f'<line class="limit" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
    return _figure([*parts, "</svg>"], [(name, index, False) for index, name in enumerate(names)])


def _frame(title: str, x: Axis, y: Optional[Axis], height: int) -> list[str]:
    base = height - BOTTOM
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title, quote=True)}">',
        f"<title>{escape(title)}</title>",
    ]
    for value, label in x.ticks:
        at = f"{_x(x, value):.1f}"
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP}" y2="{base}"/>')
        parts.append(f'<text x="{at}" y="{base + 16}" text-anchor="middle">{escape(label)}</text>')
    for value, label in y.ticks if y else ():
        at = f"{_y(y, value, height):.1f}" if y else ""
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at}" dy="4" text-anchor="end">{escape(label)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{height - 6}" text-anchor="middle">{escape(x.label)}</text>')
    if y:
        across = (TOP + base) / 2
        parts.append(
            f'<text transform="rotate(-90)" x="{-across}" y="14" text-anchor="middle">{escape(y.label)}</text>'
        )
    return parts


def _figure(svg: Sequence[str], keys: Sequence[tuple[str, int, bool]]) -> str:
    """The chart with its legend: name, colour and whether the line is dashed."""
    legend = "".join(
        f'<span><i class="s{colour % SERIES_COLOURS}{" dashed" if dashed else ""}"></i>{escape(name)}</span>'
        for name, colour, dashed in keys
    )
    return f'<figure>{"".join(svg)}<figcaption class="legend">{legend}</figcaption></figure>'


def _x(axis: Axis, value: float) -> float:
    return LEFT + min(1.0, max(0.0, axis.place(value))) * (WIDTH - LEFT - RIGHT)


def _y(axis: Axis, value: float, height: int) -> float:
    return height - BOTTOM - min(1.0, max(0.0, axis.place(value))) * (height - BOTTOM - TOP)


def _round_step(raw: float) -> float:
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if raw <= factor * power * (1 + 1e-9))
