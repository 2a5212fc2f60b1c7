# SPDX-License-Identifier: Apache-2.0
"""The report's section on latency, made of the evidence of the gates alone."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.model import (
    LEVELS,
    Cell,
    Cost,
    End,
    Latency,
    Quantiles,
    Span,
    Start,
    WarmUp,
)
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.report.latency import LoadSection, latency_sections
from ansible_collections.k2.hardening.plugins.module_utils.report.render import render
from ansible_collections.k2.hardening.plugins.module_utils.verdict import catalogue
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Scale
from ansible_collections.k2.hardening.plugins.module_utils.verdict.latency import decide_latency
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import Owner, RunDir, RunInfo, RunState

TEMPLATES = Path(__file__).resolve().parents[3] / "roles" / "report" / "templates"
PROFILE = parse_profile(
    {
        "k2_platform": {
            "name": "p",
            "scale": "lab",
            "runtime": "supervisor",
            "runtimes": {"supervisor": {"socket": "/run/s.sock"}},
        },
        "k2_services": {"feed": {"kind": "feed-handler", "exchange": "nordic"}},
        "k2_clickhouse": {"host": "h", "port": 1, "username": "u", "password": "", "database": "d"},
        "k2_tiers": [{"name": "hourly", "store": "clickhouse", "table": "t", "timeframe": "1h"}],
        "k2_load": {
            "rates": {"calm": 1, "storm": 500},
            "targets": {"calm": 200, "storm": 1000},
            "stretch": {"calm": 11},
        },
    }
)
COUNT = 1200
SEGMENT = "raw_to_bronze"


def cell(kind: str, name: str, **changes: Any) -> Cell:
    """Values from 30 to 90 ms, each in an insert of its own."""
    values = tuple(30 + 60 * level for level in LEVELS)
    made = Cell(
        kind,
        name,
        n=COUNT,
        blocks=COUNT,
        sum_squares=COUNT,
        late=3,
        duplicates=0,
        min_ms=values[0],
        max_ms=values[-1],
        mean_ms=60.0,
        quantiles=Quantiles(LEVELS, values, values),
        series=tuple((second, 20, 60.0, 89.0, 90.0) for second in range(60)),
    )
    return replace(made, **changes)


def latency(*cells: Cell) -> Latency:
    span = Span(0, 60_000_000)
    start, end = Start("exchange", "deals", "at", 0.001, True, "one <clock>"), End("part_log", 0.001, "commit of <t>")
    return Latency(span, span, WarmUp("MSER-5", 1.5, 10), start, end, (), cells, COUNT, Cost(1, 1, 1, 0.1))


WHOLE = (cell("exchange", "nordic"), cell("candle", "hourly"), cell("segment", SEGMENT))


def told(*cells: Cell, **changes: Any) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Gates and evidence of the load ``calm`` under natural traffic, as a run keeps them."""
    facts = {"load": "calm", "loads": [], "latency": asdict(latency(*cells)), "audit": None} | changes
    decided = decide_latency(PROFILE, facts, Scale.LAB)
    gates = [one.result.to_json() for one in decided]
    return gates, {one.result.spec.id: {"detail": one.detail} for one in decided}


def section(*cells: Cell) -> LoadSection:
    (found,) = latency_sections(*told(*cells))
    return found


def test_a_row_per_path_and_the_numbers_of_its_evidence() -> None:
    found = section(*WHOLE)
    nordic, hourly = found.rows
    assert [(row.name, row.kind) for row in found.rows] == [("nordic", "exchange"), ("hourly", "candle")]
    assert (nordic.gate, nordic.verdict, nordic.target) == ("S1.calm.nordic.p99", "PASS", 200)
    assert (nordic.p50, nordic.p99, nordic.max) == pytest.approx((60.0, 89.4, 90.0))
    assert nordic.p99_low is not None
    assert nordic.p99_high is not None
    assert nordic.p99_low < 89.4 < nordic.p99_high
    assert (nordic.n, nordic.blocks, nordic.late, nordic.baseline) == (COUNT, COUNT, 3, None)
    assert hourly.gate == "S1.calm.candle_1h.p99"
    assert (found.load, found.target, found.warm_up_s, found.summary) == ("calm", 200, 1.5, None)


