# SPDX-License-Identifier: Apache-2.0
"""S3 lists every gate of the contract from the first second of a run, with targets that are the profile's."""

from __future__ import annotations

from typing import Any

from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.verdict import catalogue
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import GateResult, Op, Verdict

WORDS = ("recovery", "loss", "isolation", "detection", "restored")


def profile(broker: bool = True, faults: bool = True, **modes: Any) -> Profile:
    data: dict[str, Any] = {
        "k2_platform": {"name": "p", "scale": "lab", "runtime": "docker"},
        "k2_services": {"feed": {"kind": "feed-handler", "allow_faults": faults}, "board": {"kind": "dashboard"}},
        "k2_failure_modes": modes,
    }
    if broker:
        data["k2_broker"] = {"bootstrap": "b:1", "topics": {"nordic": {"raw": "r"}}}
    return parse_profile(data)


def listed(whole: Profile, *steps: str) -> dict[str, GateResult]:
    return {gate.spec.id: gate for gate in catalogue.not_run(whole, steps or ("S3",)) if gate.spec.id.startswith("S3.")}


CRASH = {"services": ["feed"], "action": "kill", "max_recovery_s": 5, "loss": "outage", "max_loss_s": 4}
STOP = {"services": ["feed"], "action": "stop", "duration_s": 9, "max_recovery_s": 7}


def test_a_mode_has_five_gates_and_an_unlisted_crash_one() -> None:
    gates = listed(profile(feed_stop=STOP))
    assert set(gates) == {
        *(f"S3.feed_stop.{word}" for word in WORDS),
        "S3.crash_feed.recovery",
        "S3.audit",
        "S3.mttr_30s",
    }


def test_a_crash_that_is_written_down_has_five() -> None:
    assert f"S3.crash_feed.{WORDS[1]}" in listed(profile(crash_feed=CRASH))


def test_targets_are_the_profiles() -> None:
    gates = listed(profile(feed_crash=CRASH, feed_stop=STOP))
    found = {name: (gate.spec.op, gate.spec.target, gate.spec.unit) for name, gate in gates.items()}
    assert found["S3.feed_crash.recovery"] == (Op.LT, 5, "s")
    assert found["S3.feed_crash.loss"] == (Op.LT, 4, "s")
    assert found["S3.feed_stop.loss"] == (Op.EQ, 0, "records")
    assert found["S3.feed_stop.restored"] == (Op.EQ, 0, "differences")
    assert found["S3.mttr_30s"] == (Op.LT, 30, "s")


def test_all_wait_and_block_but_what_nobody_can_tell_yet() -> None:
    for name, gate in listed(profile(feed_crash=CRASH)).items():
        assert gate.verdict is Verdict.NOT_RUN
        assert gate.spec.blocking is not name.endswith(".detection")


def test_a_step_that_is_not_selected_does_not_block() -> None:
    assert not any(gate.spec.blocking for gate in listed(profile(feed_crash=CRASH), "S0").values())


def test_a_mode_that_the_platform_cannot_have_is_not_applicable_and_says_why() -> None:
    gates = listed(profile(x=CRASH | {"not_applicable": "runs twice"}))
    for word in WORDS:
        assert (gates[f"S3.x.{word}"].verdict, gates[f"S3.x.{word}"].reason) == (Verdict.NOT_APPLICABLE, "runs twice")
    assert gates["S3.mttr_30s"].verdict is Verdict.NOT_RUN


def test_without_a_broker_there_is_no_ledger() -> None:
    gates = listed(profile(broker=False, feed_crash=CRASH))
    assert gates["S3.feed_crash.loss"].verdict is Verdict.NOT_APPLICABLE
    assert gates["S3.audit"].verdict is Verdict.NOT_APPLICABLE
    assert gates["S3.feed_crash.recovery"].verdict is Verdict.NOT_RUN


def test_a_platform_that_allows_no_fault_has_nothing_to_prove_here() -> None:
    gates = listed(profile(faults=False))
    assert {gate.verdict for gate in gates.values()} == {Verdict.NOT_APPLICABLE}
