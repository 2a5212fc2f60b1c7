# SPDX-License-Identifier: Apache-2.0
"""S1: a p99 passes by its upper bound, fails by its lower one, and says nothing about a load that was not delivered."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.model import (
    EXCEEDING_LEVELS,
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
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.result import Counts, LoadResult
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.schedule import Arrivals, Share
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.sketch import Sketch
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.verdict import catalogue
from ansible_collections.k2.hardening.plugins.module_utils.verdict.baseline import (
    BaselineError,
    baseline_of,
    read_baseline,
)
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import GateResult, Scale, Verdict
from ansible_collections.k2.hardening.plugins.module_utils.verdict.latency import decide_latency

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
            "rates": {"calm": 50, "storm": 500},
            "targets": {"calm": 200, "storm": 1000},
            "stretch": {"calm": 11},
        },
    }
)
SECONDS = 60
PER_SECOND = 20
COUNT = SECONDS * PER_SECOND


def cell(kind: str, name: str, p50: float = 60.0, spread: float = 60.0, **changes: Any) -> Cell:
    """1,200 values from ``p50 - spread / 2`` to ``p50 + spread / 2``, each in a block of its own."""
    values = tuple(p50 + spread * (level - 0.5) for level in LEVELS)
    course = tuple((s, PER_SECOND, p50, p50 + spread / 2, p50 + spread / 2) for s in range(SECONDS))
    above = tuple(round(PER_SECOND * (1 - level)) for level in EXCEEDING_LEVELS)
    made = Cell(
        kind,
        name,
        n=COUNT,
        blocks=COUNT,
        sum_squares=COUNT,
        late=0,
        duplicates=0,
        min_ms=values[0],
        max_ms=values[-1],
        mean_ms=p50,
        quantiles=Quantiles(LEVELS, values, values),
        histogram=((64.0, COUNT),),
        series=course,
        exceeding=tuple((s, PER_SECOND, above) for s in range(SECONDS)),
    )
    return replace(made, **changes)


def latency(*cells: Cell, gated: bool = True) -> Latency:
    span = Span(0, SECONDS * 1_000_000)
    return Latency(
        span,
        span,
        WarmUp("MSER-5", 0.0, 10),
        Start("exchange", "deals", "at", 0.001, gated, "the exchange's clock is another one"),
        End("part_log", 0.001, "commit of the parts of t"),
        (),
        cells or (cell("exchange", "nordic"), cell("candle", "hourly"), cell("segment", "raw_to_bronze", 0.4, 0.4)),
        COUNT,
        Cost(1, 1, 1, 0.1),
    )


def load(name: str = "calm", **changes: Any) -> LoadResult:
    lateness = Sketch()
    lateness.add(0.2, COUNT)
    counts = {"nordic": Counts(COUNT, COUNT, 0, COUNT)}
    made = LoadResult(
        "simulator", name, 20.0, float(SECONDS), Arrivals.POISSON, 1, Share(), 0, SECONDS * 1_000_000,
        SECONDS * 1_000_000, COUNT, COUNT, 0, None, {}, counts, lateness, None, 0.01, None,
    )  # fmt: skip
    return replace(made, **changes)


def facts(name: str = "calm", **changes: Any) -> dict[str, Any]:
    plain = {"load": name, "loads": [load(name).to_plain()], "latency": asdict(latency()), "audit": None}
    return json.loads(json.dumps(plain | changes))


def decide(given: dict[str, Any]) -> dict[str, GateResult]:
    return {one.result.spec.id: one.result for one in decide_latency(PROFILE, given, Scale.LAB)}


def audit(verdict: str = "EXACT", **changes: Any) -> dict[str, Any]:
    tier = {"missing": 0, "duplicated": 0, "unexpected": 0}
    return {
        "verdict": verdict,
        "reason": "",
        "range": [{"records": COUNT}],
        "upstream": [{"exchange": "nordic", "lost": 0}],
        "tiers": [tier | changes],
        "values": {"differing": 0},
        "candles": [{"missing": 0, "differing": 0}],
    }


@pytest.mark.parametrize("name", ["calm", "storm"])
def test_every_gate_of_the_load_is_decided_and_no_other(name: str) -> None:
    assert set(decide(facts(name))) == {spec.id for spec in catalogue.load_gates(PROFILE, name)}


def test_a_fast_platform_passes_by_its_upper_bound() -> None:
    gate = decide(facts())["S1.calm.nordic.p99"]
    assert gate.verdict is Verdict.PASS
    assert gate.low is not None
    assert gate.low < (gate.measured or 0) <= (gate.high or 0) < 200
    assert gate.n == COUNT


def test_a_slow_platform_fails_by_its_lower_bound() -> None:
    slow = asdict(latency(cell("exchange", "nordic", 400.0), cell("candle", "hourly")))
    gates = decide(facts(latency=slow))
    assert gates["S1.calm.nordic.p99"].verdict is Verdict.FAIL
    assert gates["S1.calm.candle_1h.p99"].verdict is Verdict.PASS
    assert gates["S1.calm.total_11ms"].verdict is Verdict.FAIL
    assert not gates["S1.calm.total_11ms"].spec.blocking


def test_what_straddles_the_target_is_inconclusive() -> None:
    near = asdict(latency(cell("exchange", "nordic", 150.0, 102.0)))
    gate = decide(facts(latency=near))["S1.calm.nordic.p99"]
    assert gate.verdict is Verdict.INCONCLUSIVE
    assert "straddles" in gate.reason


def test_twelve_trades_are_no_basis() -> None:
    few = asdict(latency(cell("exchange", "nordic", n=12, blocks=12, sum_squares=12, exceeding=())))
    gate = decide(facts(latency=few))["S1.calm.nordic.p99"]
    assert gate.verdict is Verdict.INCONCLUSIVE
    assert "12 trades" in gate.reason
    assert "368" in gate.reason


def test_a_latency_that_grows_with_the_load_is_no_latency_of_the_platform() -> None:
    growing = tuple((s, PER_SECOND, 40.0 + s, 60.0 + s, 80.0 + s) for s in range(SECONDS))
    falling_behind = asdict(latency(cell("exchange", "nordic", series=growing)))
    gate = decide(facts(latency=falling_behind))["S1.calm.nordic.p99"]
    assert gate.verdict is Verdict.INCONCLUSIVE
    assert "does not keep up" in gate.reason


def test_a_few_slow_seconds_are_no_growth() -> None:
    bumpy = tuple((s, PER_SECOND, 190.0 if s > 55 else 60.0 + s % 3, 90.0, 190.0) for s in range(SECONDS))
    gate = decide(facts(latency=asdict(latency(cell("exchange", "nordic", series=bumpy)))))["S1.calm.nordic.p99"]
    assert gate.verdict is Verdict.PASS


def test_trades_whose_commit_nobody_saw_count_as_slow() -> None:
    hidden = asdict(latency(cell("exchange", "nordic", unattributed=30)))
    gate = decide(facts(latency=hidden))["S1.calm.nordic.p99"]
    assert gate.verdict is Verdict.INCONCLUSIVE


def test_trades_that_were_sent_and_never_came_count_as_slow() -> None:
    counts = {"nordic": Counts(COUNT + 30, COUNT + 30, 0, COUNT + 30)}
    lossy = load(scheduled=COUNT + 30, sent=COUNT + 30, exchanges=counts)
    assert decide(facts(loads=[lossy.to_plain()]))["S1.calm.nordic.p99"].verdict is Verdict.INCONCLUSIVE


def late_sketch() -> Sketch:
    sketch = Sketch()
    sketch.add(0.2, 900)
    sketch.add(45.0, 100)
    return sketch


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (load(unsent=3, sent=COUNT - 3), "3 of 1200 scheduled messages were not sent"),
        (load(lateness=late_sketch()), "the generator sent late"),
        (load(interrupted="the wall clock was moved by +2.000 s"), "the wall clock was moved"),
        (load(errors={"queue full": 4}), "4 messages were refused: queue full"),
        (load(exchanges={"nordic": Counts(COUNT, COUNT, 0, COUNT - 7)}), "7 of nordic"),
        (load(share=Share(0, 2)), "share 1 of 2 is missing"),
    ],
)
def test_nothing_passes_under_a_load_that_was_not_delivered(broken: LoadResult, said: str) -> None:
    for name, gate in decide(facts(loads=[broken.to_plain()])).items():
        assert gate.verdict is Verdict.INCONCLUSIVE, name
    delivered = decide(facts(loads=[broken.to_plain()]))["S1.calm.delivered"]
    assert said in delivered.reason


def test_natural_traffic_below_the_load_is_no_load() -> None:
    gates = decide(facts(loads=[]))
    assert gates["S1.calm.delivered"].verdict is Verdict.INCONCLUSIVE
    assert "k2_load_source" in gates["S1.calm.nordic.p99"].reason


def test_natural_traffic_of_the_rate_is_a_load() -> None:
    busy = asdict(replace(latency(), rows_in_window=50 * SECONDS))
    gates = decide(facts(loads=[], latency=busy))
    assert gates["S1.calm.delivered"].verdict is Verdict.PASS
    assert gates["S1.calm.nordic.p99"].verdict is Verdict.PASS


def test_a_clock_that_is_not_ours_gates_nothing() -> None:
    gates = decide(facts(latency=asdict(latency(gated=False))))
    assert gates["S1.calm.nordic.p99"].verdict is Verdict.INCONCLUSIVE
    assert "clock" in gates["S1.calm.nordic.p99"].reason
    assert gates["S1.calm.nordic.p99"].measured is not None
    assert gates["S1.calm.segment_raw_to_bronze"].verdict is Verdict.PASS


def test_what_cannot_be_measured_says_so_and_shows_no_number() -> None:
    gates = decide(facts(latency=asdict(latency(Cell("exchange", "nordic", why="ingested_at tells whole seconds")))))
    for name in ("S1.calm.nordic.p99", "S1.calm.candle_1h.p99", "S1.calm.segment_broker_to_raw"):
        assert gates[name].verdict is Verdict.INCONCLUSIVE
        assert gates[name].measured is None
    assert gates["S1.calm.nordic.p99"].reason == "ingested_at tells whole seconds"


def test_a_histogram_is_told_and_bounds_nothing() -> None:
    told = cell("segment", "handler_to_broker", 1.0, 0.5, blocks=0, sum_squares=0, exceeding=())
    gate = decide(facts(latency=asdict(latency(told))))["S1.calm.segment_handler_to_broker"]
    assert gate.verdict is Verdict.INCONCLUSIVE
    assert "histogram" in gate.reason


@pytest.mark.parametrize(
    ("ledger", "verdict"),
    [
        (audit(), Verdict.PASS),
        (audit("LOST", missing=17), Verdict.FAIL),
        (audit("DUPLICATED", duplicated=5), Verdict.FAIL),
        (audit("DIFFERENT") | {"candles": [{"missing": 0, "differing": 1}]}, Verdict.FAIL),
        (audit() | {"upstream": [{"exchange": "nordic", "lost": 2}]}, Verdict.FAIL),
        (audit("INCONCLUSIVE"), Verdict.INCONCLUSIVE),
        (audit() | {"range": []}, Verdict.INCONCLUSIVE),
        (None, Verdict.INCONCLUSIVE),
    ],
)
def test_loss_at_the_highest_load(ledger: dict[str, Any] | None, verdict: Verdict) -> None:
    assert decide(facts("storm", audit=ledger))["S1.storm.no_loss"].verdict is verdict


def test_no_loss_under_a_load_that_was_not_delivered_proves_nothing_but_loss_does() -> None:
    short = [load("storm", unsent=3).to_plain()]
    assert decide(facts("storm", loads=short, audit=audit()))["S1.storm.no_loss"].verdict is Verdict.INCONCLUSIVE
    lost = audit("LOST", missing=1)
    assert decide(facts("storm", loads=short, audit=lost))["S1.storm.no_loss"].verdict is Verdict.FAIL


@pytest.mark.parametrize(("key", "verdict"), [("skipped", Verdict.NOT_RUN), ("failed", Verdict.INCONCLUSIVE)])
def test_a_load_that_was_not_measured_keeps_its_reason(key: str, verdict: Verdict) -> None:
    for gate in decide({"load": "calm", key: "because"}).values():
        assert (gate.verdict, gate.reason) == (verdict, "because")


@pytest.mark.parametrize("broken", [{}, {"load": "calm"}, {"load": "calm", "loads": [], "latency": {}}, {"load": "x"}])
def test_facts_of_another_shape_are_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(K2Error):
        decide(broken)


# -- comparison with an earlier run ------------------------------------------------------------------------------------


def baseline_file(tmp_path: Path, given: dict[str, Any]) -> Path:
    decided = decide_latency(PROFILE, given, Scale.LAB)
    evidence = {one.result.spec.id: json.loads(json.dumps({"detail": one.detail})) for one in decided}
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(baseline_of("earlier", evidence)))
    return path


@pytest.mark.parametrize(
    ("now", "verdict"),
    [((60.0, 60.0), "same"), ((30.0, 30.0), "better"), ((120.0, 60.0), "worse"), ((66.0, 60.0), "same")],
)
def test_comparison_with_a_baseline(tmp_path: Path, now: tuple[float, float], verdict: str) -> None:
    baseline = read_baseline(baseline_file(tmp_path, facts()))
    given = facts(latency=asdict(latency(cell("exchange", "nordic", *now))))
    decided = {one.result.spec.id: one for one in decide_latency(PROFILE, given, Scale.LAB, baseline)}
    told = decided["S1.calm.nordic.p99"].detail["baseline"]
    assert told["verdict"] == verdict
    assert told["low"] <= told["ratio"] <= told["high"]
    assert told["run_id"] == "earlier"


def test_a_comparison_without_its_gate_is_undecided(tmp_path: Path) -> None:
    path = baseline_file(tmp_path, {"load": "calm", "skipped": "no"})
    (one, *_) = decide_latency(PROFILE, facts(), Scale.LAB, read_baseline(path))
    assert one.detail["baseline"]["verdict"] == "undecided"


@pytest.mark.parametrize(
    "content", ["", "[]", '{"schema": 2, "cells": {}}', '{"schema": 1, "run_id": "x", "cells": 3}']
)
def test_a_baseline_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(content)
    with pytest.raises(BaselineError, match="k2_latency_baseline"):
        read_baseline(path)
    with pytest.raises(BaselineError):
        read_baseline(tmp_path / "none.json")
