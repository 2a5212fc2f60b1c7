# SPDX-License-Identifier: Apache-2.0
"""The dashboards' files: what they must not say, and what a platform gets of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.catalogue.dashboard import DashboardError, parse_dashboard
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.dashboard_json import (
    BuiltDashboard,
    UnknownName,
    build,
)
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.dashboard_load import build_all, load_dashboards
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.load import load_catalogue
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.platform_names import Names
from ansible_collections.k2.hardening.plugins.module_utils.deploy.grafana.content import Folder, read_content
from ansible_collections.k2.hardening.plugins.module_utils.platform.grafana_model import panels
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

NAMES = Names({"lag": "kafka_lag", "A.most": "5"}, {"gone": "nothing tells it"}, {}, "prom")


def profile(**more: Any) -> Any:
    """A small platform: all metrics by their own names, one service of each kind that dashboards speak of."""
    service = {"budget": {"cpus": 1, "memory": "1G"}}
    return parse_profile(
        {
            "k2_platform": {"name": "p", "scale": "lab", "runtime": "docker"},
            "k2_services": {
                "mq": {"kind": "broker", **service},
                "db": {"kind": "database", "tier": "hot", **service},
                "s3": {"kind": "object-store", "metrics": {"url": "http://s3/metrics", "job": "store"}},
            },
            "k2_budget": {"cpus": 2, "memory": "2G"},
            "k2_load": {"rates": {"1x": 50}, "targets": {"1x": 200}},
            "k2_metric_names": {name: f"m_{name}" for name in load_catalogue().metrics},
            **more,
        }
    )


def file(**panel: Any) -> Any:
    whole = {"title": "P", "unit": "s", "queries": [{"expr": "[[lag]]"}], **panel}
    return parse_dashboard("d", {"title": "D", "description": "d", "rows": [{"title": "R", "panels": [whole]}]})


def test_every_dashboard_can_be_built_and_deployed() -> None:
    built = build_all(profile())
    assert built[0].uid == "k2-overview"
    assert len(built) == 7
    texts = [(each.uid, json.dumps(each.model)) for each in built]
    # Refuses panels that lie over each other, ids and titles that are there twice.
    read_content(Folder("k2", "K2"), (), texts)
    for each in built:
        assert each.left_out == ()
        assert "[[" not in json.dumps(each.model)


@pytest.mark.parametrize("built", build_all(profile()), ids=lambda each: each.uid)
def test_every_panel_has_unit_thresholds_and_the_chosen_data_source(built: BuiltDashboard) -> None:
    asking = [each for each in _flat(built.model) if each.get("targets")]
    assert len(asking) == built.panels > 0
    for panel in asking:
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"], panel["title"]
        assert defaults["thresholds"]["steps"][0]["value"] is None, panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert target["instant"] is not target["range"]
            # A range of fixed length is too short where scrapes are rare, save where the time is what is asked for.
            assert not re.search(r"\[(1|2)m\]", target["expr"]), target["expr"]
    sources = [entry for entry in built.model["templating"]["list"] if entry["type"] == "datasource"]
    assert [entry["current"]["value"] for entry in sources] == ["k2-prometheus"]
    assert len(panels(built.model)) >= built.panels


def test_every_alert_has_its_dashboard() -> None:
    uids = {each.uid for each in load_dashboards()}
    assert {alert.dashboard for alert in load_catalogue().alerts.values()} <= uids


def test_every_metric_of_the_catalogue_is_read() -> None:
    catalogue = load_catalogue()
    shown = {name for each in load_dashboards() for panel in each.panels() for query in panel.queries
             for name in re.findall(r"\[\[(\w+)\]\]", query.expr)}  # fmt: skip
    alerting = {name for alert in catalogue.alerts.values() for name in alert.metrics(catalogue.metrics)}
    assert set(catalogue.metrics) - shown - alerting == set()


def test_a_panel_whose_metric_is_not_there_is_left_out_and_told() -> None:
    built = build(file(queries=[{"expr": "[[lag]] - [[gone]]"}]), NAMES, ())
    assert (built.panels, built.left_out[0].panel, built.left_out[0].reason) == (0, "P", "nothing tells it")


def test_a_platform_without_metrics_has_no_dashboard_but_that_of_the_monitoring_itself() -> None:
    built = build_all(profile(k2_metric_names={}))
    assert {each.uid for each in built if each.panels} == {"k2-oncall", "k2-overview", "k2-cold-tier"}
    assert all(left.reason for each in built for left in each.left_out)


def test_an_expression_is_read_by_the_name_of_its_recording_rule() -> None:
    names = {"consumer_lag": 'label_replace(x, "consumergroup", "$1", "group", "(.+)")'}
    broker = next(each for each in build_all(profile(k2_metric_names=names)) if each.uid == "k2-broker")
    assert "k2:consumer_lag" in json.dumps(broker.model)


def test_a_threshold_is_the_alerts_and_the_profiles_goes_first() -> None:
    steps = [{"color": "green"}, {"start": "[[A.most]]", "color": "red"}]
    built = build(file(steps=steps), NAMES, ())
    assert [each["value"] for each in _thresholds(built, "P")] == [None, 5.0]
    alerting = {"thresholds": {"BrokerConsumerLagHigh": {"lag": 77}, "FeedHandlerDown": {"window": "3m"}}}
    whole = {each.uid: each for each in build_all(profile(k2_alerting=alerting))}
    assert _thresholds(whole["k2-broker"], "Lag by topic")[1]["value"] == 77.0
    assert _thresholds(whole["k2-feed-handlers"], "Age of the last message")[1]["value"] == 180.0


def test_a_line_that_has_no_number_is_not_drawn() -> None:
    platform = profile(k2_budget=None)
    resources = next(each for each in build_all(platform) if each.uid == "k2-resources")
    assert [each["value"] for each in _thresholds(resources, "CPU, all services")] == [None]


def test_a_placeholder_that_stands_for_nothing_is_refused() -> None:
    with pytest.raises(UnknownName, match=r"dashboard d, panel 'P': \[\[lagg\]\] stands for nothing"):
        build(file(queries=[{"expr": "[[lagg]]"}]), NAMES, ())


@pytest.mark.parametrize(
    ("panel", "problem"),
    [
        ({"unit": "seconds"}, "unit: expected one of"),
        ({"unit": None}, "unit: expected one of"),
        ({"queries": []}, "queries: expected at least one query"),
        ({"width": 25}, "width: expected at most 24"),
        ({"kind": "pie"}, "kind: expected one of"),
        ({"querys": []}, "did you mean 'queries'"),
        ({"steps": [{"start": 1, "color": "red"}]}, "a first step without start"),
        ({"steps": [{"color": "pink"}]}, "color: expected one of"),
        ({"threshold_line": True}, "threshold_line: expected a step"),
        ({"kind": "text", "text": "x"}, "text: expected a text and no queries"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_its_place(panel: Mapping[str, Any], problem: str) -> None:
    with pytest.raises(DashboardError) as caught:
        file(**panel)
    assert any(problem in str(each) for each in caught.value.problems), caught.value.problems


def _flat(model: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [each for entry in model["panels"] for each in (entry, *entry.get("panels", []))]


def _thresholds(built: BuiltDashboard, title: str) -> list[dict[str, Any]]:
    panel = next(each for each in _flat(built.model) if each["title"] == title)
    steps: list[dict[str, Any]] = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return steps
