# SPDX-License-Identifier: Apache-2.0
"""No failure mode without an alert, a panel and a runbook; and how each alert of the lab is drilled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.catalogue.alert import Catalogue
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.coverage import (
    CoverageRow,
    alerts_without,
    coverage,
    covered_modes,
)
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.dashboard_load import load_dashboards
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.drills import drill_plans
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.load import load_catalogue
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.rules import rules_of
from ansible_collections.k2.hardening.plugins.module_utils.cli.inventory import load_profile
from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.notation import labels_of, values_of
from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.plan import read_plans, rounds_of
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.runbooks import known_runbooks

INVENTORY = Path(__file__).resolve().parents[3] / "inventory" / "lab"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile(str(INVENTORY), "localhost")


def rows(catalogue: Catalogue, profile: Profile, **left_out: str) -> Mapping[str, CoverageRow]:
    missing = {**rules_of(catalogue, profile).left_out, **left_out}
    found = coverage(catalogue, load_dashboards(), covered_modes(profile), known_runbooks(profile), missing)
    return {row.mode: row for row in found}


def test_every_failure_mode_has_an_alert_a_panel_and_a_runbook(catalogue: Catalogue, profile: Profile) -> None:
    assert {row.mode: row.holes for row in rows(catalogue, profile).values() if row.holes} == {}
    assert set(rows(catalogue, profile)) == {*profile.failure_modes, "crash"}


def test_every_alert_has_its_dashboard_and_its_runbook(catalogue: Catalogue, profile: Profile) -> None:
    assert alerts_without(catalogue, load_dashboards(), known_runbooks(profile)) == []


def test_an_alert_that_is_not_deployed_covers_nothing(catalogue: Catalogue, profile: Profile) -> None:
    names = [alert.name for alert in catalogue.alerts.values() if "clickhouse_restart" in alert.failure_modes]
    row = rows(catalogue, profile, **dict.fromkeys(names, "nothing tells it"))["clickhouse_restart"]
    assert row.alerts == ()
    assert row.holes[0] == "no alert"
    assert f"{names[0]} is not deployed: nothing tells it" in row.holes
    assert "no panel shows what its alerts read" in row.holes


def test_a_mode_that_nobody_wrote_of_and_a_panel_that_is_gone_are_holes(catalogue: Catalogue, profile: Profile) -> None:
    (row,) = coverage(catalogue, (), ["offload_down"], (), {})
    assert row.holes == ("no panel shows what its alerts read", "no runbook")
    (row,) = coverage(catalogue, load_dashboards(), ["a_new_mode"], known_runbooks(profile), {})
    assert row.holes == ("no alert", "no panel shows what its alerts read", "no runbook")


# -- how they are drilled --------------------------------------------------------------------------------------------


def plans(catalogue: Catalogue, profile: Profile) -> dict[str, dict[str, Any]]:
    return {plan["name"]: plan for plan in drill_plans(catalogue, rules_of(catalogue, profile), profile)}


def test_every_deployed_alert_has_a_plan_that_can_be_read(catalogue: Catalogue, profile: Profile) -> None:
    found = plans(catalogue, profile)
    assert set(found) == {rule.name for rule in rules_of(catalogue, profile).rules}
    read = read_plans(list(found.values()))
    assert not [plan.name for plan in read if plan.undrilled]
    assert {plan.name for plan in read if plan.always} == {"Watchdog"}
    for plan in read:
        if plan.synthetic is not None:
            assert plan.synthetic.why
            for selector, values in {**plan.synthetic.series, **plan.synthetic.quiet}.items():
                assert labels_of(selector)["__name__"]
                assert values_of(values)


def test_what_a_fault_can_cause_is_live_and_few_rounds_are_enough(catalogue: Catalogue, profile: Profile) -> None:
    read = read_plans(list(plans(catalogue, profile).values()))
    rounds = rounds_of(profile, read)
    assert len(rounds) <= 3
    live = {alert.plan.name: alert.labels for each in rounds for alert in each.alerts}
    assert live["ServiceDown"]["service"] == "minio"
    assert (
        live["FeedHandlerDown"] | {"exchange": "binance", "service": "feed-handler-binance"} == live["FeedHandlerDown"]
    )
    assert {"ObjectStoreDown", "IcebergOffloadFailure", "MVProcessingDelay", "TargetDown"} <= set(live)


def test_a_fault_that_would_have_to_last_too_long_is_not_tried(catalogue: Catalogue, profile: Profile) -> None:
    assert profile.alerting is not None
    slow = replace(profile, alerting=replace(profile.alerting, thresholds={"IcebergOffloadLag": {"lag_s": "1800"}}))
    synthetic = plans(catalogue, slow)["IcebergOffloadLag"]["synthetic"]
    assert synthetic["why"] == "object_store_unavailable would have to last 30m"
    assert synthetic["epoch"] == ['watermark_timestamp_seconds{table="silver"}']
    assert synthetic["labels"] == {"table": "silver"}


def test_a_mode_that_the_platform_does_not_have_is_a_reason(catalogue: Catalogue, profile: Profile) -> None:
    modes = {name: mode for name, mode in profile.failure_modes.items() if name != "object_store_unavailable"}
    found = plans(catalogue, replace(profile, failure_modes=modes))
    assert found["ObjectStoreDown"]["synthetic"]["why"] == "the platform has no failure mode object_store_unavailable"
