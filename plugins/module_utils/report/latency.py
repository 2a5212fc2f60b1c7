# SPDX-License-Identifier: Apache-2.0
"""What the report shows of step S1: a table and three charts per load, from the evidence of its gates alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .svg import Series, line_chart, linear_axis, log_axis, percentile_axis, stacked_bars

# Levels of the chart of the distribution: even steps on its axis of nines would be too many points to no use.
_CHART_LEVELS = 400


@dataclass(frozen=True)
class LatencyRow:
    """One measured cell of a load. Times in milliseconds."""

    gate: str
    name: str
    kind: str
    verdict: str
    reason: str
    target: float
    p50: Optional[float]
    p95: Optional[float]
    p99: Optional[float]
    p99_low: Optional[float]
    p99_high: Optional[float]
    max: Optional[float]
    n: int
    blocks: int
    worth: Optional[float]
    negative: int
    late: Optional[int]
    duplicates: Optional[int]
    unattributed: int
    baseline: Optional[Mapping[str, Any]]


@dataclass(frozen=True)
class LoadSection:
    """One load: what it was, its cells, and its charts as SVG."""

    load: str
    target: float
    start: str
    end: str
    warm_up_s: float
    bottleneck: Optional[str]
    summary: Optional[Mapping[str, Any]]
    rows: tuple[LatencyRow, ...]
    segments: tuple[LatencyRow, ...]
    charts: tuple[tuple[str, str], ...]


def latency_sections(
    gates: Sequence[Mapping[str, Any]], evidence: Mapping[str, Mapping[str, Any]]
) -> list[LoadSection]:
    """A section per load that was measured."""
    loads = dict.fromkeys(gate["id"].split(".")[1] for gate in gates if gate["step"] == "S1")
    found = []
    for load in loads:
        own = [gate for gate in gates if gate["id"].startswith(f"S1.{load}.")]
        cells = [(gate, evidence[gate["id"]]["detail"]) for gate in own if gate["id"] in evidence]
        measured = [(gate, detail) for gate, detail in cells if detail.get("cell")]
        if measured:
            found.append(_section(load, measured, evidence.get(f"S1.{load}.delivered")))
    return found


def _section(
    load: str, measured: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], delivered: Optional[Mapping[str, Any]]
) -> LoadSection:
    rows = [_row(gate, detail) for gate, detail in measured if ".total_" not in gate["id"]]
    paths = tuple(row for row in rows if row.kind != "segment")
    segments = tuple(row for row in rows if row.kind == "segment")
    context = measured[0][1]
    target = next((row.target for row in paths), 0.0)
    details = {row.name: detail["cell"] for row, (_, detail) in zip(rows, measured) if row.kind == "exchange"}
    total = next((gate["target"] for gate, _ in measured if ".total_" in gate["id"]), None)
    return LoadSection(
        load,
        target,
        _moment(context["start"]),
        context["end"]["why"],
        context["warm_up"]["cut_s"],
        context["bottleneck"],
        delivered["detail"]["load"] if delivered and delivered["detail"] else None,
        paths,
        segments,
        tuple(_charts(load, target, details, segments, total)),
    )


def _row(gate: Mapping[str, Any], detail: Mapping[str, Any]) -> LatencyRow:
    cell = detail["cell"]
    quantiles: Mapping[str, Any] = detail.get("quantiles") or {}

    def value(name: str, part: str) -> Optional[float]:
        return quantiles[name][part] if name in quantiles else None

    return LatencyRow(
        gate["id"],
        cell["name"],
        cell["kind"],
        gate["verdict"],
        gate["reason"],
        gate["target"],
        value("p50", "estimate"),
        value("p95", "estimate"),
        value("p99", "estimate"),
        value("p99", "low"),
        value("p99", "high"),
        cell["max_ms"],
        cell["n"],
        cell["blocks"],
        value("p99", "n_effective"),
        cell["negative"],
        cell["late"],
        cell["duplicates"],
        cell["unattributed"],
        detail.get("baseline"),
    )


def _moment(start: Mapping[str, Any]) -> str:
    if start["moment"] is None:
        return str(start["why"])
    return f"{start['moment']} ({start['tier']}.{start['column']}): {start['why']}"


def _charts(
    load: str,
    target: float,
    exchanges: Mapping[str, Mapping[str, Any]],
    segments: Sequence[LatencyRow],
    goal: Optional[float],
) -> list[tuple[str, str]]:
    charts = []
    drawn = {name: cell for name, cell in exchanges.items() if cell["quantiles"]}
    if drawn:
        lines = [Series(name, _by_level(cell["quantiles"]), at) for at, (name, cell) in enumerate(drawn.items())]
        values = [value for line in lines for _, value in line.points if value > 0] or [1.0]
        charts.append(
            (
                "Distribution by percentile",
                line_chart(
                    f"Latency by percentile at {load}, per exchange, against the p99 target of {target:g} ms",
                    lines,
                    percentile_axis("percentile of trades"),
                    log_axis("milliseconds", min(values) * 0.9, max(*values, target) * 1.2),
                    target,
                    f"target of p99: {target:g} ms",
                ),
            )
        )
        course = []
        for at, (name, cell) in enumerate(drawn.items()):
            course.append(Series(f"{name} p99", [(row[0], row[3]) for row in cell["series"]], at))
            course.append(Series(f"{name} p50", [(row[0], row[2]) for row in cell["series"]], at, dashed=True))
        highest = max((y for line in course for _, y in line.points), default=target)
        last = max((x for line in course for x, _ in line.points), default=1.0)
        charts.append(
            (
                "Over time",
                line_chart(
                    f"Latency at {load} by second of the trade, per exchange",
                    course,
                    linear_axis("seconds since the start of the load", 0, last),
                    linear_axis("milliseconds", 0, max(highest, target) * 1.1),
                    target,
                    f"target of p99: {target:g} ms",
                ),
            )
        )
    bars = [
        (label, [(row.name, value) for row in segments if (value := getattr(row, label)) is not None])
        for label in ("p50", "p99")
    ]
    if any(row for _, row in bars):
        longest = max(sum(value for _, value in row) for _, row in bars)
        charts.append(
            (
                "Segments",
                stacked_bars(
                    f"Segments of the path at {load}, stacked",
                    bars,
                    linear_axis(
                        "milliseconds (p99s of parts do not add up to the p99 of the whole)"
                        + (f"; goal for the whole: {goal:g} ms" if goal else ""),
                        0,
                        max(longest, goal or 0.0) * 1.05,
                    ),
                    goal,
                ),
            )
        )
    return charts


def _by_level(quantiles: Mapping[str, Sequence[float]]) -> list[tuple[float, float]]:
    pairs = list(zip(quantiles["levels"], quantiles["high_ms"]))
    return pairs[:: max(1, len(pairs) // _CHART_LEVELS)]
