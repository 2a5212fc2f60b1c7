# SPDX-License-Identifier: Apache-2.0
"""S5.runbook.<mode>: what fails, what proves nothing, and what passes."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.verdict import catalogue
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Scale, Verdict
from ansible_collections.k2.hardening.plugins.module_utils.verdict.runbook import RunbookFactsError, decide_runbooks

PROFILE = parse_profile(
    {
        "k2_platform": {"name": "p", "scale": "lab", "runtime": "docker"},
        "k2_services": {
            "feed": {"kind": "feed-handler", "allow_faults": True},
            "board": {"kind": "dashboard", "allow_faults": True},
        },
        "k2_failure_modes": {
            "feed_crash": {"services": ["feed"], "action": "kill", "max_recovery_s": 5},
            "gone": {"action": "kill", "max_recovery_s": 5, "not_applicable": "no such part"},
        },
    }
)
OK = {"title": "1. Look", "command": "look", "ok": True, "why": ""}
BAD = OK | {"ok": False, "why": "not so: 'Symptom: the command fails'; exit 0"}
GOOD: dict[str, Any] = {
    "mode": "feed_crash",
    "service": "feed",
    "action": "SIGKILL",
    "proof": {"proven": True, "what": "process 4711 is gone"},
    "healthy": [OK],
    "diagnosis": [OK, OK],
    "resolution": [OK],
    "steady": True,
    "not_steady": "",
    "elsewhere": "",
    "recovered_s": [11.5, 14.25],
    "undone_by": "runbook",
    "left": [],
    "error": None,
}


def judged(**changes: Any) -> tuple[Verdict, str]:
    (decided,) = decide_runbooks(PROFILE, {"runbook": "feed_crash", "trial": GOOD | changes}, Scale.LAB)
    return decided.result.verdict, decided.result.reason


def test_a_runbook_that_shows_and_mends_passes_by_its_upper_bound() -> None:
    (decided,) = decide_runbooks(PROFILE, {"runbook": "feed_crash", "trial": GOOD}, Scale.LAB)
    result = decided.result
    assert (result.verdict, result.measured, result.low, result.high, result.n) == (Verdict.PASS, 14.25, 11.5, 14.25, 1)
    assert (result.spec.id, result.spec.target) == ("S5.runbook.feed_crash", 900)
    assert decided.detail["trial"] == GOOD


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"healthy": [BAD]}, "on the healthy platform"),
        ({"diagnosis": [OK, BAD]}, "its diagnosis"),
        ({"resolution": [BAD]}, "its resolution"),
        ({"steady": False, "not_steady": "service:feed fails", "recovered_s": None}, "is not well: service:feed fails"),
        ({"left": ["the restart policy is no"]}, "left behind"),
        ({"recovered_s": [901.0, 902.0]}, "expected < 900"),
        # Wrong on a healthy platform is wrong, whatever became of the fault.
        ({"healthy": [BAD], "proof": {"proven": False, "what": "it still runs"}}, "on the healthy platform"),
    ],
)
def test_a_runbook_that_does_not_hold_fails(changes: dict[str, Any], reason: str) -> None:
    verdict, why = judged(**changes)
    assert verdict is Verdict.FAIL
    assert reason in why


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"proof": {"proven": False, "what": "it still runs"}}, "it still runs"),
        ({"proof": None}, "nothing was seen of it"),
        ({"undone_by": "watchdog"}, "watchdog"),
        ({"error": "the database of watermarks is away"}, "went wrong"),
        ({"elsewhere": "service:board: no answer in time"}, "beyond its reach is not well: service:board"),
        ({"diagnosis": []}, "no command"),
        ({"resolution": []}, "no command"),
        ({"recovered_s": [899.0, 901.0]}, "straddles"),
    ],
)
def test_what_was_not_put_to_the_test_proves_nothing(changes: dict[str, Any], reason: str) -> None:
    verdict, why = judged(**changes)
    assert verdict is Verdict.INCONCLUSIVE
    assert reason in why


@pytest.mark.parametrize(
    ("key", "verdict", "blocking"),
    [
        ("unselected", Verdict.NOT_RUN, False),
        ("skipped", Verdict.NOT_RUN, True),
        ("failed", Verdict.INCONCLUSIVE, True),
    ],
)
def test_what_was_not_followed_says_why(key: str, verdict: Verdict, blocking: bool) -> None:
    decided = decide_runbooks(PROFILE, {"runbooks": ["feed_crash", "crash"], key: "because"}, Scale.LAB)
    assert [one.result.spec.id for one in decided] == ["S5.runbook.feed_crash", "S5.runbook.crash"]
    assert {(one.result.verdict, one.result.reason, one.result.spec.blocking) for one in decided} == {
        (verdict, "because", blocking)
    }


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"runbook": "feed_crash"},
        {"runbook": "none_such", "trial": GOOD},
        {"runbook": "feed_crash", "trial": {}},
        {"runbook": "feed_crash", "trial": GOOD | {"diagnosis": [{"title": "x", "why": ""}]}},
        {"runbook": "feed_crash", "trial": GOOD | {"diagnosis": [OK | {"ok": "yes"}]}},
        {"runbook": "feed_crash", "trial": GOOD | {"recovered_s": [1.0]}},
        {"runbooks": ["feed_crash"]},
    ],
)
def test_other_facts_are_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(RunbookFactsError):
        decide_runbooks(PROFILE, facts, Scale.LAB)


def test_every_runbook_is_listed_from_the_first_second() -> None:
    gates = {
        gate.spec.id: gate for gate in catalogue.not_run(PROFILE, ["S5"]) if gate.spec.id.startswith("S5.runbook.")
    }
    names = ("feed_crash", "gone", "candle_view_stall", "oom_kill", "crash")
    assert set(gates) == {f"S5.runbook.{name}" for name in names}
    assert {name for name in names if gates[f"S5.runbook.{name}"].verdict is Verdict.NOT_APPLICABLE} == {
        "gone",
        "candle_view_stall",
    }
    assert gates["S5.runbook.feed_crash"].verdict is Verdict.NOT_RUN
    assert gates["S5.runbook.feed_crash"].spec.blocking
