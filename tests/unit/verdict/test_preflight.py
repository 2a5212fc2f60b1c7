"""S0: each gate passes on health, fails on sickness, and is INCONCLUSIVE where nothing could be seen."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.clock_skew import Skew
from ansible_collections.k2.hardening.plugins.module_utils.measure.data_flow import Flow
from ansible_collections.k2.hardening.plugins.module_utils.measure.leftovers import Place
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.verdict import catalogue
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Verdict
from ansible_collections.k2.hardening.plugins.module_utils.verdict.preflight import (
    ServiceStatus,
    decide_clean_start,
    decide_clocks,
    decide_data_flow,
    decide_preflight,
    decide_services,
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


@pytest.fixture
def profile():
    return parse_profile(PROFILE)


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


def test_facts_of_another_shape_are_refused(profile):
    with pytest.raises(K2Error, match="k2_stack_info"):
        decide_preflight(profile, {"stack": {}})


def test_gates_of_absent_parts_do_not_apply_and_unselected_ones_do_not_block(profile):
    gates = {gate.spec.id: gate for gate in catalogue.not_run(profile, {"S0"})}
    assert gates["S0.watermarks"].verdict is Verdict.NOT_APPLICABLE
    assert gates["S0.services"].verdict is Verdict.NOT_RUN
    assert gates["S0.services"].spec.blocking
    assert not any(gate.spec.blocking for gate in catalogue.not_run(profile, ()) if gate.verdict is Verdict.NOT_RUN)