def test_the_stretch_goal_is_no_row_of_its_own() -> None:
    gates, _ = told(*WHOLE)
    assert "S1.calm.total_11ms" in {gate["id"] for gate in gates}
    assert not [row for row in section(*WHOLE).rows if ".total_" in row.gate]


def test_distribution_course_and_segments_are_drawn() -> None:
    charts = dict(section(*WHOLE).charts)
    assert list(charts) == ["Distribution by percentile", "Over time", "Segments"]
    assert "target of p99: 200 ms" in charts["Over time"]
    assert "nordic p99" in charts["Over time"]


def test_a_path_without_trades_has_a_row_with_its_reason_and_no_line() -> None:
    silent = cell(
        "exchange", "nordic", n=0, blocks=0, sum_squares=0, quantiles=None, why="no row of the window", series=()
    )
    found = section(silent, cell("candle", "hourly"))
    nordic = found.rows[0]
    assert (nordic.verdict, nordic.reason, nordic.n) == ("INCONCLUSIVE", "no row of the window", 0)
    assert (nordic.p50, nordic.p99, nordic.worth) == (None, None, None)
    assert "Distribution by percentile" not in dict(found.charts)


def test_a_path_that_was_not_measured_has_no_row() -> None:
    found = section(cell("candle", "hourly"))
    assert [row.name for row in found.rows] == ["hourly"]


@pytest.mark.parametrize("why", [{"skipped": "not among k2_latency_loads"}, {"failed": "no database"}])
def test_a_load_that_was_not_measured_has_no_section(why: dict[str, str]) -> None:
    assert latency_sections(*told(*WHOLE, **why)) == []


def test_a_step_that_has_not_run_has_no_section() -> None:
    gates = [{"id": spec.id, "step": spec.step, "evidence": []} for spec in catalogue.load_gates(PROFILE, "calm")]
    assert latency_sections(gates, {}) == []


def test_a_segment_known_by_a_histogram_alone_is_told_without_bounds_and_drawn() -> None:
    part = cell("segment", SEGMENT, sum_squares=0, blocks=0, late=None, duplicates=None, series=())
    found = section(*WHOLE[:2], part)
    assert [row.kind for row in found.rows] == ["exchange", "candle"]
    row = next(row for row in found.segments if row.name == SEGMENT)
    assert (row.verdict, row.p99_low, row.p99_high, row.late) == ("INCONCLUSIVE", None, None, None)
    assert "by a histogram" in row.reason
    assert f"{SEGMENT}: 89.4" in dict(found.charts)["Segments"]
    assert "goal for the whole: 11 ms" in dict(found.charts)["Segments"]


def test_a_segment_that_cannot_be_measured_is_a_row_and_no_bar() -> None:
    part = cell("segment", SEGMENT, n=0, quantiles=None, why="not measurable here: no column")
    found = section(*WHOLE[:2], part)
    assert [(row.p99, row.reason) for row in found.segments] == [(None, "not measurable here: no column")]
    assert "Segments" not in dict(found.charts)


def test_the_page_escapes_what_the_platform_says_and_draws(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"load": "calm", "loads": [], "latency": asdict(latency(*WHOLE)), "audit": None}
    decided = decide_latency(PROFILE, facts, Scale.LAB)
    host = {"controller": "c", "kernel": "6", "cpus": 2, "memory_bytes": 1}
    info = RunInfo("p", "sha256:0", "i", "lab", False, {}, None, host, ())
    run = RunDir.create(tmp_path, info, [one.result for one in decided], Owner.of(os.getpid()))
    for one in decided:
        run.record(one.result, one.detail, one.mechanism)
    run.end(RunState.FINISHED)
    render(run.path, TEMPLATES)
    page = (run.path / "report" / "index.html").read_text(encoding="utf-8")
    assert 'id="latency-calm"' in page
    assert "Natural traffic: nothing was sent." in page
    assert "one &lt;clock&gt;" in page
    assert "commit of &lt;t&gt;" in page
    assert "<clock>" not in page
    assert page.count("<svg") == len(section(*WHOLE).charts) == 3
    assert "Latency at calm" in (run.path / "report" / "report.md").read_text(encoding="utf-8")
