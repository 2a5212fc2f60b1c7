# SPDX-License-Identifier: Apache-2.0
"""The catalogue of alerts: what it holds, what is refused and by which name, and what becomes of it on a platform."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.k2.hardening.plugins.module_utils.catalogue.alert import duration, seconds
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.load import (
    PATH,
    UnreadableCatalogue,
    load_catalogue,
)
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.parse import CatalogueError, parse_catalogue
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.promql import metric_names
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.rules import RuleSet, rules_of
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

# S4's list of the alerts that there must be at least.
REQUIRED = {
    "FeedHandlerDown",
    "BrokerConsumerLagHigh",
    "ClickHouseInsertFailure",
    "MVProcessingDelay",
    "IcebergOffloadLag",
    "IcebergOffloadFailure",
    "ServiceOOMKill",
    "ServiceDown",
    "ObjectStoreDown",
    "DiskSpaceLow",
    "PrefectRunsFailing",
    "Watchdog",
    "TargetDown",
    "TargetMissing",
    "PrometheusNotConnectedToAlertmanagers",
    "PrometheusRuleFailures",
    "PrometheusMissingRuleEvaluations",
    "PrometheusBadConfig",
    "AlertmanagerFailedReload",
    "AlertmanagerFailedToSendAlerts",
}
ENTRY: dict[str, Any] = {
    "expr": "[[lag]] > [[many]]",
    "thresholds": {"many": 10},
    "for": "5m",
    "severity": "warning",
    "component": "broker",
    "summary": "Behind",
    "description": "By {{ $value }}.",
    "failure_modes": ["crash"],
    "runbook": "crash",
    "dashboard": "k2-broker",
    "drill": {"how": "live", "mode": "crash"},
    "tests": {
        "fires": {"at": "6m", "series": {"[[lag]]": "11x40"}},
        "below": {"at": "6m", "series": {"[[lag]]": "10x40"}},
        "absent": {"at": "6m", "expect": "silent"},
    },
}


def catalogue(**changes: Any) -> dict[str, Any]:
    entry = {**copy.deepcopy(ENTRY), **changes}
    return {
        "schema": 1,
        "failure_modes": ["crash"],
        "metrics": {"lag": {"meaning": "Records behind"}},
        "alerts": {"Behind": {key: value for key, value in entry.items() if value is not None}},
    }


def rules(names: dict[str, str], alerting: dict[str, Any] | None = None, data: dict[str, Any] | None = None) -> RuleSet:
    profile = {
        "k2_platform": {"name": "p", "scale": "lab", "runtime": "docker"},
        "k2_services": {
            "handler": {"kind": "feed-handler", "exchange": "x", "metrics": {"url": "http://h:1/m", "job": "j"}}
        },
        "k2_metric_names": names,
        "k2_alerting": alerting or {},
    }
    return rules_of(parse_catalogue(data or catalogue()), parse_profile(profile))


def test_every_alert_that_step_s4_asks_for_is_there() -> None:
    found = load_catalogue()
    assert set(found.alerts) >= REQUIRED
    for alert in found.alerts.values():
        assert alert.runbook
        assert alert.dashboard


def test_every_failure_mode_has_an_alert() -> None:
    found = load_catalogue()
    told = {mode for alert in found.alerts.values() for mode in alert.failure_modes}
    assert told == set(found.failure_modes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"failure_modes": ["crsh"]},
            "alerts.Behind.failure_modes: expected failure modes of the catalogue; seen 'crsh'",
        ),
        ({"exprr": "up"}, "alerts.Behind.exprr: expected a known key; seen an unknown key; did you mean 'expr'?"),
        ({"expr": None}, "alerts.Behind.expr: expected a text; seen nothing"),
        ({"expr": "[[lagg]] > [[many]]"}, "alerts.Behind: expected placeholders that are metrics, thresholds"),
        ({"severity": "warn"}, "alerts.Behind.severity: expected one of critical, warning, info; seen 'warn'"),
        ({"labels": {"lag": "{{ $value }}"}}, "alerts.Behind.labels.lag: expected no value in a label"),
        ({"labels": {"severity": "critical"}}, "alerts.Behind.labels.severity"),
        (
            {"thresholds": {"many": 10, "unused": 1}},
            "alerts.Behind.thresholds.unused: expected a threshold that stands",
        ),
        ({"thresholds": {"many": "a lot"}}, "alerts.Behind.thresholds.many: expected a number, or a duration"),
        ({"for": "soon"}, "alerts.Behind.for: expected a duration such as 5m"),
        ({"drill": {"how": "synthetic"}}, "alerts.Behind.drill.reason"),
        ({"drill": {"how": "held", "mode": "crash"}}, "alerts.Behind.drill: expected a mode and hold_s"),
        ({"drill": {"how": "live", "mode": "other"}}, "alerts.Behind.drill.mode"),
        ({"tests": {"fires": {"at": "6m"}}}, "alerts.Behind.tests.absent"),
        ({"tests": {**ENTRY["tests"], "below": None}}, "alerts.Behind.tests.below: expected a test just below"),
        ({"tests": {**ENTRY["tests"], "fires": {"at": "6m7s"}}}, "alerts.Behind.tests.fires.at: expected a multiple"),
        ({"tests": {**ENTRY["tests"], "fires": {"at": "6m", "series": {"[[lag]]": 0x40}}}}, "promtool's notation"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_entry_is_refused_by_its_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(CatalogueError) as refused:
        parse_catalogue(catalogue(**changes))
    assert named in str(refused.value)


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "alerts.yml"
    file.write_text(PATH.read_text(encoding="utf-8") + "\n  Watchdog:\n    expr: vector(1)\n", encoding="utf-8")
    with pytest.raises(UnreadableCatalogue, match="'Watchdog' stands here twice"):
        load_catalogue(file)


@pytest.mark.parametrize("text", ["30s", "5m", "1h30m", "2d"])
def test_durations_are_read_as_they_are_written(text: str) -> None:
    assert duration(seconds(text)) == text


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("sum by (job, instance) (rate(a_total{job=~'x.*'}[5m])) > 1e3", ("a_total",)),
        ("a offset 5m / on (service) group_left (team) b_b unless c", ("a", "b_b", "c")),
        ('label_replace(up{job="a"}, "x", "$1", "y", "(.+)") or absent_over_time(k2:lag[10m])', ("up", "k2:lag")),
        ("time() - max(ts) > bool 30 and on() vector(1)", ("ts",)),
        ("histogram_quantile(0.99, sum by (le) (rate(h_bucket[2m]))) # comment", ("h_bucket",)),
        ("quantile_over_time(0.5, x[1h:5m] @ end()) > +Inf", ("x",)),
    ],
)
def test_the_metrics_of_an_expression(expression: str, names: tuple[str, ...]) -> None:
    assert metric_names(expression) == names


def test_a_plain_name_is_put_in_and_an_expression_becomes_a_recording_rule() -> None:
    plain = rules({"lag": "kafka_lag"})
    assert plain.rules[0].expr == "kafka_lag > 10"
    assert plain.recordings == ()
    recorded = rules({"lag": "max_offset - on (topic) group_right () committed"})
    assert recorded.rules[0].expr == "k2:lag > 10"
    assert [each.record for each in recorded.recordings] == ["k2:lag"]
    assert recorded.readers == {"committed": ("Behind",), "max_offset": ("Behind",)}


def test_an_alert_without_its_metric_is_left_out_and_says_why() -> None:
    found = rules({})
    assert found.rules == ()
    assert "k2_metric_names has no lag" in found.left_out["Behind"]
    assert rules({}, {"not_applicable": {"Behind": "nothing lags"}}).left_out == {"Behind": "nothing lags"}


def test_the_profiles_numbers_are_deployed_and_the_catalogues_are_tested() -> None:
    found = rules({"lag": "l"}, {"thresholds": {"Behind": {"many": 500}}, "timings": {"Behind": "30s"}})
    assert (found.rules[0].expr, found.rules[0].for_s) == ("l > 500", 30)
    assert (found.tested[0].expr, found.tested[0].for_s) == ("l > 10", 300)


@pytest.mark.parametrize(
    ("names", "alerting", "named"),
    [
        (
            {"lagg": "l"},
            {},
            "k2_metric_names.lagg: expected a metric of the catalogue; seen 'lagg'; did you mean 'lag'?",
        ),
        (
            {},
            {"thresholds": {"Behnd": {"many": 1}}},
            "k2_alerting.thresholds.Behnd: expected an alert of the catalogue",
        ),
        ({}, {"thresholds": {"Behind": {"few": 1}}}, "k2_alerting.thresholds.Behind.few: expected a threshold"),
        ({}, {"timings": {"Behnd": "1m"}}, "k2_alerting.timings.Behnd"),
        ({}, {"not_applicable": {"Behnd": "why"}}, "k2_alerting.not_applicable.Behnd"),
    ],
    ids=["metric", "alert", "threshold", "timing", "not applicable"],
)
def test_a_misspelt_name_of_the_profile_is_refused(names: dict[str, str], alerting: dict[str, Any], named: str) -> None:
    with pytest.raises(CatalogueError) as refused:
        rules(names, alerting)
    assert named in str(refused.value)


def test_each_gives_a_rule_for_every_exchange_and_job() -> None:
    everything = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    found = rules({"trades_received": "t"}, None, everything)
    down = [rule for rule in found.rules if rule.name == "FeedHandlerDown"]
    assert [(rule.labels["exchange"], rule.labels["service"]) for rule in down] == [("x", "handler")]
    assert 'exchange="x"' in down[0].expr
    assert [rule.expr for rule in found.rules if rule.name == "TargetMissing"] == ['absent(up{job="j"})']


def test_links_lead_to_the_runbook_and_the_dashboard() -> None:
    alerting = {"runbooks_url": "http://w/r/", "grafana_url": "http://g/"}
    annotations = rules({"lag": "l"}, alerting).rules[0].annotations
    assert annotations["runbook_url"] == "http://w/r/crash.md"
    assert annotations["dashboard_url"] == "http://g/d/k2-broker"
