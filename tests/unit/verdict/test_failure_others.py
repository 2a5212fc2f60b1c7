# SPDX-License-Identifier: Apache-2.0
"""S3.<mode>.isolation, .detection and .restored: others went on within stated bounds, and all is as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import check_results
import failure_facts as given
import pytest

from ansible_collections.k2.hardening.plugins.module_utils.verdict import failure
from ansible_collections.k2.hardening.plugins.module_utils.verdict.failure import decide_failure
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Decided, Scale, Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
Fault = dict[str, Any]


def decide(word: str, *faults: Fault, mode: str = "odds_crash") -> Decided:
    facts = {"mode": mode, "failures": list(faults), "loads": [given.load()], "audit": given.audit()}
    gates = {one.result.spec.id: one for one in decide_failure(given.PROFILE, facts, Scale.LAB)}
    return gates[f"S3.{mode}.{word}"]


def both(change: Callable[[Fault], None] | None = None, **changes: Any) -> tuple[Fault, Fault]:
    """Both crashes of the mode; the first one changed."""
    first = given.fault("odds_crash", "odds-uk", **changes)
    if change is not None:
        change(first)
    return first, given.fault("odds_crash", "odds-ie")


def looks(name: str, *fails_at: float, text: str = "refused") -> Callable[[Fault], None]:
    """Have the looks of a lane that begin in these quarters of a second after the fault fail."""

    def change(fault: Fault) -> None:
        lane = next(lane for lane in fault["lanes"] if lane["name"] == name)
        for look in lane["samples"]:
            if any(abs(look[0] / 1e3 - given.QUIET_S - at) < 0.01 for at in fails_at):
                look[2:] = [0, text]

    return change


def without(name: str, low: float = -99, high: float = 99) -> Callable[[Fault], None]:
    """Leave out the looks of a lane between these seconds after the fault."""

    def change(fault: Fault) -> None:
        lane = next(lane for lane in fault["lanes"] if lane["name"] == name)
        lane["samples"] = [look for look in lane["samples"] if not low <= look[0] / 1e3 - given.QUIET_S < high]

    return change


def dropped(*names: str) -> Callable[[Fault], None]:
    def change(fault: Fault) -> None:
        fault["lanes"] = [lane for lane in fault["lanes"] if lane["name"] not in names]

    return change


# -- isolation ---------------------------------------------------------------------------------------------------------


def test_others_that_went_on_pass() -> None:
    result = decide("isolation", *both()).result
    # Of each crash five other services, twice looked at, and the other exchange's flow.
    assert (result.verdict, result.measured, result.n) == (PASS, 0, 22)


@pytest.mark.parametrize("name", ["service:board", "process:odds-ie", "flow:ie", "service:log"])
def test_another_one_that_failed_twice_in_a_row_was_disturbed(name: str) -> None:
    fails_at = (4.0, 4.5) if name.startswith("flow") else (4.0, 4.25)
    result = decide("isolation", *both(looks(name, *fails_at))).result
    assert (result.verdict, result.measured) == (FAIL, 1)
    assert name in result.reason
    assert "while odds-uk was broken" in result.reason


def test_one_that_fails_now_and_then_was_disturbed() -> None:
    result = decide("isolation", *both(looks("service:board", 1.0, 4.0, 9.0))).result
    assert result.verdict is FAIL


def test_a_single_late_look_of_a_busy_machine_is_none() -> None:
    assert decide("isolation", *both(looks("service:board", 4.0))).result.verdict is PASS
    assert decide("isolation", *both(looks("flow:ie", 4.0))).result.verdict is PASS


def test_a_process_is_never_late() -> None:
    assert decide("isolation", *both(looks("process:board", 4.0))).result.verdict is INCONCLUSIVE


def test_looks_that_show_nothing_are_no_failures_and_no_looks() -> None:
    some = looks("service:board", 4.0, 4.25, text="shows nothing: late")
    assert decide("isolation", *both(some)).result.verdict is PASS
    many = looks("service:board", *(quarter / 4 for quarter in range(16, 36)), text="shows nothing: late")
    assert decide("isolation", *both(many)).result.verdict is INCONCLUSIVE


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without("service:board", 4, 9), "nothing is known of"),
        (without("service:board", 0), "not looked at before the fault and during it"),
        (without("service:board", -99, 0), "not looked at before the fault and during it"),
        (without("service:board", 20), "nothing is known of"),
        (without("service:board"), "not looked at before"),
        (dropped("service:board", "process:board"), "board: nobody watched it"),
        (dropped("flow:ie"), "flow of ie: nobody watched it"),
    ],
)
def test_what_nobody_watched_may_have_been_disturbed(change: Callable[[Fault], None], says: str) -> None:
    result = decide("isolation", *both(change)).result
    assert result.verdict is INCONCLUSIVE
    assert says in result.reason


def test_without_a_lane_there_is_no_isolation() -> None:
    def none(fault: Fault) -> None:
        fault["lanes"] = []

    assert decide("isolation", *both(none)).result.verdict is INCONCLUSIVE


def test_what_a_mode_may_touch_may_fail() -> None:
    fault = given.fault("log_restart", "log")
    looks("service:odds-uk", 1.0, 1.25, 1.5)(fault)
    assert decide("isolation", fault, mode="log_restart").result.verdict is PASS


def test_what_the_target_says_of_who_may_fail_does_not_count() -> None:
    first, second = both(looks("service:board", 4.0, 4.25))
    for lane in first["lanes"]:
        lane["expected"] = "may fail"
    assert decide("isolation", first, second).result.verdict is FAIL


@pytest.mark.parametrize("changes", [{"proof": None}, {"steady_before": False}, {"injected": None}])
def test_a_fault_that_was_none_isolates_nothing(changes: dict[str, Any]) -> None:
    assert decide("isolation", *both(**changes)).result.verdict is INCONCLUSIVE


def test_a_service_that_was_not_broken_leaves_isolation_open() -> None:
    assert decide("isolation", both()[0]).result.verdict is INCONCLUSIVE


# -- detection ---------------------------------------------------------------------------------------------------------


def test_detection_is_not_run_blocks_nothing_and_tells_what_health_checks_noticed() -> None:
    result = decide("detection", *both()).result
    assert (result.verdict, result.spec.blocking, result.measured) == (Verdict.NOT_RUN, False, None)
    assert "alerts were not looked at" in result.reason
    assert "the health checks noticed 0.1 .. 0.4 s after the fault" in result.reason


def test_not_detected_is_never_zero() -> None:
    result = decide("detection", *both(detection={"health": None, "alerts": None})).result
    assert (result.measured, result.high) == (None, None)
    assert "not noticed by the health checks of odds-uk" in result.reason


def told(alert: str, low_s: float, high_s: float) -> list[Fault]:
    """Both crashes, of which an alert told within these bounds."""
    alerts = {"seen": [{"labels": {"alertname": alert}, "firing_s": [low_s, high_s]}], "why": ""}
    detection = {"health": None, "alerts": alerts}
    return [given.fault("odds_crash", name, detection=detection) for name in ("odds-uk", "odds-ie")]


@pytest.fixture
def catalogued(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue with one alert about the mode, and one about another."""
    real = failure.the_catalogue()
    alert = next(iter(real.alerts.values()))
    alerts = {
        "OddsGone": replace(alert, name="OddsGone", failure_modes=("odds_crash",)),
        "LogGone": replace(alert, name="LogGone", failure_modes=("log_restart",)),
    }
    monkeypatch.setattr(failure, "the_catalogue", lambda: replace(real, alerts=alerts))


