# SPDX-License-Identifier: Apache-2.0
"""S3: every service crashes, listed or not, and planning, watching and judging agree on whom a fault may hurt."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.profile.failures import (
    affected_exchanges,
    all_modes,
    crash_modes,
    may_touch,
)
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import FaultAction, Profile, RecoveryPoint
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import ProfileError, parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.references import contradictions

# Betting, not market data: no name in here may mean anything to the code.
BETTING: dict[str, Any] = {
    "k2_platform": {"name": "betting", "scale": "full", "runtime": "docker"},
    "k2_services": {
        "bookies": {"kind": "source", "allow_faults": True},
        "odds-uk": {"kind": "feed-handler", "exchange": "uk", "tier": "hot", "allow_faults": True},
        "odds-ie": {"kind": "feed-handler", "exchange": "ie", "tier": "hot", "allow_faults": True},
        "log": {"kind": "broker", "tier": "hot", "allow_faults": True},
        "slips": {"kind": "database", "tier": "warm", "port": 8123, "allow_faults": True},
        "ledger-db": {"kind": "database", "tier": "cold", "port": 5432, "allow_faults": True},
        "archiver": {"kind": "worker", "tier": "cold", "allow_faults": True},
        "board": {"kind": "dashboard", "allow_faults": True},
        "vault": {"kind": "service"},
        "printer": {"kind": "service", "allow_faults": True, "restart_expected": False},
        "mailer": {"kind": "service", "allow_faults": True, "not_available": "no licence"},
        "seed": {"kind": "service", "lifecycle": "one-shot", "allow_faults": True},
    },
    "k2_broker": {"bootstrap": "b:9092", "topics": {"uk": {"raw": "uk.in"}, "ie": {"raw": "ie.in"}}},
    "k2_clickhouse": {"host": "h", "port": 8123, "username": "u", "password": "", "database": "d"},
    "k2_failure_modes": {
        "log_restart": {"services": ["log"], "action": "restart", "max_recovery_s": 10, "affects": ["board"]},
        "odds_crash": {"services": ["odds-uk", "odds-ie"], "action": "kill", "max_recovery_s": 5},
        "no_cut": {
            "services": ["odds-uk"],
            "action": "cut_source",
            "duration_s": 30,
            "max_recovery_s": 30,
            "recovery_from": "heal",
        },
        "archive_off": {"services": ["archiver"], "action": "stop", "duration_s": 9, "max_recovery_s": 60},
    },
}


def profile(**modes: Any) -> Profile:
    data = copy.deepcopy(BETTING)
    data["k2_failure_modes"] |= modes
    return parse_profile(data)


def findings(**mode: Any) -> list[str]:
    whole = profile(extra={"services": ["board"], "action": "stop", "duration_s": 1, "max_recovery_s": 5} | mode)
    return [finding.text for finding in contradictions(whole) if finding.path == "k2_failure_modes.extra"]


def refused(**mode: Any) -> dict[str, str]:
    with pytest.raises(ProfileError) as caught:
        profile(extra={"services": ["board"], "action": "kill", "max_recovery_s": 5} | mode)
    return {problem.path: str(problem) for problem in caught.value.problems}


def test_every_other_service_crashes_without_being_listed() -> None:
    names = [mode.name for mode in crash_modes(profile())]
    assert names == ["crash_log", "crash_slips", "crash_ledger-db", "crash_archiver", "crash_board"]


def test_a_crash_has_30_s_to_be_served_again_and_may_lose_nothing() -> None:
    for mode in crash_modes(profile()):
        assert (mode.action, mode.max_recovery_s, mode.max_loss_s) == (FaultAction.KILL, 30.0, 0.0)
        assert mode.recovery_at is RecoveryPoint.SERVED
        assert mode.loss.value == "none"


def test_a_mode_that_is_not_applicable_takes_no_crash_away() -> None:
    modes = crash_modes(
        profile(x={"services": ["board"], "action": "kill", "max_recovery_s": 1, "not_applicable": "none"})
    )
    assert "crash_board" in [mode.name for mode in modes]


def test_a_crash_that_is_written_down_replaces_the_implied_one() -> None:
    whole = profile(crash_board={"services": ["board"], "action": "kill", "max_recovery_s": 3})
    (own,) = [mode for mode in all_modes(whole) if mode.name == "crash_board"]
    assert own.max_recovery_s == 3


@pytest.mark.parametrize("change", [{"services": ["archiver"]}, {"action": "restart"}])
def test_the_name_of_a_crash_stands_for_nothing_else(change: dict[str, Any]) -> None:
    with pytest.raises(ProfileError, match="which this name stands for"):
        profile(crash_board={"services": ["board"], "action": "kill", "max_recovery_s": 3} | change)


def test_modes_come_in_order_of_rising_risk() -> None:
    order = [mode.name for mode in all_modes(profile())]
    assert order[:3] == ["crash_ledger-db", "crash_archiver", "crash_board"]
    assert order[3:6] == ["archive_off", "odds_crash", "no_cut"]
    assert set(order[6:]) == {"log_restart", "crash_log", "crash_slips"}
    assert len(order) == len(set(order))


@pytest.mark.parametrize(
    ("service", "exchanges"),
    [
        ("odds-uk", ("uk",)),
        ("log", ("ie", "uk")),
        ("slips", ("ie", "uk")),
        ("ledger-db", ()),
        ("bookies", ("ie", "uk")),
    ],
)
def test_which_flows_may_stop_follows_from_the_part_of_the_service(service: str, exchanges: tuple[str, ...]) -> None:
    whole = profile(x={"services": [service], "action": "restart", "max_recovery_s": 1})
    assert affected_exchanges(whole, whole.failure_modes["x"], whole.services[service]) == exchanges


def test_which_flows_may_stop_can_be_said() -> None:
    whole = profile(x={"services": ["log"], "action": "restart", "max_recovery_s": 1, "affects_exchanges": []})
    assert affected_exchanges(whole, whole.failure_modes["x"], whole.services["log"]) == ()


def test_a_killed_run_stops_no_flow() -> None:
    whole = profile(x={"services": ["log"], "action": "kill_run", "max_recovery_s": 1})
    assert affected_exchanges(whole, whole.failure_modes["x"], whole.services["log"]) == ()


@pytest.mark.parametrize(
    ("mode", "target", "watched", "exchange", "touched"),
    [
        ("log_restart", "log", "log", None, True),
        ("log_restart", "log", "board", None, True),
        ("log_restart", "log", "odds-uk", None, False),
        ("log_restart", "log", None, "uk", True),
        # Two services of one mode are hit one after the other: the other is out of reach while this one is.
        ("odds_crash", "odds-uk", "odds-ie", None, False),
        ("odds_crash", "odds-uk", None, "ie", False),
        ("no_cut", "odds-uk", None, "uk", True),
    ],
)
def test_what_a_fault_may_touch(
    mode: str, target: str, watched: str | None, exchange: str | None, touched: bool
) -> None:
    whole = profile()
    assert may_touch(whole, whole.failure_modes[mode], whole.services[target], watched, exchange) is touched


def test_a_crash_affects_whom_the_modes_of_its_service_affect_and_the_hot_path_where_all_goes_through_it() -> None:
    crashes = {mode.name: mode.affects for mode in crash_modes(profile())}
    assert crashes["crash_log"] == ("board", "odds-ie", "odds-uk", "slips")
    assert crashes["crash_board"] == ()


def test_a_backlog_counts_where_the_service_is_hot() -> None:
    modes = profile().failure_modes
    assert modes["log_restart"].recovery_at is RecoveryPoint.DRAINED
    assert modes["archive_off"].recovery_at is RecoveryPoint.SERVED


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ({"duration_s": 0}, "which is 0"),
        ({"action": "restart", "recovery_from": "heal"}, "over in an instant"),
        ({"services": ["printer"], "action": "kill"}, "nothing restarts"),
        ({"services": ["log"], "action": "cut_source"}, "it has none"),
        ({"services": ["archiver"], "action": "kill_run"}, "says nothing of the next run"),
        ({"recovery_at": "next_run"}, "no deployment"),
        ({"services": ["vault"]}, "allow_faults does not permit"),
        ({"services": ["mailer"]}, "not available"),
    ],
)
def test_a_mode_that_would_prove_nothing_is_a_finding(mode: dict[str, Any], says: str) -> None:
    (text,) = findings(**mode)
    assert says in text


def test_a_mode_that_proves_something_is_none() -> None:
    assert findings() == []


@pytest.mark.parametrize(
    ("mode", "path", "says"),
    [
        ({"affects": ["bord"]}, "k2_failure_modes.extra.affects", "did you mean 'board'"),
        ({"affects_exchanges": ["u"]}, "k2_failure_modes.extra.affects_exchanges", "an exchange of the platform"),
        ({"action": "cut_sorce"}, "k2_failure_modes.extra.action", "did you mean 'cut_source'"),
        ({"recovery_at": "servd"}, "k2_failure_modes.extra.recovery_at", "did you mean 'served'"),
        ({"afects": []}, "k2_failure_modes.extra.afects", "did you mean 'affects'"),
    ],
)
def test_what_is_misspelt_is_refused(mode: dict[str, Any], path: str, says: str) -> None:
    assert says in refused(**mode)[path]
