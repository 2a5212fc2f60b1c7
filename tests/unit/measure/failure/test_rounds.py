# SPDX-License-Identifier: Apache-2.0
"""Failure modes come in rounds, in order of rising risk; neighbouring crashes share one; a wrong choice is refused."""

from __future__ import annotations

from typing import Any

import failure_facts as given
import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.request import FailureRequest, UnknownFailure
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.rounds import Round, rounds, to_plain

EVERY = [
    ["archive_killed"],
    ["crash_archiver", "crash_board"],
    ["archive_off"],
    ["odds_crash"],
    ["log_restart"],
    ["crash_log", "crash_store"],
    ["store_cut"],
]


def names(found: tuple[Round, ...]) -> list[list[str]]:
    return [[mode.name for mode in each.modes] for each in found]


def chosen(*only: str) -> list[list[str]]:
    return names(rounds(given.PROFILE, only)[0])


def test_a_listed_mode_is_a_round_and_neighbouring_crashes_share_one_in_order_of_rising_risk() -> None:
    found, left = rounds(given.PROFILE)
    assert names(found) == EVERY
    assert [each.implied for each in found] == [False, True, False, False, False, True, False]
    assert left == ()


def test_each_service_of_a_mode_is_a_fault_of_its_own() -> None:
    (found,), _ = rounds(given.PROFILE, ["odds_crash"])
    assert [(mode.name, service) for mode, service in found.faults] == [
        ("odds_crash", "odds-uk"),
        ("odds_crash", "odds-ie"),
    ]


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (["odds_crash"], [["odds_crash"]]),
        (["crash_board"], [["crash_board"]]),
        # The order is that of risk, however they were named, and however often.
        (["store_cut", "odds_crash", "archive_off", "store_cut"], [["archive_off"], ["odds_crash"], ["store_cut"]]),
        # What stood between them is not chosen, so these are neighbours now.
        (["crashes"], [["crash_archiver", "crash_board", "crash_log", "crash_store"]]),
        (["crashes", "crash_log"], [["crash_archiver", "crash_board", "crash_log", "crash_store"]]),
        (["crashes", "odds_crash"], [["crash_archiver", "crash_board"], ["odds_crash"], ["crash_log", "crash_store"]]),
    ],
)
def test_only_what_is_chosen_is_brought_about_and_the_rest_is_named(only: list[str], expected: list[list[str]]) -> None:
    found, left = rounds(given.PROFILE, only)
    assert names(found) == expected
    picked = [name for each in expected for name in each]
    assert list(left) == [name for each in EVERY for name in each if name not in picked]


def test_a_crash_that_the_profile_lists_is_no_implied_one() -> None:
    mode = {"services": ["board"], "action": "kill", "max_recovery_s": 3, "recovery_at": "served"}
    whole = given.profile(crash_board=mode)
    found, _ = rounds(whole, ["crash_board", "crashes"])
    assert names(found) == [["crash_board"], ["crash_archiver", "crash_log", "crash_store"]]
    assert [each.implied for each in found] == [False, True]


def test_a_mode_that_does_not_apply_is_neither_done_nor_left() -> None:
    whole = given.profile(store_cut=given.MODES["store_cut"] | {"not_applicable": "it has no network"})
    found, left = rounds(whole, ["odds_crash"])
    assert names(found) == [["odds_crash"]]
    assert "store_cut" not in left
    with pytest.raises(UnknownFailure, match="'store_cut'"):
        rounds(whole, ["store_cut"])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("odds_crsh", "did you mean 'odds_crash'"),
        ("crash_bord", "did you mean 'crash_board'"),
        ("crashs", "did you mean 'crashes'"),
        ("zzz", "known names: archive_killed"),
        ("", "known names"),
    ],
)
def test_a_name_that_is_none_is_refused_with_the_nearest(name: str, says: str) -> None:
    with pytest.raises(UnknownFailure, match=says):
        rounds(given.PROFILE, ["odds_crash", name])


def plain(*only: str) -> list[dict[str, Any]]:
    return to_plain(given.PROFILE, rounds(given.PROFILE, only)[0], FailureRequest(""))


def test_a_round_of_crashes_is_called_by_its_services_and_takes_as_long_as_all_of_them() -> None:
    (together,) = plain("crash_board", "crash_archiver")
    assert together["name"] == "2 crashes: archiver, board"
    assert together["modes"] == ["crash_archiver", "crash_board"]
    (board,), (archiver,) = plain("crash_board"), plain("crash_archiver")
    assert (board["name"], board["implied"]) == ("crash_board", True)
    for seconds in ("at_most_s", "likely_s"):
        assert together[seconds] == board[seconds] + archiver[seconds]
    assert 0 < together["likely_s"] < together["at_most_s"]


def test_a_fault_that_cannot_be_now_is_listed_with_its_obstacle() -> None:
    (found,) = plain("odds_crash")
    assert [fault["service"] for fault in found["faults"]] == ["odds-uk", "odds-ie"]
    # There is no supervisor at the socket of this profile.
    assert all("/run/s.sock" in fault["obstacle"] for fault in found["faults"])


def test_a_mode_that_hits_a_run_is_given_the_time_until_one_is_due() -> None:
    (killed,), (off,) = plain("archive_killed"), plain("archive_off")
    # Runs are due each 30 s, and the other is held for 40.
    assert off["likely_s"] - killed["likely_s"] == 40 - 30
