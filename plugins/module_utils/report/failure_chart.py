# SPDX-License-Identifier: Apache-2.0
"""The timeline of one fault: what each sampler saw, when the fault was on, and when the platform was back.

Its axis begins at the earliest moment of time zero. An upper bound of a recovery counts from there, so the bound that a
gate looks at is where the axis says; a lower bound counts from the latest moment and is moved by the difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..measure.recovery.timeline import HOLE_INTERVALS
from .svg import Condition, Mark, Stretch, linear_axis, timeline

# Seconds shown before the fault and after the last event, at least, and as a share of what lies between.
_MARGIN_S, _MARGIN_SHARE = 2.0, 0.15
_ORDER = {"fails": 0, "may fail": 1, "unaffected": 2}
_MEANINGS = {
    "t1_s": "T1: first answer",
    "t2_s": "T2: steady again",
    "t3_s": "T3: backlog drained",
    "t4_s": "T4: cold tier caught up",
}
Span = tuple[float, float]


def draw(plain: Mapping[str, Any], limit: Optional[float]) -> tuple[str, str]:
    """The chart of a plain result, and what it does not show, in words. Empty chart where nothing was sampled."""
    zero, width, label = _zero(plain)
    base = (plain["baseline_start_ns"] - zero) / 1e9
    lanes = [(lane, stretches(lane, base)) for lane in plain["lanes"] if lane["samples"]]
    if not lanes:
        return "", "Nothing was sampled."
    drawn = sorted(
        [one for one in lanes if one[0]["expected"] != "unaffected" or _troubled(one[1])],
        key=lambda one: _ORDER[one[0]["expected"]],
    )
    calm = len(lanes) - len(drawn)
    shade = _shade(plain, zero)
    marks = [
        Mark(f"{name[:2].upper()} {low:.4g} .. {high:.4g} s", min(low + width, high), high, colour, _MEANINGS[name])
        for colour, name in ((0, "t1_s"), (3, "t2_s"), (5, "t3_s"), (1, "t4_s"))
        if plain[name]
        for low, high in [plain[name]]
    ]
    sampled = (min(row[0].low for _, row in lanes), max(row[-1].high for _, row in lanes))
    shown = _shown([row for _, row in drawn], shade, marks, limit, sampled)
    chart = timeline(
        f"{plain['mode']} on {plain['service']}: what each sampler saw, by {label}",
        [(lane["name"], row) for lane, row in drawn],
        linear_axis(label, *shown, target_ticks=8),
        shade,
        marks,
        (limit, f"target {limit:g} s") if limit is not None else None,
    )
    notes = []
    if calm:
        notes.append(f"{calm} more sampler{'s' if calm > 1 else ''} saw nothing but answers and are not drawn.")
    if shown[0] > sampled[0] + _MARGIN_S or shown[1] < sampled[1] - _MARGIN_S:
        notes.append(f"Sampled from {sampled[0]:.1f} to {sampled[1]:.1f} s; nothing happened in what is not shown.")
    return chart, " ".join(notes)


def _zero(plain: Mapping[str, Any]) -> tuple[int, float, str]:
    """Time zero in ns, how uncertain it is in seconds, and what to call it."""
    for moment, name in ((plain["zero"], ""), ("injection", ": it was never healed")):
        bracket = plain["healed" if moment == "heal" else "injected"]
        if bracket:
            return bracket[0], (bracket[1] - bracket[0]) / 1e9, f"seconds since the {moment}{name}"
    return plain["baseline_start_ns"], 0.0, "seconds since the first sample: nothing was injected"


def _shade(plain: Mapping[str, Any], zero: int) -> Optional[Span]:
    """When the fault was on: up to its heal, or to the end where it should have been healed and was not."""
    if not plain["injected"]:
        return None
    low, high = plain["injected"]
    if plain["healed"]:
        high = plain["healed"][1]
    elif plain["zero"] == "heal":
        high = plain["ended_ns"]
    return (low - zero) / 1e9, (high - zero) / 1e9


def stretches(lane: Mapping[str, Any], base: float) -> list[Stretch]:
    """Samples joined to stretches. A sample holds until the next one starts; before a hole, until its own end."""
    found: list[Stretch] = []
    samples = [(base + start / 1e3, base + end / 1e3, ok, error) for start, end, ok, error in lane["samples"]]
    for at, (start, end, ok, error) in enumerate(samples):
        following = samples[at + 1][0] if at + 1 < len(samples) else end
        hole = following - end > HOLE_INTERVALS * lane["interval_s"]
        condition = Condition.OK if ok else Condition.FAIL
        until = end if hole else max(end, following)
        last = found[-1] if found else None
        if last and last.condition is condition and last.high >= start:
            found[-1] = Stretch(last.low, until, condition, last.told)
        else:
            found.append(Stretch(start, until, condition, error or ("answers" if ok else "fails")))
        if hole:
            found.append(Stretch(end, following, Condition.UNKNOWN, "no sample"))
    return [
        Stretch(one.low, one.high, one.condition, f"{lane['name']}, {one.low:.3f} .. {one.high:.3f} s: {one.told}")
        for one in found
    ]


def _troubled(row: Sequence[Stretch]) -> bool:
    return any(one.condition is not Condition.OK for one in row)


def _shown(
    rows: Sequence[Sequence[Stretch]],
    shade: Optional[Span],
    marks: Sequence[Mark],
    limit: Optional[float],
    sampled: Span,
) -> Span:
    """From a little before the first to a little after the last thing that happened, but no further than was sampled,
    except for the target and the marks.
    """
    trouble = [one for row in rows for one in row if one.condition is not Condition.OK]
    events = [edge for one in trouble for edge in (one.low, one.high)] + list(shade or ())
    needed = [0.0, *(edge for mark in marks for edge in (mark.low, mark.high)), *([] if limit is None else [limit])]
    low, high = min(events + needed), max(events + needed)
    margin = max(_MARGIN_S, _MARGIN_SHARE * (high - low))
    return min(low, max(low - margin, sampled[0])), max(high + 0.02 * (high - low), min(high + margin, sampled[1]))
