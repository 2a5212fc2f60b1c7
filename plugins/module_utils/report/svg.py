# SPDX-License-Identifier: Apache-2.0
"""Charts as inline SVG: no script, no file beside the page, colours from the page's own style.

Classes ``s0`` to ``s7`` colour the series, ``t-...`` what a timeline knows; the page defines them for light and dark.
Text a chart cannot show (a series without points) is the caller's to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from html import escape
from typing import Optional

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 62, 28, 12, 40
SERIES_COLOURS = 8
# A timeline's rows, the lines of text above them, and the most its names may take of the width.
ROW, TEXT_LINE, MOST_LEFT, MOST_NAME = 18, 15, 236, 34

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


class Condition(str, Enum):
    """What is known of a stretch of time; also told by its height, for readers who see no colours."""

    OK = "ok"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Stretch:
    """A part of a timeline's row in data units; ``told`` is shown on hovering."""

    low: float
    high: float
    condition: Condition
    told: str = ""


@dataclass(frozen=True)
class Mark:
    """An event known to lie between ``low`` and ``high``; ``meaning`` goes into the legend."""

    label: str
    low: float
    high: float
    colour: int
    meaning: str


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
    return _figure(
        [*parts, "</svg>"],
        [(line.name, f"s{line.colour % SERIES_COLOURS}{' dashed' if line.dashed else ''}") for line in series],
    )


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
    return _figure([*parts, "</svg>"], [(name, f"s{index % SERIES_COLOURS}") for index, name in enumerate(names)])


def timeline(
    title: str,
    rows: Sequence[tuple[str, Sequence[Stretch]]],
    x: Axis,
    shade: Optional[tuple[float, float]] = None,
    marks: Sequence[Mark] = (),
    limit: Optional[tuple[float, str]] = None,
) -> str:
    """A row of stretches per name over a common axis of time.

    ``shade`` is the time of the fault, ``marks`` are drawn over all rows as wide as they are uncertain, ``limit`` is a
    vertical line with its label. Each text above the rows has a line of its own, so none covers another.
    """
    left = max(LEFT, min(MOST_LEFT, 20 + 7 * max((len(name) for name, _ in rows), default=0)))
    top = TOP + TEXT_LINE * (len(marks) + (limit is not None)) + 4
    height = top + ROW * len(rows) + BOTTOM
    base = height - BOTTOM
    parts = _frame(title, x, None, height, left, top)
    if shade:
        parts.append(_band(x, shade, left, top, base, "t-fault", "fault"))
    for index, (name, stretches) in enumerate(rows):
        middle = top + ROW * index + ROW // 2
        parts.append(f'<text x="{left - 8}" y="{middle}" dy="4" text-anchor="end">{_short(name)}</text>')
        for one in stretches:
            if x.place(one.high) > 0 and x.place(one.low) < 1:
                parts.append(_stretch(x, one, left, middle))
    texts = []
    for line, mark in enumerate(marks):
        y, colour = TOP + TEXT_LINE * line, f"s{mark.colour % SERIES_COLOURS}"
        parts.append(_band(x, (mark.low, mark.high), left, y, base, f"band {colour}", mark.label))
        texts.append(_beside(x, (mark.low, mark.high), left, y, mark.label))
    if limit:
        y, at = TOP + TEXT_LINE * len(marks), f"{_x(x, limit[0], left):.1f}"
        parts.append(f'<line class="limit over" x1="{at}" x2="{at}" y1="{y}" y2="{base}"/>')
        texts.append(_beside(x, (limit[0], limit[0]), left, y, limit[1]))
    # Last, so that no mark is drawn over a label.
    parts += texts
    keys = [("answers", "t-ok"), ("fails", "t-fail"), ("no sample", "t-unknown")]
    keys += [("fault", "t-fault")] if shade else []
    return _figure([*parts, "</svg>"], [*keys, *((mark.meaning, f"s{mark.colour % SERIES_COLOURS}") for mark in marks)])


def _stretch(x: Axis, one: Stretch, left: int, middle: int) -> str:
    tall = {Condition.OK: 8, Condition.FAIL: 14, Condition.UNKNOWN: 4}[one.condition]
    start, end = _x(x, one.low, left), _x(x, one.high, left)
    place = f'x="{start:.1f}" y="{middle - tall // 2}" width="{max(end - start, 1.0):.1f}" height="{tall}"'
    return f'<rect class="bar t-{one.condition.value}" {place}><title>{escape(one.told)}</title></rect>'


def _band(x: Axis, span: tuple[float, float], left: int, top: int, base: int, style: str, told: str) -> str:
    start, end = _x(x, span[0], left), _x(x, span[1], left)
    place = f'x="{start:.1f}" y="{top}" width="{max(end - start, 1.5):.1f}" height="{base - top}"'
    return f'<rect class="{style}" {place}><title>{escape(told)}</title></rect>'


def _beside(x: Axis, span: tuple[float, float], left: int, top: int, label: str) -> str:
    """A label right of its mark where there is room, else left of it."""
    start, end = _x(x, span[0], left), _x(x, span[1], left)
    place, anchor = (end + 4, "start") if end + 4 + 7 * len(label) <= WIDTH else (start - 4, "end")
    return f'<text class="mark" x="{place:.1f}" y="{top + 11}" text-anchor="{anchor}">{escape(label)}</text>'


def _short(name: str) -> str:
    """A name that fits beside its row: its ends tell more than its middle; the whole of it on hovering."""
    half = (MOST_NAME - 3) // 2
    shown = name if len(name) <= MOST_NAME else f"{name[:half]}...{name[-half:]}"
    return escape(shown) if shown == name else f"{escape(shown)}<title>{escape(name)}</title>"


def _frame(title: str, x: Axis, y: Optional[Axis], height: int, left: int = LEFT, top: int = TOP) -> list[str]:
    base = height - BOTTOM
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title, quote=True)}">',
        f"<title>{escape(title)}</title>",
    ]
    for value, label in x.ticks:
        at = f"{_x(x, value, left):.1f}"
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{top}" y2="{base}"/>')
        parts.append(f'<text x="{at}" y="{base + 16}" text-anchor="middle">{escape(label)}</text>')
    for value, label in y.ticks if y else ():
        at = f"{_y(y, value, height):.1f}" if y else ""
        parts.append(f'<line class="grid" x1="{left}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at}" dy="4" text-anchor="end">{escape(label)}</text>')
    middle = (left + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{height - 6}" text-anchor="middle">{escape(x.label)}</text>')
    if y:
        across = (top + base) / 2
        parts.append(
            f'<text transform="rotate(-90)" x="{-across}" y="14" text-anchor="middle">{escape(y.label)}</text>'
        )
    return parts


def _figure(svg: Sequence[str], keys: Sequence[tuple[str, str]]) -> str:
    """The chart with its legend: names and the classes that colour them."""
    legend = "".join(f'<span><i class="{style}"></i>{escape(name)}</span>' for name, style in keys)
    return f'<figure tabindex="0">{"".join(svg)}<figcaption class="legend">{legend}</figcaption></figure>'


def _x(axis: Axis, value: float, left: int = LEFT) -> float:
    return left + min(1.0, max(0.0, axis.place(value))) * (WIDTH - left - RIGHT)


def _y(axis: Axis, value: float, height: int) -> float:
    return height - BOTTOM - min(1.0, max(0.0, axis.place(value))) * (height - BOTTOM - TOP)


def _round_step(raw: float) -> float:
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if raw <= factor * power * (1 + 1e-9))
