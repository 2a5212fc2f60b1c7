# SPDX-License-Identifier: Apache-2.0
"""S4 on rules and routes: passes when all is right, fails by name, and is INCONCLUSIVE where nothing was asked."""

from __future__ import annotations

import copy
from typing import Any

import failure_facts
import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Scale, Verdict
from ansible_collections.k2.hardening.plugins.module_utils.verdict.monitoring import SKIPPED, decide_monitoring

PROFILE = parse_profile(failure_facts.PROFILE_DATA)
FACTS: dict[str, Any] = {
    "prometheus": {
        "rules": {"version": "2", "expected": 9, "differences": [], "alertmanagers": ["http://a"], "error": None},
        "tests": {"cases": 20, "failure": None, "mutants": 8, "survivors": [], "error": None},
        "metrics": {"series": {"up": 3, "lag": 1}, "readers": {"up": ["Down"], "lag": ["Behind"]}, "error": None},
        "left_out": {},
    },
    "alertmanager": {"alertmanager": {"version": "0", "routes": 9, "problems": [], "error": None}},
}


def decided(path: str, value: object) -> dict[str, tuple[Verdict, str]]:
    facts = copy.deepcopy(FACTS)
    target: Any = facts
    *parents, last = path.split(".")
    for key in parents:
        target = target[key]
    target[last] = value
    results = [one.result for one in decide_monitoring(PROFILE, facts, Scale.LAB)]
    return {result.spec.id: (result.verdict, result.reason) for result in results}


def test_all_pass_where_all_is_right() -> None:
    results = [one.result for one in decide_monitoring(PROFILE, FACTS, Scale.LAB)]
    assert {result.spec.id: result.verdict for result in results} == dict.fromkeys(
        ("S4.rules", "S4.rule_tests", "S4.metrics_exist", "S4.alertmanager"), Verdict.PASS
    )
    assert [result.n for result in results] == [9, 20, 2, 9]


@pytest.mark.parametrize(
    ("path", "value", "gate", "verdict", "named"),
    [
        ("prometheus.rules.differences", ["rule Down is err"], "S4.rules", Verdict.FAIL, "rule Down is err"),
        ("prometheus.rules.alertmanagers", [], "S4.rules", Verdict.FAIL, "notifies no Alertmanager"),
        ("prometheus.rules.error", "does not answer", "S4.rules", Verdict.INCONCLUSIVE, "does not answer"),
        ("prometheus.rules.expected", 0, "S4.rules", Verdict.INCONCLUSIVE, "no observations"),
        ("prometheus.tests.failure", "FAILED", "S4.rule_tests", Verdict.FAIL, "promtool: FAILED"),
        ("prometheus.tests.survivors", ["Down: n 1 -> 2"], "S4.rule_tests", Verdict.FAIL, "Down: n 1 -> 2"),
        ("prometheus.tests.mutants", 0, "S4.rule_tests", Verdict.INCONCLUSIVE, "no threshold was moved"),
        ("prometheus.tests.cases", 0, "S4.rule_tests", Verdict.INCONCLUSIVE, "no observations"),
        ("prometheus.metrics.series", {"up": 1, "lag": 0}, "S4.metrics_exist", Verdict.FAIL, "lag (read by Behind)"),
        ("prometheus.metrics.series", {}, "S4.metrics_exist", Verdict.INCONCLUSIVE, "no observations"),
        ("alertmanager.alertmanager.problems", ["no route"], "S4.alertmanager", Verdict.FAIL, "no route"),
        ("alertmanager.alertmanager.error", "away", "S4.alertmanager", Verdict.INCONCLUSIVE, "away"),
        ("alertmanager.alertmanager.routes", 0, "S4.alertmanager", Verdict.INCONCLUSIVE, "no observations"),
    ],
)
def test_what_is_not_right_never_passes(path: str, value: object, gate: str, verdict: Verdict, named: str) -> None:
    seen, reason = decided(path, value)[gate]
    assert seen is verdict
    assert named in reason


def test_facts_of_another_shape_are_refused() -> None:
    with pytest.raises(K2Error, match="k2_monitoring_info"):
        decide_monitoring(PROFILE, {"prometheus": {}}, Scale.LAB)


def test_a_platform_that_is_sick_is_not_deployed_to_and_nothing_passes() -> None:
    alerting = {
        "prometheus_url": "http://127.0.0.1:9090",
        "alertmanager_url": "http://127.0.0.1:9093",
        "grafana_url": "http://127.0.0.1:3000",
    }
    profile = parse_profile({**failure_facts.PROFILE_DATA, "k2_alerting": alerting})
    why = "the platform is not healthy: S0.services failed"
    results = [one.result for one in decide_monitoring(profile, {SKIPPED: why}, Scale.LAB)]
    assert "S4.grafana" in {result.spec.id for result in results}
    assert {(result.verdict, result.reason) for result in results} == {(Verdict.NOT_RUN, why)}
    # Nobody has said where the others' configuration lies.
    assert "S4.rules" not in {result.spec.id for result in results}