@pytest.mark.usefixtures("catalogued")
def test_an_alert_about_the_mode_that_fired_is_its_detection() -> None:
    result = decide("detection", *told("OddsGone", 31.0, 46.0)).result
    assert (result.verdict, result.low, result.high) == (PASS, 31.0, 46.0)
    late = decide("detection", *told("OddsGone", 310.0, 312.0)).result
    assert (late.verdict, late.spec.blocking) == (FAIL, False)


@pytest.mark.usefixtures("catalogued")
def test_an_alert_about_something_else_is_none() -> None:
    result = decide("detection", *told("LogGone", 1.0, 2.0)).result
    assert (result.verdict, result.measured) == (Verdict.NOT_RUN, None)
    assert "the alert drill of step S4" in result.reason
    assert result.reason.startswith(check_results.TOO_SHORT)


# -- restored ----------------------------------------------------------------------------------------------------------


def test_a_platform_that_is_as_before_passes() -> None:
    result = decide("restored", *both()).result
    assert (result.verdict, result.measured, result.n) == (PASS, 0, 2)


def test_differences_fail_and_are_named() -> None:
    result = decide("restored", *both(restored={"differences": ["an alias is gone"]})).result
    assert (result.verdict, result.measured) == (FAIL, 1)
    assert "odds-uk: an alias is gone" in result.reason


def test_differences_fail_even_if_nothing_else_is_known() -> None:
    left = both(restored={"differences": ["a rule is left"]}, proof=None, error="killed")
    assert decide("restored", *left).result.verdict is FAIL


@pytest.mark.parametrize(
    "changes",
    [{"restored": None}, {"proof": None}, {"injected": None}, {"steady_after": False}, {"error": "killed"}],
)
def test_no_difference_that_means_nothing_is_inconclusive(changes: dict[str, Any]) -> None:
    assert decide("restored", *both(**changes)).result.verdict is INCONCLUSIVE


def test_nothing_broken_restores_nothing() -> None:
    assert decide("restored").result.verdict is INCONCLUSIVE
