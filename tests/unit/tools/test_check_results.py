# SPDX-License-Identifier: Apache-2.0
"""What a shortened run on a healthy lab may leave open, and what it may not, whatever else it says."""

from __future__ import annotations

from typing import Any

import check_results
import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.failure import told
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.verdict import alert_drill
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Scale, Verdict

LEFT_OUT = "a shortened run breaks feed_handler_crash only"
UNCHOSEN = "not among the alerts chosen for this drill"
UNFOLLOWED = "a shortened run follows feed_handler_crash only"
UNSEEN = "no alert about it fired while it was watched, which the alert drill of step S4 holds; noticed after 1 s"


def gate(name: str, verdict: str = "PASS", *, blocking: bool = True, reason: str = "", **values: Any) -> dict[str, Any]:
    numbers = {"op": "==", "target": 0, "measured": 0, "low": 0, "high": 0, "n": 1}
    if verdict not in ("PASS", "FAIL"):
        numbers |= {"measured": None, "low": None, "high": None, "n": None}
    known = {"id": name, "step": name[:2], "verdict": verdict, "blocking": blocking, "reason": reason}
    return known | numbers | values


def quick_run(*changed: dict[str, Any]) -> dict[str, Any]:
    """A shortened run on a healthy lab, with other gates in the place of its own."""
    gates = [
        gate("S0.services"),
        gate("S1.10x.no_loss"),
        gate("S2.restarts"),
        gate("S2.kafka.growth", "NOT_RUN", blocking=False, reason="30 s are no 7 h"),
        gate("S2.burn_in_24h", "NOT_RUN", blocking=False, reason="30 s are no day"),
        gate("S3.feed_handler_crash.recovery", op="<", target=5.0, measured=2.0, low=1.0, high=2.0),
        gate("S3.feed_handler_crash.loss"),
        gate("S3.feed_handler_crash.detection", "NOT_RUN", blocking=False, reason=UNSEEN),
        gate("S3.broker_restart.recovery", "NOT_RUN", blocking=False, reason=LEFT_OUT),
        gate("S3.broker_restart.detection", "NOT_RUN", blocking=False, reason=LEFT_OUT),
        gate("S3.mttr_30s", "NOT_RUN", blocking=False, reason=LEFT_OUT),
        gate("S4.rules"),
        gate("S4.dashboard.k2-overview"),
        gate("S4.coverage"),
        gate("S4.alert.ServiceDown"),
        gate("S4.alert.DiskSpaceLow", "NOT_RUN", blocking=False, reason=UNCHOSEN),
        gate("S4.alert.ServiceOOMKill", "NOT_APPLICABLE", reason="nothing in the lab counts them"),
        gate("S5.runbook.feed_handler_crash", op="<", target=900.0, measured=30.0, low=28.0, high=30.0),
        gate("S5.runbook.broker_restart", "NOT_RUN", blocking=False, reason=UNFOLLOWED),
        gate("S5.documents"),
        gate("S5.signoff", "NOT_RUN", blocking=False, reason="scale lab"),
    ]
    others = {each["id"]: each for each in changed}
    gates = [others.get(each["id"], each) for each in gates]
    return {"state": "finished", "error": None, "verdict": check_results.verdict_of(gates), "gates": gates}


def found(*changed: dict[str, Any]) -> list[str]:
    results = quick_run(*changed)
    return check_results.not_whole(results, 0 if results["verdict"] == "PASS" else 2)


def test_what_a_shortened_run_leaves_out_is_no_problem() -> None:
    assert found() == []


def test_a_fault_of_step_s3_before_there_are_rules_is_no_problem() -> None:
    reason = "alerts were not looked at (front: no alerting rule is deployed); noticed after 1 s"
    assert found(gate("S3.feed_handler_crash.detection", "NOT_RUN", blocking=False, reason=reason)) == []
    assert check_results.NO_RULES == told.NO_RULES


@pytest.mark.parametrize(
    "changed",
    [
        gate("S4.rules", "FAIL"),
        gate("S4.rules", "INCONCLUSIVE", reason="Prometheus does not answer"),
        gate("S4.dashboard.k2-overview", "NOT_RUN", reason="the run has not come to this gate"),
        gate("S4.coverage", "FAIL"),
        # Chosen, and not proven.
        gate("S4.alert.ServiceDown", "FAIL", reason="did not fire"),
        gate("S4.alert.ServiceDown", "INCONCLUSIVE", reason="its fault was not brought about"),
        gate("S4.alert.ServiceDown", "NOT_RUN", reason="the platform is not healthy: S0.services failed"),
        # Left out, but it blocks, or for a reason that is none.
        gate("S4.alert.DiskSpaceLow", "NOT_RUN", reason=UNCHOSEN),
        gate("S4.alert.DiskSpaceLow", "NOT_RUN", blocking=False, reason="step S4 was not selected by tags"),
        gate("S3.feed_handler_crash.detection", "FAIL", blocking=False),
        gate(
            "S3.feed_handler_crash.detection", "NOT_RUN", blocking=False, reason="alerts were not looked at (refused)"
        ),
        gate("S5.runbook.feed_handler_crash", "FAIL"),
        gate("S5.runbook.feed_handler_crash", "INCONCLUSIVE", reason="the failure is not proven to have been there"),
        gate("S5.runbook.broker_restart", "NOT_RUN", reason=UNFOLLOWED),
        gate("S5.runbook.broker_restart", "NOT_RUN", blocking=False, reason="nothing more could be broken"),
        gate("S5.documents", "NOT_RUN", reason="the run has not come to this gate"),
    ],
    ids=lambda each: f"{each['id']}-{each['verdict']}-{each['reason'][:20]}",
)
def test_anything_else_is(changed: dict[str, Any]) -> None:
    assert any(text.startswith(f"{changed['id']} is {changed['verdict']}") for text in found(changed))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (gate("S4.alert.ServiceDown", "NOT_RUN", blocking=False, reason=UNCHOSEN), "not one alert was proven"),
        (
            gate("S5.runbook.feed_handler_crash", "NOT_RUN", blocking=False, reason=UNFOLLOWED),
            "not one runbook was proven",
        ),
        (
            gate("S3.feed_handler_crash.recovery", "NOT_RUN", blocking=False, reason=LEFT_OUT),
            "not one failure mode was seen to recover in time",
        ),
    ],
)
def test_a_run_that_leaves_out_all_of_a_kind_proves_nothing(changed: dict[str, Any], said: str) -> None:
    assert found(changed) == [said]


def test_a_run_without_a_step_is_told() -> None:
    results = quick_run()
    results["gates"] = [each for each in results["gates"] if each["step"] != "S4"]
    assert "step S4 has no gate" in check_results.not_whole(results, 0)


def test_an_alert_that_nobody_chose_is_told_by_the_words_that_are_looked_for() -> None:
    platform = {
        "k2_platform": {"name": "spot", "scale": "lab", "runtime": "docker"},
        "k2_services": {"store": {"kind": "object-store"}},
        "k2_alerting": {"prometheus_url": "http://p", "alertmanager_url": "http://a"},
        "k2_metric_names": {"service_processes": "processes"},
    }
    drill = {"drill": {"alerts": [], "not_put_back": []}}
    decided = alert_drill.decide_drill(parse_profile(platform), drill, Scale.LAB)
    assert decided
    for each in decided:
        assert each.result.verdict is Verdict.NOT_RUN
        assert (each.result.reason, each.result.spec.blocking) == (check_results.UNCHOSEN_ALERT, False)
