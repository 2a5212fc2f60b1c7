# SPDX-License-Identifier: Apache-2.0
"""S3.<mode>.recovery passes by the upper bound, on proof, and where somebody watched; nothing else may look good."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import failure_facts as given
import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.verdict.failure import decide_failure
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Decided, Scale, Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
Fault = dict[str, Any]
Change = Callable[[Fault], None]


def recovery(mode: str, *faults: Fault, profile: Profile = given.PROFILE) -> Decided:
    facts = {"mode": mode, "failures": list(faults), "loads": [given.load()], "audit": given.audit()}
    return {one.result.spec.id: one for one in decide_failure(profile, facts, Scale.LAB)}[f"S3.{mode}.recovery"]


def verdict(mode: str, *faults: Fault) -> tuple[Verdict, str]:
    result = recovery(mode, *faults).result
    return result.verdict, result.reason


def lane(fault: Fault, name: str) -> dict[str, Any]:
    return next(lane for lane in fault["lanes"] if lane["name"] == name)


def each_look(fault: Fault, names: tuple[str, ...], change: Callable[[float, list[Any]], list[Any] | None]) -> None:
    """Replace looks, given their start in seconds after the fault; None drops one."""
    for name in names:
        found = lane(fault, name)
        looks = [change(look[0] / 1e3 - given.QUIET_S, look) for look in found["samples"]]
        found["samples"] = [look for look in looks if look is not None]


LOG = ("process:log", "service:log")


def no_lanes(fault: Fault) -> None:
    fault["lanes"] = []


def empty_lanes(fault: Fault) -> None:
    each_look(fault, LOG, lambda _at, _look: None)


def not_looked_at_during_the_fault(fault: Fault) -> None:
    each_look(fault, LOG, lambda at, look: look if at < 0 else None)


def not_well_before(fault: Fault) -> None:
    each_look(fault, LOG, lambda at, look: look if at >= 0 else [*look[:2], 0, "refused"])


def not_looked_at_before(fault: Fault) -> None:
    each_look(fault, LOG, lambda at, look: look if at >= 0 else None)


def watched_too_shortly_after(fault: Fault) -> None:
    each_look(fault, LOG, lambda at, look: look if at < 2.6 else None)


def failed_again(fault: Fault) -> None:
    each_look(fault, LOG, lambda at, look: look if not 7 <= at < 7.5 else [*look[:2], 0, "refused"])


def no_flow(fault: Fault) -> None:
    fault["lanes"] = [lane for lane in fault["lanes"] if lane["kind"] != "flow"]


def set_to(**changes: Any) -> Change:
    def change(fault: Fault) -> None:
        assert set(changes) <= set(fault)
        fault.update(copy.deepcopy(changes))

    return change


# Every way in which a restart may look good without being so: what is changed, and what the verdict says of it.
LOOKS_GOOD: dict[str, tuple[Change, str]] = {
    "no proof": (set_to(proof={"proven": False, "what": "the pid is still 41"}), "the pid is still 41"),
    "nobody looked for proof": (set_to(proof=None), "no proof"),
    "a text for proof": (set_to(proof={"proven": "yes", "what": "it seemed so"}), "no proof"),
    "no injection": (set_to(injected=None), "no proof"),
    "sick before": (set_to(steady_before=False), "not steady before"),
    "sick after": (set_to(steady_after=False), "not steady afterwards"),
    "nobody knows whether it was steady after": (set_to(steady_after=None), "not steady afterwards"),
    "recovery not known": (set_to(recovery=None), "not known when it was back"),
    "recovery and its times not known": (set_to(recovery=None, t2_s=None, t3_s=None), "not known when it was back"),
    "not served": (set_to(t2_s=None), "not seen to be served"),
    "not drained": (set_to(t3_s=None), "were not seen to be as fresh"),
    "drain not watched": (set_to(drain=None), "not seen to be drained"),
    "drain of nothing": (set_to(drain={"target": {}, "reached": True, "why": ""}), "no consumer group"),
    "drain of no target": (set_to(drain={"target": None, "reached": True, "why": ""}), "no consumer group"),
    "drain not reached, early": (
        set_to(drain={"target": {"uk.in": {"0": 9}}, "reached": False, "why": "9 to go"}, ended_ns=given.at(5)),
        "9 to go",
    ),
    "another point": (set_to(recovery={"point": "served", "low_s": 1.0, "high_s": 1.2}), "until served"),
    "another time zero": (set_to(zero="heal", healed=[given.at(1), given.at(1.1)]), "from the heal"),
    "mechanism not known": (set_to(mechanism=None), "what brought it back"),
    "undone by the watchdog": (set_to(undone_by="watchdog"), "the watchdog"),
    "problems": (set_to(problems=["the samplers were starved"]), "starved"),
    "an error": (set_to(error="the module was killed"), "the module was killed"),
    "not even once": (set_to(n=0), "not measured even once"),
    "no lanes": (no_lanes, "nobody watched log"),
    "empty lanes": (empty_lanes, "not seen to be well before"),
    "no looks during the fault": (not_looked_at_during_the_fault, "not looked at during the fault"),
    "not well before": (not_well_before, "not seen to be well before"),
    "no looks before": (not_looked_at_before, "not seen to be well before"),
    "too few looks after": (watched_too_shortly_after, "at least 5 are needed"),
    "failed again": (failed_again, "failed again"),
    "no flow was watched": (no_flow, "nobody watched the flow"),
}


def test_a_restart_that_is_back_in_time_passes_by_its_upper_bound() -> None:
    result = recovery("log_restart", given.fault("log_restart", "log")).result
    assert result.verdict is PASS
    assert (result.measured, result.low, result.high, result.n) == (3.25, 1.75, 3.25, 1)


@pytest.mark.parametrize("what", LOOKS_GOOD)
def test_what_only_looks_good_is_inconclusive_and_says_why(what: str) -> None:
    change, says = LOOKS_GOOD[what]
    fault = given.fault("log_restart", "log")
    change(fault)
    assert verdict("log_restart", fault)[0] is INCONCLUSIVE
    assert says in verdict("log_restart", fault)[1]


@settings(deadline=None, max_examples=60)
@for_all(st.sets(st.sampled_from(sorted(LOOKS_GOOD)), min_size=1, max_size=4))
def test_no_two_wrongs_make_it_pass(whats: set[str]) -> None:
    fault = given.fault("log_restart", "log")
    for what in sorted(whats):
        try:
            LOOKS_GOOD[what][0](fault)
        except StopIteration:
            continue  # a lane that another one took away
    assert recovery("log_restart", fault).result.verdict is not PASS


@settings(deadline=None, max_examples=60)
@for_all(st.floats(0.5, 20.0), st.floats(0.0, 5.0))
def test_it_passes_only_below_its_target_and_fails_only_above(low: float, width: float) -> None:
    fault = given.fault("log_restart", "log", t2_s=[low, low + width], t3_s=[low, low + width])
    fault["recovery"] = {"point": "drained", "low_s": low, "high_s": low + width}
    each_look(fault, LOG, lambda at, look: [*look[:2], int(not 0 <= at < low), ""])
    found = recovery("log_restart", fault).result.verdict
    assert (found is PASS) == (low + width < 10)
    assert (found is FAIL) == (low >= 10)


def test_what_straddles_the_target_is_inconclusive() -> None:
    fault = given.fault("log_restart", "log", recovery={"point": "drained", "low_s": 1.75, "high_s": 10.5})
    assert verdict("log_restart", fault)[0] is INCONCLUSIVE


def test_two_tellings_of_a_time_count_by_the_worse() -> None:
    fault = given.fault("log_restart", "log", recovery={"point": "drained", "low_s": 0.1, "high_s": 0.2})
    assert recovery("log_restart", fault).result.high == 3.25


def test_a_slow_recovery_fails_by_its_lower_bound() -> None:
    found, reason = verdict("log_restart", given.fault("log_restart", "log", 12.0))
    assert found is FAIL
    assert "at least 11.8 s" in reason


@pytest.mark.parametrize("mechanism", ["restarted by the tool", "healed itself"])
def test_a_crash_that_its_supervisor_did_not_mend_fails_however_quick(mechanism: str) -> None:
    faults = [given.fault("odds_crash", name, 0.5, mechanism=mechanism) for name in ("odds-uk", "odds-ie")]
    found, reason = verdict("odds_crash", *faults)
    assert found is FAIL
    assert "expected: restarted by its supervisor" in reason


def never_back(mode: str, service: str, until: float = 40.0) -> Fault:
    fault = given.fault(mode, service, until, ended_ns=given.at(until))
    fault |= {"recovery": None, "t1_s": None, "t2_s": None, "t3_s": None, "steady_after": False, "mechanism": None}
    fault["why"] = "not seen to be well again: process:log"
    return fault


def test_a_target_that_never_comes_back_fails_by_the_last_look_that_failed() -> None:
    result = recovery("log_restart", never_back("log_restart", "log")).result
    assert result.verdict is FAIL
    assert (result.low, result.high) == (pytest.approx(39.74, abs=0.01), None)
    assert "not back after 39.7 s" in result.reason


def test_a_target_that_was_not_watched_as_long_as_it_may_take_is_inconclusive() -> None:
    assert verdict("log_restart", never_back("log_restart", "log", 8.0))[0] is INCONCLUSIVE


def test_looks_that_show_nothing_do_not_make_it_fail() -> None:
    fault = never_back("log_restart", "log")
    for name in ("process:log", "service:log", "flow:uk", "flow:ie"):
        each_look(fault, (name,), lambda _at, look: [*look[:2], look[2], look[3] and f"shows nothing: {look[3]}"])
    assert verdict("log_restart", fault)[0] is INCONCLUSIVE


def test_failures_beyond_its_reach_do_not_make_it_fail() -> None:
    fault = given.fault("log_restart", "log", recovery=None, t2_s=None, t3_s=None)
    each_look(fault, ("service:board",), lambda at, look: [*look[:2], int(at < 0), ""])
    assert verdict("log_restart", fault)[0] is INCONCLUSIVE


def test_a_backlog_that_is_not_drained_in_time_fails() -> None:
    drain = {"target": {"uk.in": {"0": 900}}, "reached": False, "why": "17 offsets are not committed"}
    fault = given.fault("log_restart", "log", drain=drain, t3_s=None, recovery=None)
    found, reason = verdict("log_restart", fault)
    assert found is FAIL
    assert "17 offsets" in reason


# -- too short to be seen ----------------------------------------------------------------------------------------------


def blink(shorter_s: float | None = 0.26, **changes: Any) -> Fault:
    fault = given.fault("crash_board", "board", 0.0, t1_s=None, t2_s=None, recovery=None, shorter_than_s=shorter_s)
    fault["detection"]["health"] = None
    return fault | changes


def test_a_fault_that_no_look_saw_passes_on_its_proof_and_says_so() -> None:
    result = recovery("crash_board", blink()).result
    assert result.verdict is PASS
    assert "shorter than" in result.reason
    assert "pid 41 became pid 97" in result.reason


def test_a_fault_that_no_look_saw_and_nothing_proves_does_not_pass() -> None:
    unproven = blink(proof={"proven": False, "what": "the pid is still 41"})
    assert verdict("crash_board", unproven)[0] is INCONCLUSIVE


def test_how_short_it_was_is_what_the_looks_allow_and_not_what_is_said() -> None:
    fault = blink(0.001)
    each_look(fault, ("process:board", "service:board"), lambda at, look: None if 0 <= at < 20 else look)
    found = recovery("crash_board", fault).result
    assert found.verdict is PASS
    assert found.high == pytest.approx(20.255)


def test_too_short_to_be_seen_by_looks_that_are_further_apart_than_the_target_is_inconclusive() -> None:
    fault = blink(0.001, ended_ns=given.at(90))
    fault["lanes"] = given.lanes("board", (), until=90.0)
    each_look(fault, ("process:board", "service:board"), lambda at, look: None if 0 <= at < 40 else look)
    assert verdict("crash_board", fault)[0] is INCONCLUSIVE


def test_looks_that_failed_contradict_that_none_did() -> None:
    fault = blink()
    fault["lanes"] = given.lanes("board", [(0.0, 2.0)])
    assert verdict("crash_board", fault)[0] is INCONCLUSIVE


def test_neither_times_nor_a_bound_is_nothing() -> None:
    assert verdict("crash_board", blink(None))[0] is INCONCLUSIVE


# -- held faults -------------------------------------------------------------------------------------------------------


def test_a_partition_counts_from_its_heal() -> None:
    result = recovery("store_cut", given.fault("store_cut", "store")).result
    assert (result.verdict, result.high) == (PASS, 3.25)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"healed": None}, "not ended"),
        ({"healed": [given.at(12), given.at(12.1)]}, "held for 12.1 s, expected 30 s"),
        ({"zero": "injection"}, "from the injection"),
        ({"lanes": given.lanes("store", (), (), 90.0)}, "they look at something else"),
        ({"recovery": {"point": "drained", "low_s": -9, "high_s": -5}, "t2_s": [-9, -5], "t3_s": [-9, -5]}, "before"),
    ],
)
def test_a_partition_that_was_none_is_inconclusive(changes: dict[str, Any], says: str) -> None:
    found, reason = verdict("store_cut", given.fault("store_cut", "store", **changes))
    assert found is INCONCLUSIVE
    assert says in reason


# -- recoveries by the next run ----------------------------------------------------------------------------------------


def test_a_killed_run_recovers_with_the_next() -> None:
    result = recovery("archive_killed", given.fault("archive_killed", "archiver")).result
    assert (result.verdict, result.high) == (PASS, 43.0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cold": None}, "nobody watched the cold tier"),
        ({"cold": given.cold(failed_run=None)}, "the fault hit none"),
        ({"cold": given.cold(next_run={"id": "r2", "state": "RUNNING"})}, "the next run is RUNNING"),
        ({"t4_s": None}, "no later run was seen"),
        ({"cold": given.cold(next_run=None), "t4_s": None, "recovery": None, "ended_ns": given.at(60)}, "no later run"),
    ],
)
def test_a_killed_run_that_proves_nothing_is_inconclusive(changes: dict[str, Any], says: str) -> None:
    found, reason = verdict("archive_killed", given.fault("archive_killed", "archiver", **changes))
    assert found is INCONCLUSIVE
    assert says in reason


def test_no_next_run_until_the_deadline_fails() -> None:
    changes = {"cold": given.cold(next_run=None, why="2 runs CRASHED"), "t4_s": None, "recovery": None}
    fault = given.fault("archive_killed", "archiver", **changes, ended_ns=given.at(130))
    found, reason = verdict("archive_killed", fault)
    assert found is FAIL
    assert "2 runs CRASHED" in reason


def test_a_stopped_worker_starts_no_run_that_could_fail() -> None:
    fault = given.fault("archive_off", "archiver", cold=given.cold(failed_run=None))
    assert verdict("archive_off", fault)[0] is PASS


# -- a mode with several services --------------------------------------------------------------------------------------


def crashes(*backs: float) -> list[Fault]:
    return [given.fault("odds_crash", name, back) for name, back in zip(("odds-uk", "odds-ie"), backs, strict=False)]


def test_a_mode_is_as_good_as_its_worst_service() -> None:
    result = recovery("odds_crash", *crashes(1.0, 3.0)).result
    assert (result.verdict, result.low, result.high, result.n) == (PASS, 2.75, 3.25, 2)
    assert recovery("odds_crash", *crashes(1.0, 7.0)).result.verdict is FAIL
    assert recovery("odds_crash", *crashes(7.0, 1.0)).result.verdict is FAIL


def test_a_service_that_was_not_broken_is_named_and_keeps_the_mode_from_passing() -> None:
    found, reason = verdict("odds_crash", *crashes(1.0))
    assert found is INCONCLUSIVE
    assert "odds-ie: not broken in this run" in reason
    assert recovery("odds_crash", *crashes(1.0)).result.high is None


def test_no_result_at_all_is_inconclusive() -> None:
    assert verdict("odds_crash")[0] is INCONCLUSIVE


def test_repeats_of_one_service_do_not_stand_for_another() -> None:
    assert verdict("odds_crash", *crashes(1.0), *crashes(1.2))[0] is INCONCLUSIVE


def test_repeats_are_counted_and_the_worst_counts() -> None:
    decided = recovery("odds_crash", *crashes(1.0, 1.0), *crashes(2.0, 1.0))
    assert (decided.result.n, decided.result.high) == (4, 2.25)
    assert len(decided.samples) == 4


# -- crashes that nobody listed ----------------------------------------------------------------------------------------


def test_a_crash_is_back_in_30_s_with_the_hot_path_unaffected() -> None:
    assert verdict("crash_board", given.fault("crash_board", "board"))[0] is PASS


@pytest.mark.parametrize("name", ["service:log", "flow:uk"])
def test_a_crash_that_disturbs_the_hot_path_fails_however_quick(name: str) -> None:
    fault = given.fault("crash_board", "board")
    each_look(fault, (name,), lambda at, look: [*look[:2], int(not 1 <= at < 3), ""])
    found, reason = verdict("crash_board", fault)
    assert found is FAIL
    assert "hot path" in reason


def test_a_crash_with_nobody_at_the_hot_path_is_inconclusive() -> None:
    fault = given.fault("crash_board", "board")
    fault["lanes"] = [lane for lane in fault["lanes"] if lane["service"] == "board"]
    assert verdict("crash_board", fault)[0] is INCONCLUSIVE


def test_a_crash_that_disturbs_others_off_the_hot_path_passes() -> None:
    fault = given.fault("crash_board", "board")
    each_look(fault, ("service:archiver",), lambda at, look: [*look[:2], int(not 1 <= at < 3), ""])
    assert verdict("crash_board", fault)[0] is PASS


def test_a_crash_of_what_all_goes_through_may_stop_all() -> None:
    assert verdict("crash_log", given.fault("crash_log", "log"))[0] is PASS


# -- what is no result -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mode": "store_cut"}, "not of log_restart"),
        ({"service": "board"}, "not of log_restart"),
        ({"action": "kill"}, "not of log_restart"),
        ({"t2_s": [3.0, 2.0]}, "ends before it begins"),
        ({"t2_s": [float("nan"), 2.0]}, "is no number"),
        ({"recovery": {"point": "drained", "low_s": 0.0, "high_s": float("inf")}}, "is no number"),
        ({"lanes": [{"name": "x"}]}, "kind"),
        ({"zero": "noon"}, "noon"),
    ],
)
def test_a_result_of_another_shape_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(K2Error, match=says):
        recovery("log_restart", given.fault("log_restart", "log") | changes)


def test_samples_lie_in_a_file_and_not_in_the_evidence() -> None:
    decided = recovery("log_restart", given.fault("log_restart", "log"))
    name = "samples/S3.log_restart.log.json"
    assert set(decided.samples) == {name}
    assert decided.samples[name]["lanes"][0]["samples"]
    (summary,) = decided.detail["results"]
    assert summary["samples_file"] == name
    assert all("samples" not in lane for lane in summary["lanes"])


def archiver_as(kind: str, **changes: Any) -> Profile:
    """The platform with an archiver of another kind, and its modes changed."""
    data = copy.deepcopy(given.PROFILE_DATA)
    data["k2_services"]["archiver"]["kind"] = kind
    data["k2_failure_modes"]["archive_off"] |= changes
    return parse_profile(data)


@pytest.mark.parametrize(("kind", "expected"), [("worker", PASS), ("object-store", INCONCLUSIVE)])
def test_only_who_starts_runs_is_stopped_without_a_run_that_fails(kind: str, expected: Verdict) -> None:
    off = given.fault("archive_off", "archiver", cold=given.cold(failed_run=None))
    result = recovery("archive_off", off, profile=archiver_as(kind)).result
    assert result.verdict is expected, result.reason
    assert ("no run failed" in result.reason) == (expected is INCONCLUSIVE)


def test_a_worker_that_was_away_for_less_than_its_schedule_may_have_missed_no_run() -> None:
    off = given.fault("archive_off", "archiver", cold=given.cold(failed_run=None), duration_s=20.0)
    result = recovery("archive_off", off, profile=archiver_as("worker", duration_s=20)).result
    assert result.verdict is INCONCLUSIVE
    assert "runs are due each 30 s" in result.reason


def test_a_run_that_completes_and_moves_no_watermark_is_no_recovery() -> None:
    still = given.cold(watermark_after={"slips": "2026-01-01T00:00:00Z"}, why="these watermarks did not move on: slips")
    killed = given.fault("archive_killed", "archiver", cold=still, t4_s=None, recovery=None, ended_ns=given.at(150))
    assert verdict("archive_killed", killed)[0] is FAIL
    unread = given.fault("archive_killed", "archiver", cold=given.cold(), t4_s=None, recovery=None)
    assert verdict("archive_killed", unread)[0] is INCONCLUSIVE


def test_a_process_that_runs_serves_nothing_yet() -> None:
    crashed = given.fault("crash_board", "board")
    crashed["lanes"] = [lane for lane in crashed["lanes"] if lane["name"] != "service:board"]
    facts = {"crashes": [crashed], "loads": [given.load()], "audit": given.audit()}
    (one,) = decide_failure(given.PROFILE, facts, Scale.LAB)
    assert one.result.verdict is INCONCLUSIVE
    assert "give k2_services.board a probe" in one.result.reason


def test_a_service_that_could_not_be_broken_again_passes_nothing_and_says_why() -> None:
    facts = {
        "mode": "log_restart",
        "failures": [given.fault("log_restart", "log")],
        "unmeasured": {"log": "the platform is not steady"},
        "loads": [given.load()],
        "audit": given.audit(),
    }
    found = {one.result.spec.id: one.result for one in decide_failure(given.PROFILE, facts, Scale.LAB)}
    for word in ("recovery", "loss", "isolation", "restored"):
        assert found[f"S3.log_restart.{word}"].verdict is INCONCLUSIVE, word
    assert "log: the platform is not steady" in found["S3.log_restart.recovery"].reason


def test_why_there_is_no_audit_is_told() -> None:
    facts = {
        "mode": "log_restart",
        "failures": [given.fault("log_restart", "log")],
        "loads": [given.load()],
        "unaudited": "the broker did not answer",
    }
    found = {one.result.spec.id: one.result for one in decide_failure(given.PROFILE, facts, Scale.LAB)}
    assert found["S3.log_restart.recovery"].verdict is PASS
    assert found["S3.log_restart.loss"].verdict is INCONCLUSIVE
    assert "the broker did not answer" in found["S3.log_restart.loss"].reason
