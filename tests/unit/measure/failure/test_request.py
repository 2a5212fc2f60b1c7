# SPDX-License-Identifier: Apache-2.0
"""What is asked for is one mode on one of its services, or refused with the way out; a plan touches nothing."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import failure_facts as given
import pytest

from ansible_collections.k2.hardening.plugins.module_utils.fault.inject.base import FaultNotPossible
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.request import (
    UNDO_S,
    FailureRequest,
    UnknownFailure,
    at_most_s,
    chosen,
    plan,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import State, Status
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.supervisor import SupervisorRuntime
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

CUT = given.MODES["store_cut"]


def names(mode: str, service: str | None = None, profile: Profile = given.PROFILE) -> tuple[str, str]:
    found, of = chosen(profile, FailureRequest(mode, service))
    return found.name, of.name


def test_the_one_service_of_a_mode_need_not_be_named() -> None:
    assert names("log_restart") == ("log_restart", "log")
    assert names("crash_board") == ("crash_board", "board")
    assert names("odds_crash", "odds-ie") == ("odds_crash", "odds-ie")


@pytest.mark.parametrize(
    ("mode", "service", "says"),
    [
        ("log_restrat", None, r"no failure mode 'log_restrat'.*did you mean 'log_restart'"),
        ("crash_bord", None, "did you mean 'crash_board'"),
        # It crashes in a mode of its own.
        ("crash_odds-uk", None, "no failure mode 'crash_odds-uk'"),
        ("", None, "known names: archive_killed"),
        ("crashes", None, "no failure mode 'crashes'"),
        ("odds_crash", None, r"one service at a time; expected: service to be one of odds-uk, odds-ie; seen: none$"),
        ("odds_crash", "odds-uck", "did you mean 'odds-uk'"),
        ("log_restart", "store", r"one of log; seen: store; do: known names: log"),
        ("log_restart", "", "one service at a time"),
    ],
)
def test_what_is_none_of_this_platform_is_refused_with_the_way_out(mode: str, service: str | None, says: str) -> None:
    with pytest.raises(UnknownFailure, match=says):
        names(mode, service)


def test_a_mode_that_does_not_apply_says_why() -> None:
    whole = given.profile(store_cut=CUT | {"not_applicable": "it has no network"})
    with pytest.raises(UnknownFailure, match="not_applicable: it has no network"):
        names("store_cut", profile=whole)


def test_recovery_is_watched_beyond_the_target_and_the_whole_ends_after_every_wait_in_it() -> None:
    request = FailureRequest("store_cut", steady_timeout_s=20)
    mode, _ = chosen(given.PROFILE, request)
    assert request.watch_of(mode) > mode.max_recovery_s
    assert at_most_s(request, mode) > 20 + request.watch_of(mode) + mode.duration_s
    run = chosen(given.PROFILE, FailureRequest("archive_killed"))[0]
    waits = FailureRequest("archive_killed", watch_s=1, run_timeout_s=500)
    assert at_most_s(waits, run) - at_most_s(replace(waits, run_timeout_s=0), run) == 500


@pytest.fixture
def platform(tmp_path: Path) -> Profile:
    """The platform, with a supervisor that is not there."""
    data = copy.deepcopy(given.PROFILE_DATA)
    data["k2_platform"]["runtimes"]["supervisor"]["socket"] = str(tmp_path / "s.sock")
    data["k2_services"]["vault"] = {"kind": "service"}
    data["k2_failure_modes"]["vault_stop"] = {
        "services": ["vault"],
        "action": "stop",
        "duration_s": 1,
        "max_recovery_s": 5,
    }
    return parse_profile(data)


def seen_as(status: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SupervisorRuntime, "status", lambda *_: status)


def planned(platform: Profile, mode: str, service: str | None = None, **waits: Any) -> dict[str, Any]:
    return plan(platform, FailureRequest(mode, service, **waits))


def test_a_plan_tells_all_that_is_going_to_be_done_and_what_is_expected(platform: Profile) -> None:
    found = planned(platform, "archive_off", watch_s=10, steady_timeout_s=5, run_timeout_s=7)
    assert found.keys() == {
        *("mode", "service", "unit", "action", "target", "blast_radius", "undo", "needs_root"),
        *("expected_mechanism", "duration_s", "at_most_s", "expected", "obstacle"),
    }
    assert (found["mode"], found["service"], found["unit"]) == ("archive_off", "archiver", "archiver")
    assert found["action"] == "stop archiver in order for 40 s"
    assert found["expected_mechanism"] == "restarted by the tool"
    assert found["duration_s"] == 40
    assert found["at_most_s"] == 5 + 10 + 7 + 40 + UNDO_S
    assert found["expected"] == {
        "max_recovery_s": 120,
        "recovery_from": "heal",
        "recovery_at": "next_run",
        "loss": "none",
        "max_loss_s": 0.0,
        "may_fail": [],
        "exchanges_may_stop": [],
    }


def test_a_plan_tells_whom_it_may_hurt(platform: Profile) -> None:
    crash = planned(platform, "odds_crash", "odds-ie")
    assert (crash["expected"]["exchanges_may_stop"], crash["duration_s"]) == (["ie"], 0.0)
    assert crash["expected"]["max_loss_s"] == 5
    restart = planned(platform, "log_restart")
    assert sorted(restart["expected"]["exchanges_may_stop"]) == ["ie", "uk"]
    assert restart["expected"]["may_fail"] == ["odds-ie", "odds-uk"]


def test_what_hinders_it_now_is_an_obstacle_and_no_error(
    platform: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert str(tmp_path / "s.sock") in planned(platform, "log_restart")["obstacle"]
    seen_as(Status(State.FAILED, detail="gave up"), monkeypatch)
    assert "state failed (gave up)" in planned(platform, "log_restart")["obstacle"]
    assert list(tmp_path.iterdir()) == []


def test_what_may_never_be_broken_is_an_error(platform: Profile) -> None:
    with pytest.raises(FaultNotPossible, match="allow-list"):
        planned(platform, "vault_stop")
