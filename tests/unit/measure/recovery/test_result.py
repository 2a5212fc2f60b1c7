"""The result is plain data of the agreed shape, whatever is not known of it."""

from __future__ import annotations

import json
from dataclasses import replace

from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.combine import Expectation, combine
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.model import Lane, LaneKind, Span
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.result import (
    FailureResult,
    LaneResult,
    RecoveryAt,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.timeline import outage_of
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import RecoveryPoint

from .test_timeline import ZERO, looks

LANE = Lane("service:a", LaneKind.SERVICE, "a", None, 1.0, 1.0, tuple(looks("++?--+++++++")), 3)
OUTAGE = outage_of(LANE, ZERO, 3.0)
QUIET = {"seen": [], "why": ""}
RESULT = FailureResult(
    mode="a_crash", service="a", unit="a", runtime="supervisor", action="kill", boot_id="b", started_us=1,
    duration_s=0.0, plan={"action": "kill"}, zero="injection", baseline_start_ns=8_000_000_000, injected=ZERO,
    healed=None, ended_ns=20_000_000_000, proof={"proven": True, "what": "another pid"}, mechanism="healed itself",
    lanes=(LaneResult(LANE, Expectation.FAILS, OUTAGE),), t1=OUTAGE.t1, t2=OUTAGE.t2, t3=None, t4=None,
    recovery=RecoveryAt(RecoveryPoint.SERVED, Span(2.0, 3.0)), platform=combine({"service:a": OUTAGE}),
    detection=OUTAGE.symptom, drain=None, cold=None, differences=(), undone_by=None, events=QUIET, steady_before=True,
    steady_after=True,
)  # fmt: skip
AGREED = {
    "mode", "service", "unit", "runtime", "action", "boot_id", "started_us", "duration_s", "plan", "zero",
    "baseline_start_ns", "injected", "healed", "ended_ns", "proof", "mechanism", "lanes", "t1_s", "t2_s", "t3_s",
    "t4_s", "recovery", "shorter_than_s", "detection", "drain", "cold", "restored", "undone_by", "events",
    "steady_before", "steady_after", "n", "undone_before", "problems", "error",
}  # fmt: skip


def test_the_plain_result_has_every_agreed_key_and_survives_json():
    plain = RESULT.to_plain()
    assert set(plain) == AGREED | {"at_least_s", "why", "silence"}
    assert json.loads(json.dumps(plain)) == plain
    assert plain["injected"] == [10_000_000_000, 10_000_000_000]
    assert plain["recovery"] == {"point": "served", "low_s": 2.0, "high_s": 3.0}
    assert plain["detection"] == {"health": [0.0, 1.1], "alerts": None}


def test_a_lane_tells_its_samples_from_the_start_of_the_baseline():
    (lane,) = RESULT.to_plain()["lanes"]
    assert (lane["kind"], lane["expected"], lane["skipped"]) == ("service", "fails", 3)
    assert lane["samples"][1] == [1000.0, 1100.0, 1, ""]
    assert lane["samples"][2] == [2000.0, 2100.0, 0, "shows nothing: "]
    assert lane["outage"]["fails"] == 2
    assert {"symptom", "lower_s", "upper_s", "t1", "t2", "shorter_than_s", "n"} <= set(lane["outage"])


def test_what_is_not_known_is_null():
    nothing = replace(RESULT, injected=None, lanes=(), t1=None, t2=None, recovery=None, platform=None, detection=None)
    plain = nothing.to_plain()
    keys = ("injected", "t1_s", "t2_s", "recovery", "shorter_than_s")
    assert all(plain[key] is None for key in keys)
    assert json.dumps(plain)
