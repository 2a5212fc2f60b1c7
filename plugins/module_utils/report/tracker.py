# SPDX-License-Identifier: Apache-2.0
"""The run as a progress tracker of Phase 7: steps by milestone, tables of results, blockers and decisions.

Every cell comes from the run's evidence; what the run does not know is ``--``, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..verdict.gate import Verdict
from .failure import FailureSection
from .latency import LatencyRow, LoadSection
from .overview import TRACKED, Milestone, Overview, Step
from .source import RecordedRun

NONE = "--"
_MARKS = {
    Verdict.PASS: "✅ PASS",
    Verdict.FAIL: "❌ FAIL",
    Verdict.INCONCLUSIVE: "🟡 INCONCLUSIVE",
    Verdict.NOT_RUN: "⬜ NOT_RUN",
    Verdict.NOT_APPLICABLE: "➖ NOT_APPLICABLE",
}
Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table of the tracker; cells are plain text."""

    title: str
    header: Row
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Tracker:
    """The whole document."""

    status: str
    progress: str
    milestones: tuple[tuple[str, str, tuple[Row, ...]], ...]
    results: tuple[Table, ...]
    blockers: tuple[Row, ...]
    decisions: tuple[Row, ...]


def tracker(run: RecordedRun, seen: Overview, facts: Mapping[str, Any]) -> Tracker:
    """The tracker of ``run``; ``facts`` are those of the report's sections by name."""
    tracked = [step for milestone in seen.milestones for step in milestone.steps]
    done = sum(step.complete for step in tracked)
    names = ", ".join(step.id for step in tracked if step.complete) or "none"
    return Tracker(
        "✅ COMPLETE" if done == len(tracked) else "🟢 ACTIVE DEVELOPMENT",
        f"{done}/{len(tracked)} steps ({round(100 * done / len(tracked))}%), complete: {names}",
        tuple(
            (f"Milestone {one.id}: {one.title}", _status(one), tuple(_step_row(step) for step in one.steps))
            for one in seen.milestones
        ),
        tuple(
            table
            for table in (
                *_latency(facts.get("latency") or ()),
                _resources(run.gates),
                _failures(facts.get("failures")),
                *(_others(run.gates, step) for step in ("S4", "S5")),
            )
            if table and table.rows
        ),
        tuple(
            (f"{gate['id']}: {gate['reason']}", _impact(seen.milestones, gate["step"]), NONE, _mark(gate["verdict"]))
            for gate in seen.wanting
        ),
        _decisions(run, seen),
    )


def _status(one: Milestone | Step) -> str:
    if one.complete:
        return "✅ Complete"
    if one.verdict is Verdict.NOT_RUN:
        return "⬜ Not Started"
    return "❌ Failed" if one.verdict is Verdict.FAIL else "🟡 In Progress"


def _step_row(step: Step) -> Row:
    counts = [
        f"{count} {verdict}" for verdict in Verdict if (count := sum(g["verdict"] == verdict for g in step.gates))
    ]
    notes = "gates: " + ", ".join(counts) if counts else "not part of this release's gates"
    ended = step.last[:10] if step.complete and step.last else NONE
    return (step.id[1:], TRACKED[step.id], _status(step), step.first[:10] if step.first else NONE, ended, notes)


def _mark(verdict: str) -> str:
    return _MARKS[Verdict(verdict)]


def _impact(milestones: Sequence[Milestone], step: str) -> str:
    of = [one.id for one in milestones if step in {each.id for each in one.steps}]
    return f"milestone {of[0]}" if of else "every step after it"


def _latency(loads: Sequence[LoadSection]) -> list[Table]:
    tables = []
    for load in loads:
        rows = [row for row in load.rows if row.kind == "exchange"]
        header = ("Metric", *(row.name.capitalize() for row in rows), "Target", "Status")
        worst = _worst(rows)
        tables.append(
            Table(
                f"Latency Benchmark Results, {load.load}",
                header,
                (
                    ("p50 (trade to last candle)", *(_ms(row.p50) for row in rows), NONE, NONE),
                    ("p99 (trade to last candle)", *(_p99(row) for row in rows), f"<{load.target:g}ms", worst),
                    ("max", *(_ms(row.max) for row in rows), NONE, NONE),
                    ("trades", *(f"{row.n:,}" for row in rows), NONE, NONE),
                ),
            )
        )
    names = list(dict.fromkeys(row.name for load in loads for row in load.segments))
    if names:
        rows_of = {(load.load, row.name): row for load in loads for row in load.segments}
        segments = []
        for name in names:
            known = [rows_of.get((load.load, name)) for load in loads]
            target = next(row.target for row in known if row)
            told = tuple(_ms(row.p99) if row else NONE for row in known)
            status = _worst([row for row in known if row])
            segments.append((name.replace("_", " "), f"< {target:g}ms", *told, status))
        header = ("Segment", "Target", *(f"Actual p99 ({load.load})" for load in loads), "Status")
        tables.append(Table("Latency by Segment", header, tuple(segments)))
    return tables


