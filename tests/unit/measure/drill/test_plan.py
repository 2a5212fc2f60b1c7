# SPDX-License-Identifier: Apache-2.0
"""Which faults are held side by side, and what a drill refuses."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.plan import (
    DrillPlanError,
    chosen,
    mode_named,
    read_plans,
    rounds_of,
)
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile


def mode(*services: str, action: str = "stop") -> dict[str, Any]:
    return {
        "services": list(services),
        "action": action,
        "duration_s": 5,
        "max_recovery_s": 30,
        "recovery_at": "served",
    }


@pytest.fixture
def profile() -> Profile:
    return parse_profile(
        {
            "k2_platform": {"name": "spot", "scale": "lab", "runtime": "docker"},
            "k2_services": {
                "feed-a": {"kind": "feed-handler", "exchange": "a", "tier": "hot", "allow_faults": True},
                "feed-b": {"kind": "feed-handler", "exchange": "b", "tier": "hot", "allow_faults": True},
                "log": {"kind": "broker", "tier": "hot", "allow_faults": True},
                "store": {"kind": "object-store", "tier": "cold", "allow_faults": True},
                "worker": {"kind": "worker", "tier": "cold", "allow_faults": True},
                "board": {"kind": "dashboard", "allow_faults": True},
            },
            "k2_failure_modes": {
                "feed_cut": mode("feed-a"),
                "feed_crash": mode("feed-a", "feed-b", action="kill"),
                "log_down": mode("log"),
                "store_down": mode("store"),
                "worker_down": mode("worker"),
                "never": {**mode("store"), "not_applicable": "there are two"},
            },
        }
    )


def live(name: str, mode_name: str, hold_s: float = 0.0, **more: Any) -> dict[str, Any]:
    return {"name": name, "mode": mode_name, "hold_s": hold_s, **more}


def rounds(profile: Profile, *plans: dict[str, Any]) -> list[set[str]]:
    return [{str(fault) for fault in each.faults} for each in rounds_of(profile, read_plans(plans))]


def test_faults_that_leave_each_other_alone_are_held_together(profile: Profile) -> None:
    assert rounds(profile, live("A", "feed_cut"), live("B", "store_down", 60), live("C", "store_down")) == [
        {"feed_cut on feed-a", "store_down on store"}
    ]


def test_a_mode_with_several_services_takes_one_that_nothing_else_breaks(profile: Profile) -> None:
    assert rounds(profile, live("A", "feed_crash"), live("B", "feed_cut")) == [
        {"feed_crash on feed-b", "feed_cut on feed-a"}
    ]


def test_what_all_share_has_a_round_of_its_own_and_long_ones_come_first(profile: Profile) -> None:
    assert rounds(profile, live("A", "log_down", 5), live("B", "store_down", 60), live("C", "feed_cut")) == [
        {"store_down on store", "feed_cut on feed-a"},
        {"log_down on log"},
    ]


def test_a_worker_that_is_down_starts_no_run_that_could_fail(profile: Profile) -> None:
    assert len(rounds(profile, live("A", "store_down"), live("B", "worker_down"))) == 2


def test_the_service_that_is_broken_is_part_of_the_expected_labels(profile: Profile) -> None:
    (each,) = rounds_of(profile, read_plans([live("A", "store_down", labels={"team": "t"}, of_service=True)]))
    assert each.alerts[0].labels == {"team": "t", "service": "store"}


def test_crash_stands_for_a_service_without_a_mode_of_its_own(profile: Profile) -> None:
    assert mode_named(profile, "crash").name in ("crash_log", "crash_store", "crash_worker", "crash_board")


@pytest.mark.parametrize("name", ["store_dwon", "never"])
def test_a_mode_that_the_platform_does_not_have_is_refused(profile: Profile, name: str) -> None:
    with pytest.raises(DrillPlanError, match=name if name != "never" else "there are two"):
        rounds(profile, live("A", name))


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ({"name": "A"}, "0 ways"),
        ({"name": "A", "mode": "store_down", "always": True}, "2 ways"),
        ({"mode": "store_down"}, "name"),
        ({"name": "A", "synthetic": {"why": "x"}}, "interval_s"),
    ],
)
def test_a_plan_that_says_too_little_or_too_much_is_refused(plan: dict[str, Any], told: str) -> None:
    with pytest.raises(DrillPlanError, match=told):
        read_plans([plan])


def test_two_plans_of_one_name_are_refused() -> None:
    with pytest.raises(DrillPlanError, match="share a name"):
        read_plans([live("A", "store_down"), live("A", "feed_cut")])


def test_an_unknown_alert_names_the_nearest() -> None:
    plans = read_plans([live("ServiceDown", "store_down")])
    assert chosen(plans, ()) == plans
    with pytest.raises(DrillPlanError, match="ServiceDown"):
        chosen(plans, ["ServiceDwon"])
