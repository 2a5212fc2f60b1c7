"""S0: each gate passes on health, fails on sickness, and is INCONCLUSIVE where nothing could be seen."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.clock_skew import Skew
from ansible_collections.k2.hardening.plugins.module_utils.measure.data_flow import Flow
from ansible_collections.k2.hardening.plugins.module_utils.measure.leftovers import Place
from ansible_collections.k2.hardening.plugins.module_utils.measure.schedule import DeploymentSight
from ansible_collections.k2.hardening.plugins.module_utils.measure.watermarks import Watermark, WatermarkWatch
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.verdict import catalogue
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Verdict
from ansible_collections.k2.hardening.plugins.module_utils.verdict.preflight import (
    ServiceStatus,
    decide_clean_start,
    decide_clocks,
    decide_data_flow,
    decide_preflight,
    decide_schedule,
    decide_services,
    decide_watermarks,
)

PROFILE = {
    "k2_platform": {
        "name": "p",
        "scale": "lab",
        "runtime": "supervisor",
        "runtimes": {"supervisor": {"socket": "/run/s.sock", "timeout_s": 1}},
        "clock": {"host": "localhost", "max_skew_ms": 5},
    },
    "k2_services": {
        name: {"kind": "feed-handler", "exchange": name, "probe": {"tcp": {"host": "h", "port": 1}}}
        for name in ("a", "b")
    },
    "k2_clickhouse": {"host": "h", "port": 1, "username": "u", "password": "", "database": "d"},
    "k2_tiers": [
        {
            "name": "silver",
            "store": "clickhouse",
            "table": "t",
            "exchange_column": "venue",
            "time_columns": {"in": {"column": "arrived"}},
            "freshness": {"hop": "in", "max_age_s": 5},
        }
    ],
}
UP = ServiceStatus("a", True, "", "start a")
DOWN = ServiceStatus("b", False, "stopped, not ready", "supervisorctl start b")
ABSENT = ServiceStatus("c", False, "not available, not ready", "", "no build for this machine")
FLOWING = Flow("silver", "t", "a", 5.0, 7, 0.5, 1.0)


WATERMARKS: dict[str, Any] = {
    "host": "db",
    "port": 5432,
    "database": "flows",
    "username": "ro",
    "password": "pw",
    "table": "offloads",
    "name_column": "source_table",
    "time_column": "last_watermark",
    "max_age_s": 300,
    "sources": ["x", "y"],
}
ORCHESTRATOR = {
    "url": "http://p/api",
    "deployments": [{"name": "f/x", "interval_s": 60}, {"name": "f/y", "interval_s": 60}],
}
MARK = Watermark("x", 300.0, 0.005, True, "then", "then", 10.0)
ON_TIME = DeploymentSight("f/x", 60.0, 180.0, 1.005, False, 1, "then", 30.0, "orchestrator", {"COMPLETED": 3}, 0.1)


@pytest.fixture
def profile():
    return parse_profile(PROFILE)


@pytest.fixture
def cold():
    """The profile of a platform that offloads."""
    return parse_profile({**PROFILE, "k2_watermarks": WATERMARKS, "k2_orchestrator": ORCHESTRATOR})


def offloads(*marks, **changed):
    return WatermarkWatch(**{"table": "offloads", "database": "db", "watermarks": marks, "readings": 1, **changed})


def test_all_services_up(profile):
    result = decide_services(profile, [UP, UP], {}).result
    assert (result.verdict, result.measured, result.n) == (Verdict.PASS, 2, 2)


def test_a_service_that_is_down_is_named_with_the_command_that_starts_it(profile):
    result = decide_services(profile, [UP, DOWN], {}).result
    assert result.verdict is Verdict.FAIL
    assert result.reason == "b: stopped, not ready (start it with: supervisorctl start b)"


def test_what_cannot_be_had_is_inconclusive_and_never_hides_what_is_down():
    data = copy.deepcopy(PROFILE)
    data["k2_services"]["c"] = {"kind": "dashboard", "not_available": "no build for this machine"}
    three = parse_profile(data)
    result = decide_services(three, [UP, UP, ABSENT], {}).result
    assert (result.verdict, result.measured, result.n) == (Verdict.INCONCLUSIVE, 2, 2)
    assert result.reason == "c: not available: no build for this machine"
    result = decide_services(three, [UP, DOWN, ABSENT], {}).result
    assert (result.verdict, result.measured) == (Verdict.FAIL, 1)
    assert result.reason.startswith("b: stopped")
    assert "c: not available: no build" in result.reason
    assert decide_services(three, [ABSENT], {}).result.verdict is Verdict.INCONCLUSIVE


def test_a_service_that_was_not_looked_at_cannot_pass(profile):
    assert decide_services(profile, [UP], {}).result.verdict is Verdict.FAIL
    assert decide_services(profile, [], {}).result.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("other", "verdict", "words"),
    [
        (Flow("silver", "t", "b", 5.0, 1, 5.0, 1.0), Verdict.PASS, ""),
        (Flow("silver", "t", "b", 5.0, 0, None, 60.0), Verdict.FAIL, "b in t: no new row in 60 s"),
        (Flow("silver", "t", "b", 5.0, 1, 9.0, 60.0), Verdict.FAIL, "b in t: the newest row is 9.0 s old"),
        (Flow("silver", "t", "b", 5.0, error="refused"), Verdict.INCONCLUSIVE, "b in t: refused"),
    ],
)
def test_data_flow(profile, other, verdict, words):
    result = decide_data_flow(profile, [FLOWING, other]).result
    assert result.verdict is verdict
    assert words in result.reason


def test_data_flow_of_nothing_is_inconclusive(profile):
    assert decide_data_flow(profile, []).result.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("other", "verdict", "words"),
    [
        (replace(MARK, source="y"), Verdict.PASS, ""),
        (replace(MARK, source="y", age_s=300.4), Verdict.FAIL, "y: 301 s old, at most 300 s expected"),
        (Watermark("y", 300.0, 0.005), Verdict.FAIL, "y: no row in offloads"),
        (Watermark("y", 300.0, 0.005, True), Verdict.FAIL, "y: its row holds no time"),
        (replace(MARK, source="y", at="-infinity", age_s=None), Verdict.FAIL, "y: its time is -infinity"),
        (replace(MARK, source="y", age_s=-4.0), Verdict.FAIL, "y: lies 4.000 s in the future"),
        (replace(MARK, source="y", back_s=7.5), Verdict.FAIL, "y: moved back by 7.500 s"),
    ],
)
def test_watermarks(cold, other, verdict, words):
    decided = decide_watermarks(cold, offloads(MARK, other))
    result = decided.result
    assert (result.verdict, result.spec.target, result.n) == (verdict, 2, 2)
    assert words in result.reason
    assert [mark["fresh"] for mark in decided.detail["watermarks"]] == [True, verdict is Verdict.PASS]


def test_watermarks_that_could_not_be_read_are_inconclusive(cold):
    unseen = [Watermark(name, 300.0, 0.005) for name in ("x", "y")]
    result = decide_watermarks(cold, offloads(*unseen, readings=0, error="refused")).result
    assert (result.verdict, result.n, result.reason) == (Verdict.INCONCLUSIVE, 0, "offloads in db: refused")
    result = decide_watermarks(cold, offloads(readings=0, error="not asked, since postgres is not available")).result
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "postgres is not available" in result.reason
    late = replace(MARK, source="y", age_s=999.0)
    assert decide_watermarks(cold, offloads(MARK, late, error="lost")).result.verdict is Verdict.INCONCLUSIVE


def test_a_watermark_seen_moving_back_fails_whatever_came_after(cold):
    back = replace(MARK, source="y", back_s=7.5)
    result = decide_watermarks(cold, offloads(MARK, back, error="lost")).result
    assert result.verdict is Verdict.FAIL
    assert result.reason == "y: moved back by 7.500 s while it was watched; offloads in db: lost"


def test_a_table_that_does_not_exist_fails(cold):
    for marks in ((), (Watermark("x", 300.0, 0.005), Watermark("y", 300.0, 0.005))):
        result = decide_watermarks(cold, offloads(*marks, readings=0, error="no such table", absent=True)).result
        assert (result.verdict, result.measured) == (Verdict.FAIL, 0)
        assert "no such table" in result.reason


def test_without_named_sources_every_row_must_be_fresh_and_there_must_be_one():
    every = parse_profile({**PROFILE, "k2_watermarks": {**WATERMARKS, "sources": []}})
    result = decide_watermarks(every, offloads(MARK)).result
    assert (result.verdict, result.spec.target) == (Verdict.PASS, 1)
    assert decide_watermarks(every, offloads(MARK, replace(MARK, age_s=999.0))).result.verdict is Verdict.FAIL
    result = decide_watermarks(every, offloads()).result
    assert (result.verdict, result.spec.target) == (Verdict.INCONCLUSIVE, None)
    assert "has no row" in result.reason


def test_one_cause_of_many_watermarks_reads_as_one(cold):
    result = decide_watermarks(cold, offloads(*(Watermark(name, 300.0, 0.005) for name in ("x", "y")))).result
    assert result.reason == "x, y: no row in offloads after 0 s"


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({}, Verdict.PASS, ""),
        ({"paused": True}, Verdict.FAIL, "f/y: it is paused (its last runs: 3 COMPLETED)"),
        ({"active_schedules": 0}, Verdict.FAIL, "f/y: it has no active schedule"),
        ({"age_s": 200.0}, Verdict.FAIL, "ended 200 s ago, at most 180 s expected of an interval of 60 s"),
        ({"age_s": -20.0}, Verdict.FAIL, "20 s in the future"),
        (
            {"age_s": None, "completed": None, "recent": {"FAILED": 2, "CRASHED": 8}},
            Verdict.FAIL,
            "f/y: it never completed a run (its last runs: 8 CRASHED, 2 FAILED)",
        ),
        ({"age_s": None, "completed": None, "recent": {}}, Verdict.FAIL, "(no run has ended yet)"),
        (
            {"missing": "there is no deployment 'f/y'", "paused": None},
            Verdict.FAIL,
            "f/y: there is no deployment 'f/y'",
        ),
        ({"error": "refused", "paused": None}, Verdict.INCONCLUSIVE, "f/y: refused"),
    ],
)
def test_schedule(cold, changes, verdict, words):
    decided = decide_schedule(cold, [ON_TIME, replace(ON_TIME, name="f/y", **changes)])
    assert (decided.result.verdict, decided.result.spec.target) == (verdict, 2)
    assert words in decided.result.reason
    assert [sight["on_time"] for sight in decided.detail["deployments"]] == [True, verdict is Verdict.PASS]


def test_a_late_deployment_fails_whatever_could_not_be_asked(cold):
    sights = [replace(ON_TIME, paused=True), replace(ON_TIME, name="f/y", error="refused")]
    result = decide_schedule(cold, sights).result
    assert result.verdict is Verdict.FAIL
    assert "paused" in result.reason
    assert "refused" in result.reason


def test_a_schedule_that_could_not_be_asked_or_is_empty_is_inconclusive(cold):
    sights = [replace(ON_TIME, name=name, error="refused") for name in ("f/x", "f/y")]
    result = decide_schedule(cold, sights).result
    assert (result.verdict, result.n, result.reason) == (Verdict.INCONCLUSIVE, 0, "f/x, f/y: refused")
    none = parse_profile({**PROFILE, "k2_orchestrator": {"url": "http://p/api", "deployments": []}})
    assert decide_schedule(none, []).result.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("skews", "verdict"),
    [
        ([Skew("db", -1.0, 1.0, 5)], Verdict.PASS),
        ([Skew("db", -1.0, 9.0, 5)], Verdict.INCONCLUSIVE),
        ([Skew("db", 6.0, 9.0, 5)], Verdict.FAIL),
        ([Skew("db", -9.0, -6.0, 5)], Verdict.FAIL),
        ([Skew("db", -1.0, 1.0, 5), Skew("target", 6.0, 7.0, 5)], Verdict.FAIL),
        ([Skew("db", None, None, 0, "refused")], Verdict.INCONCLUSIVE),
        ([Skew("db", -1.0, 1.0, 5), Skew("target", None, None, 0, "refused")], Verdict.INCONCLUSIVE),
        ([], Verdict.INCONCLUSIVE),
    ],
)
def test_clocks(profile, skews, verdict):
    assert decide_clocks(profile, skews).result.verdict is verdict


@pytest.mark.parametrize(
    ("places", "verdict"),
    [
        ([Place("journal", ())], Verdict.PASS),
        ([Place("journal", ("kill of b",))], Verdict.FAIL),
        ([Place("journal", (), "unreadable")], Verdict.INCONCLUSIVE),
        ([Place("journal", ("kill of b",)), Place("silences", (), "refused")], Verdict.FAIL),
        ([], Verdict.INCONCLUSIVE),
    ],
)
def test_clean_start(profile, places, verdict):
    assert decide_clean_start(profile, places).result.verdict is verdict


def test_what_is_not_as_described_is_kept_with_the_services_and_decides_nothing(profile):
    text = "db: limit; expected: memory 1.00 GiB; seen: no limit; do: describe it"
    seen = {
        "flows": [],
        "clocks": [],
        "places": [],
        "mismatches": [{"text": text}],
        "watermarks": None,
        "schedule": None,
    }
    told, *_ = decide_preflight(profile, {"stack": {"services": {}}, "preflight": seen})
    silent, *_ = decide_preflight(profile, {"stack": {"services": {}}, "preflight": {**seen, "mismatches": []}})
    assert told.detail["mismatches"] == [text]
    assert told.result == silent.result


def test_facts_of_another_shape_are_refused(profile):
    with pytest.raises(K2Error, match="k2_stack_info"):
        decide_preflight(profile, {"stack": {}})


def test_step_s0_decides_the_cold_tier_of_a_platform_that_has_one(profile, cold):
    seen = {"flows": [], "clocks": [], "places": [], "mismatches": []}
    cold_seen = {"watermarks": asdict(offloads(MARK)), "schedule": [asdict(ON_TIME)]}
    hot = decide_preflight(
        profile, {"stack": {"services": {}}, "preflight": seen | {"watermarks": None, "schedule": None}}
    )
    assert [one.result.spec.id for one in hot] == ["S0.services", "S0.data_flow", "S0.clocks", "S0.clean_start"]
    whole = decide_preflight(cold, {"stack": {"services": {}}, "preflight": seen | cold_seen})
    assert [one.result.spec.id for one in whole] == [gate.id for gate in catalogue.all_gates(cold) if gate.step == "S0"]
    with pytest.raises(K2Error, match="k2_preflight_info"):
        decide_preflight(cold, {"stack": {"services": {}}, "preflight": seen | {"watermarks": None, "schedule": None}})


def test_gates_of_the_cold_tier_are_listed_with_their_targets(cold):
    gates = {gate.spec.id: gate for gate in catalogue.not_run(cold, {"S0"})}
    for name in ("S0.watermarks", "S0.schedule"):
        assert (gates[name].verdict, gates[name].spec.target, gates[name].spec.blocking) == (Verdict.NOT_RUN, 2, True)


def test_gates_of_absent_parts_do_not_apply_and_unselected_ones_do_not_block(profile):
    gates = {gate.spec.id: gate for gate in catalogue.not_run(profile, {"S0"})}
    assert gates["S0.watermarks"].verdict is Verdict.NOT_APPLICABLE
    assert gates["S0.services"].verdict is Verdict.NOT_RUN
    assert gates["S0.services"].spec.blocking
    assert not any(gate.spec.blocking for gate in catalogue.not_run(profile, ()) if gate.verdict is Verdict.NOT_RUN)