def _worst(rows: Sequence[LatencyRow]) -> str:
    order = [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NOT_RUN, Verdict.PASS]
    verdicts = {row.verdict for row in rows}
    return next((_mark(verdict) for verdict in order if verdict in verdicts), NONE)


def _ms(value: Optional[float]) -> str:
    return NONE if value is None else f"{value:.3g}ms" if value < 1000 else f"{value:.0f}ms"


def _p99(row: LatencyRow) -> str:
    if row.p99 is None:
        return NONE
    return f"{_ms(row.p99)} ({_ms(row.p99_low)} .. {_ms(row.p99_high)})"


def _resources(gates: Sequence[Mapping[str, Any]]) -> Optional[Table]:
    """Services with their budgets, the total last, as gates ``S2.<service>.cpu`` and ``.memory`` have them."""
    services: dict[str, dict[str, Mapping[str, Any]]] = {}
    for gate in gates:
        name, dot, kind = gate["id"].removeprefix("S2.").rpartition(".")
        if gate["step"] == "S2" and dot and kind in ("cpu", "memory"):
            services.setdefault(name, {})[kind] = gate
    rows = []
    for name in sorted(services, key=lambda name: name == "total"):
        cells: list[str] = []
        for kind in ("cpu", "memory"):
            found = services[name].get(kind)
            cells += [_amount(found, "target"), _amount(found, "measured")] if found else [NONE, NONE]
        cells.append(", ".join(dict.fromkeys(_mark(gate["verdict"]) for gate in services[name].values())))
        rows.append((f"**{name}**" if name == "total" else f"`{name}`", *cells))
    header = ("Service", "Target CPU", "Actual CPU", "Target RAM", "Actual RAM", "Status")
    return Table("Resource Budget Validation", header, tuple(rows)) if rows else None


def _amount(gate: Mapping[str, Any], key: str) -> str:
    return NONE if gate[key] is None else f"{gate[key]:.4g} {gate['unit']}"


def _failures(section: Optional[FailureSection]) -> Optional[Table]:
    if section is None:
        return None
    header = ("Failure", "Expected Recovery", "Actual Recovery (s)", "Data Loss", "Status")
    rows = tuple(
        (row.mode.replace("_", " "), row.expected, row.recovery, row.loss, _mark(row.verdict)) for row in section.modes
    )
    return Table("Failure Mode Test Results", header, rows)


def _others(gates: Sequence[Mapping[str, Any]], step: str) -> Table:
    titles = {"S4": "Monitoring and Alerting Results", "S5": "Runbooks and Documentation Results"}
    rows = tuple(
        (f"`{gate['id']}`", gate["title"], _amount(gate, "measured"), _mark(gate["verdict"]))
        for gate in gates
        if gate["step"] == step
    )
    return Table(titles[step], ("Gate", "What", "Measured", "Status"), rows)


def _decisions(run: RecordedRun, seen: Overview) -> tuple[Row, ...]:
    """What was settled before measuring: what does not apply, what nobody asked for, what the profile leaves open."""
    date = run.results["started"][:10]
    rows = [(date, "Run shortened (quick)", "k2_quick")] if run.results["quick"] else []
    for group in seen.unmeasured:
        if not group.blocking:
            what = "does not apply" if group.verdict == Verdict.NOT_APPLICABLE else "not run"
            many = f"{group.gates[0]} and {len(group.gates) - 1} more" if len(group.gates) > 1 else group.gates[0]
            rows.append((date, f"{many}: {what}", group.reason))
    rows += [(date, f"Profile taken as it is: {one['path']}", one["text"]) for one in run.facts.get("findings", [])]
    return tuple(rows)
