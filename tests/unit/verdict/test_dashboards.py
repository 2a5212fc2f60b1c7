# SPDX-License-Identifier: Apache-2.0
"""S4.grafana and S4.dashboard.<uid>: pass on data, fail on its absence, and prove nothing by excuses."""

from __future__ import annotations

import copy
from typing import Any

import failure_facts
import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.verdict.catalogue import not_run
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Decided, Scale, Verdict
from ansible_collections.k2.hardening.plugins.module_utils.verdict.monitoring import decide_monitoring

PROFILE = parse_profile(failure_facts.PROFILE_DATA)


def query(ref: str = "A", numbers: int = 5, error: str | None = None) -> dict[str, Any]:
    return {"ref": ref, "expression": "x", "class": "?", "frames": 1, "rows": 5, "numbers": numbers, "error": error}


def panel(title: str, *queries: dict[str, Any], allowed: str | None = None) -> dict[str, Any]:
    # What the module says of the panel is not asked.
    return {"title": title, "class": "data", "well": True, "allowed": allowed, "queries": list(queries)}


def facts(*panels: dict[str, Any], **more: Any) -> dict[str, Any]:
    found = {"uid": "d", "title": "D", "digest": "1", "error": None, "panels": list(panels)}
    grafana = {
        "expected": [{"uid": "d", "title": "D", "panels": len(panels), "left_out": []}],
        "deployed": [{"uid": "d", "digest": "1"}],
        "looked": {"dashboards": [found], "data_sources": [{"uid": "prom", "problem": None}]},
        "error": None,
        "source_uid": "prom",
    }
    return {"grafana": {**grafana, **more}}


def decided(given: dict[str, Any]) -> dict[str, Decided]:
    return {each.result.spec.id: each for each in decide_monitoring(PROFILE, given, Scale.LAB)}


def test_data_in_every_panel_pass() -> None:
    results = decided(facts(panel("p", query()), panel("q", query(), query("B"))))
    assert {name: each.result.verdict for name, each in results.items()} == {
        "S4.grafana": Verdict.PASS,
        "S4.dashboard.d": Verdict.PASS,
    }
    assert results["S4.dashboard.d"].result.n == 2


@pytest.mark.parametrize(
    ("panels", "verdict", "reason"),
    [
        ([panel("p", query()), panel("q", query(numbers=0))], Verdict.FAIL, "q: query A returned nothing"),
        ([panel("p", query(), query("B", 0))], Verdict.FAIL, "p: query B returned nothing"),
        ([panel("p", query()), panel("q", query(error="parse error"), allowed="r")], Verdict.FAIL, "q: parse error"),
        ([panel("p", query()), panel("q", query(numbers=0), allowed="r")], Verdict.PASS, ""),
        ([panel("p", query(numbers=0), allowed="r")], Verdict.INCONCLUSIVE, "no panel returned any data"),
    ],
    ids=["nothing", "one query of two", "an error is never excused", "a reason", "nothing but reasons"],
)
def test_a_dashboard_is_as_its_queries(panels: list[dict[str, Any]], verdict: Verdict, reason: str) -> None:
    result = decided(facts(*panels))["S4.dashboard.d"].result
    assert (result.verdict, result.reason) == (verdict, reason)


def test_a_panel_that_was_built_and_is_not_there_fails() -> None:
    given = facts(panel("p", query()))
    given["grafana"]["expected"][0]["panels"] = 3
    result = decided(given)["S4.dashboard.d"].result
    assert (result.verdict, result.reason) == (
        Verdict.FAIL,
        "2 panels that were built are not on the dashboard",
    )


def test_a_dashboard_that_is_not_there_fails_both() -> None:
    given = facts(panel("p", query()))
    given["grafana"]["looked"]["dashboards"] = [
        {"uid": "d", "title": "", "digest": "", "error": "there is no dashboard 'd'", "panels": []}
    ]
    results = decided(given)
    assert results["S4.dashboard.d"].result.verdict is Verdict.FAIL
    assert results["S4.grafana"].result.reason == "dashboard d is not there"


@pytest.mark.parametrize(
    ("change", "verdict", "reason"),
    [
        ({"deployed": [{"uid": "d", "digest": "2"}]}, Verdict.FAIL, "dashboard d is another than was deployed"),
        ({"deployed": None}, Verdict.INCONCLUSIVE, "nothing was deployed in this run"),
        ({"source_uid": "other"}, Verdict.FAIL, "data source other is not there"),
        ({"looked": None, "error": "Grafana did not answer"}, Verdict.INCONCLUSIVE, "Grafana did not answer"),
        ({"looked": None}, Verdict.INCONCLUSIVE, "Grafana was not looked at"),
    ],
)
def test_grafana_is_as_deployed_or_not_known(change: dict[str, Any], verdict: Verdict, reason: str) -> None:
    results = decided(facts(panel("p", query()), **change))
    assert results["S4.grafana"].result.verdict is verdict
    assert results["S4.grafana"].result.reason.startswith(reason)
    if "looked" in change:
        assert results["S4.dashboard.d"].result.verdict is Verdict.INCONCLUSIVE


def test_a_data_source_that_cannot_be_queried_fails() -> None:
    given = facts(panel("p", query()))
    given["grafana"]["looked"]["data_sources"][0]["problem"] = "connection refused"
    assert decided(given)["S4.grafana"].result.verdict is Verdict.FAIL


def test_facts_of_another_shape_are_refused() -> None:
    given = facts(panel("p", query()))
    del given["grafana"]["looked"]["dashboards"]
    with pytest.raises(K2Error, match="cannot decide the gates on Grafana"):
        decided(given)
    given = copy.deepcopy(facts(panel("p", {"ref": "A"})))
    with pytest.raises(K2Error):
        decided(given)


def test_a_platform_without_grafana_or_without_metrics_has_no_such_gates() -> None:
    profile = {
        "k2_platform": {"name": "p", "scale": "lab", "runtime": "docker"},
        "k2_services": {"a": {"kind": "service"}},
    }

    def verdicts(**more: Any) -> dict[str, Verdict]:
        gates = not_run(parse_profile({**profile, **more}), ["S4"])
        return {gate.spec.id: gate.verdict for gate in gates if gate.spec.id.startswith(("S4.grafana", "S4.dash"))}

    assert set(verdicts().values()) == {Verdict.NOT_APPLICABLE}
    seen = verdicts(k2_alerting={"grafana_url": "http://g"})
    assert seen["S4.grafana"] is Verdict.NOT_RUN
    assert seen["S4.dashboard.k2-oncall"] is Verdict.NOT_RUN
    assert seen["S4.dashboard.k2-broker"] is Verdict.NOT_APPLICABLE
