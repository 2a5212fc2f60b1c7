# SPDX-License-Identifier: Apache-2.0
"""Two more charts as inline SVG: areas stacked over time, and intervals side by side. See ``svg``."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Optional

from .svg import BOTTOM, HEIGHT, LEFT, RIGHT, SERIES_COLOURS, TOP, WIDTH, Axis, _figure, _frame, _short, _x, _y

# Room for the names of services, and the height of a row.
_NAMES, _ROW = 190, 20


def stacked_area(
    title: str,
    at: Sequence[float],
    layers: Sequence[tuple[str, Sequence[Optional[float]]]],
    x: Axis,
    y: Axis,
    limit: tuple[float, str],
    shades: Sequence[tuple[float, float]] = (),
) -> str:
    """Layers over a common axis, the first at the bottom, below a horizontal ``limit`` with its label.

    A layer has a value for each of ``at``; where one is not known (None) it counts as nothing. ``shades`` are
    stretches in which something was broken on purpose.
    """
    parts = _frame(title, x, y, HEIGHT)
    for low, high in shades:
        left, right = _x(x, low), _x(x, high)
        place = f'x="{left:.1f}" y="{TOP}" width="{max(right - left, 1.0):.1f}" height="{HEIGHT - BOTTOM - TOP}"'
        parts.append(f'<rect class="t-fault" {place}><title>planned fault</title></rect>')
    base = [0.0] * len(at)
    for index, (name, values) in enumerate(layers):
        top = [below + (value or 0.0) for below, value in zip(base, values)]
        points = [f"{_x(x, px):.1f},{_y(y, py, HEIGHT):.1f}" for px, py in zip(at, top)]
        points += [f"{_x(x, px):.1f},{_y(y, py, HEIGHT):.1f}" for px, py in reversed(list(zip(at, base)))]
        told = f"<title>{escape(name)}</title>"
        parts.append(f'<polygon class="bar s{index % SERIES_COLOURS}" points="{" ".join(points)}">{told}</polygon>')
        base = top
    height = _y(y, limit[0], HEIGHT)
    parts.append(f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>')
    place = f'x="{WIDTH - RIGHT - 4}" y="{height - 5:.1f}" text-anchor="end"'
    parts.append(f'<text class="limit" {place}>{escape(limit[1])}</text>')
    keys = [(name, f"s{index % SERIES_COLOURS}") for index, (name, _) in enumerate(layers)]
    return _figure([*parts, "</svg>"], [*keys, *([("planned fault", "t-fault")] if shades else [])])


def intervals(
    title: str, rows: Sequence[tuple[str, float, float, float, str]], x: Axis, limit: Optional[float] = None
) -> str:
    """A row per name with its interval, ``(name, low, middle, high, verdict)``; ``limit`` is a vertical line."""
    height = TOP + _ROW * len(rows) + BOTTOM
    parts = _frame(title, x, None, height, _NAMES)
    for index, (name, low, middle, high, verdict) in enumerate(rows):
        at = TOP + _ROW * index + _ROW // 2
        parts.append(f'<text x="{_NAMES - 8}" y="{at}" dy="4" text-anchor="end">{_short(name)}</text>')
        left, centre, right = (_x(x, value, _NAMES) for value in (low, middle, high))
        told = escape(f"{name}: {low:.3g} .. {high:.3g} %, {verdict}")
        style = {"PASS": "t-ok", "FAIL": "t-fail"}.get(verdict, "t-unknown")
        place = f'x="{left:.1f}" y="{at - 4}" width="{max(right - left, 1.5):.1f}" height="8"'
        parts.append(f'<rect class="bar {style}" fill-opacity=".5" {place}><title>{told}</title></rect>')
        parts.append(f'<rect class="bar {style}" x="{centre - 1.5:.1f}" y="{at - 7}" width="3" height="14"/>')
    if limit is not None:
        at_x = f"{_x(x, limit, _NAMES):.1f}"
        parts.append(f'<line class="limit" x1="{at_x}" x2="{at_x}" y1="{TOP}" y2="{height - BOTTOM}"/>')
    return _figure([*parts, "</svg>"], [("PASS", "t-ok"), ("FAIL", "t-fail"), ("INCONCLUSIVE", "t-unknown")])
