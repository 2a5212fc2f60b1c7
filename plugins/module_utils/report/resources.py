# SPDX-License-Identifier: Apache-2.0
"""What the report shows of step S2: a row per service, charts over time, growth; from evidence and samples alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ..core.errors import K2Error
from .svg import linear_axis
from .svg_area import intervals, stacked_area

_MIB = 1024**2
# Colours are few: the largest have one each, all others share the last.
_LAYERS = 7
_WORST = ("FAIL", "INCONCLUSIVE", "NOT_RUN", "PASS", "NOT_APPLICABLE")


@dataclass(frozen=True)
class ResourceRow:
    """One service, or all of them: what is allowed and what was used. CPU in cores, memory in MiB."""

    name: str
    verdict: str
    cpu_target: Optional[float]
    cpu_p99: Optional[float]
    cpu_mean: Optional[float]
    cpu_max: Optional[float]
    cpu_verdict: str
    memory_target: Optional[float]
    memory_max: Optional[float]
    memory_verdict: str
    memory_kind: str
    spikes: int
    growth: str
    growth_verdict: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class ResourceSection:
    """Step S2 of a run: what the window was, its rows, its charts, and what else was seen."""

    window: Mapping[str, Any]
    length: str
    rows: tuple[ResourceRow, ...]
    samples: Mapping[str, Any]
    spikes: tuple[Mapping[str, Any], ...]
    events: tuple[Mapping[str, Any], ...]
    contradictions: tuple[Mapping[str, Any], ...]
    charts: tuple[tuple[str, str], ...]


def resource_section(
    gates: Sequence[Mapping[str, Any]], evidence: Mapping[str, Mapping[str, Any]], run: Path
) -> Optional[ResourceSection]:
    """The section of a run that sampled resources; None of one that did not.

    Raises K2Error where the samples that the evidence names cannot be read.
    """
    own = {gate["id"]: gate for gate in gates if gate["step"] == "S2"}
    about = evidence.get("S2.samples")
    if about is None or "window" not in about["detail"]:
        return None
    details = {name: evidence[name]["detail"] for name in own if name in evidence}
    names = dict.fromkeys(
        name[len("S2.") : -len(".growth")] for name in own if name.endswith(".growth") and name in details
    )
    rows = tuple(row for name in ("total", *names) if (row := _row(name, own, details)) is not None)
    series = _series(about, run)
    length = own["S2.samples"]["reason"]
    spikes = [
        {"service": name, **spike}
        for name in ("total", *names)
        for spike in details.get(f"S2.{name}.cpu", {}).get("spikes", ())
    ]
    events = [
        {"what": what, **event}
        for gate, what in (("S2.restarts", "ended"), ("S2.oom_kills", "OOM kill"))
        for event in details.get(gate, {}).get("events", ())
    ]
    return ResourceSection(
        about["detail"]["window"],
        length,
        rows,
        about["detail"],
        tuple(sorted(spikes, key=lambda spike: spike["time"])),
        tuple(events),
        tuple(details.get("S2.total.memory", {}).get("contradictions", ())),
        tuple(_charts(series, own, details, names)),
    )


def _row(
    name: str, gates: Mapping[str, Mapping[str, Any]], details: Mapping[str, Mapping[str, Any]]
) -> Optional[ResourceRow]:
    cpu, memory, growth = (gates.get(f"S2.{name}.{what}") for what in ("cpu", "memory", "growth"))
    there = [gate for gate in (cpu, memory) if gate is not None]
    if not there:
        return None
    seen = details.get(f"S2.{name}.cpu", {})
    kind = details.get(f"S2.{name}.memory", {}).get("memory_kind") or ""
    verdicts = [gate["verdict"] for gate in there]
    return ResourceRow(
        name,
        next(verdict for verdict in _WORST if verdict in verdicts),
        cpu["target"] if cpu else None,
        cpu["measured"] if cpu else None,
        seen.get("mean"),
        seen.get("max"),
        cpu["verdict"] if cpu else "",
        memory["target"] if memory else None,
        memory["measured"] if memory else None,
        memory["verdict"] if memory else "",
        kind,
        seen.get("spikes_in_all", 0),
        _growth_text(growth),
        growth["verdict"] if growth else "",
        tuple(gate["reason"] for gate in there if gate["verdict"] not in ("PASS", "NOT_APPLICABLE")),
    )


def _growth_text(gate: Optional[Mapping[str, Any]]) -> str:
    if gate is None or gate["measured"] is None:
        return "-"
    return f"{gate['measured']:+.2g} % ({gate['low']:+.2g} .. {gate['high']:+.2g})"


def _series(about: Mapping[str, Any], run: Path) -> Mapping[str, Any]:
    path = next((run / name for name in about["files"] if name.endswith(".json")), None)
    try:
        if path is None:
            raise ValueError("the evidence names none")
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise K2Error("the samples of step S2 cannot be read", expected=f"{path}", seen=str(error)) from error
    return found


def _charts(
    series: Mapping[str, Any],
    gates: Mapping[str, Mapping[str, Any]],
    details: Mapping[str, Mapping[str, Any]],
    names: Iterable[str],
) -> list[tuple[str, str]]:
    charts = []
    unit, factor = ("hours", 3600.0) if series["at_s"][-1] > 7200 else ("minutes", 60.0)
    at = [second / factor for second in series["at_s"]]
    half = series["width_s"] / factor / 2
    shades = [(x - half, x + half) for x, planned in zip(at, series["planned"]) if planned]
    time_axis = linear_axis(f"{unit} since the window began", 0.0, at[-1] + half)
    for what, key, total, label, scale in (
        ("CPU over time", "cpu_mean", "S2.total.cpu", "cores", 1.0),
        ("Memory over time", "memory_max", "S2.total.memory", "MiB", _MIB),
    ):
        target = gates.get(total, {}).get("target")
        if target is None:
            continue
        layers = _layers(series["services"], key, scale)
        # CPU is a difference: the first look has none.
        known = [i for i in range(len(at)) if any(values[i] is not None for _, values in layers)]
        highest = max((sum(values[i] or 0.0 for _, values in layers) for i in range(len(at))), default=0.0)
        y = linear_axis(label, 0.0, max(highest, target) * 1.08)
        title = f"{what} of all services, stacked, against the budget of {target:g} {label}"
        text = f"budget: {target:g} {label}"
        drawn = [(name, [values[i] for i in known]) for name, values in layers]
        places = [at[i] for i in known]
        charts.append((what, stacked_area(title, places, drawn, time_axis, y, (target, text), shades)))
    grown = [
        (name, gate["low"], gate["measured"], gate["high"], gate["verdict"])
        for name in names
        if (gate := gates[f"S2.{name}.growth"])["measured"] is not None and "growth" in details[gate["id"]]
    ]
    if grown:
        low, high = min(row[1] for row in grown), max(row[3] for row in grown)
        axis = linear_axis(
            "growth of memory over the window, % of where it began (95 %)", min(low, 0.0), max(high, 11.0)
        )
        charts.append(("Growth", intervals("Growth of memory per service with its interval", grown, axis, 10.0)))
    return charts


def _layers(
    services: Mapping[str, Mapping[str, Any]], key: str, scale: float
) -> list[tuple[str, list[Optional[float]]]]:
    """The largest first, at the bottom; what has no colour of its own together, on top."""

    def weight(name: str) -> float:
        return sum(value or 0.0 for value in services[name][key])

    ordered = sorted(services, key=weight, reverse=True)
    alone, rest = (ordered, []) if len(ordered) <= _LAYERS + 1 else (ordered[:_LAYERS], ordered[_LAYERS:])
    layers: list[tuple[str, list[Optional[float]]]] = [
        (name, [None if value is None else value / scale for value in services[name][key]]) for name in alone
    ]
    if rest:
        columns = zip(*(services[name][key] for name in rest))
        layers.append((f"{len(rest)} others", [_sum(column, scale) for column in columns]))
    return layers


def _sum(column: Sequence[Optional[float]], scale: float) -> Optional[float]:
    known = [value for value in column if value is not None]
    return sum(known) / scale if known else None
