# SPDX-License-Identifier: Apache-2.0
"""The report tells of each runbook what was run and what came of it, and of those that were not followed why."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.report.runbook import runbook_rows

STEP = {
    "title": "1. Look",
    "command": "look <here> | now",
    "expected": ["Symptom: the command fails"],
    "ok": True,
    "why": "",
    "output": "no\n",
    "took_s": 0.5,
    "runs": 2,
}
TRIAL: dict[str, Any] = {
    "service": "feed",
    "action": "SIGKILL",
    "proof": {"proven": True, "what": "process 4711 is gone"},
    "healthy": [STEP],
    "diagnosis": [STEP],
    "resolution": [STEP | {"ok": False, "why": "not so"}],
    "recovered_s": [1.5, 2.5],
    "diagnosed_s": 1.0,
    "resolved_s": 0.5,
    "undone_by": "runbook",
}
GATES = [
    {"id": "S0.services", "verdict": "PASS", "reason": ""},
    {"id": "S5.runbook.feed_crash", "verdict": "FAIL", "reason": "its resolution"},
    {"id": "S5.runbook.crash", "verdict": "NOT_RUN", "reason": "not chosen"},
]


def test_each_command_is_told_with_its_part() -> None:
    followed, other = runbook_rows(GATES, {"S5.runbook.feed_crash": {"detail": {"trial": TRIAL}}})
    assert (followed.name, followed.verdict, followed.recovered) == ("feed_crash", "FAIL", (1.5, 2.5))
    assert [(row.part, row.ok, row.output) for row in followed.commands] == [
        ("on the healthy platform", True, "no"),
        ("diagnosis", True, "no"),
        ("resolution", False, "no"),
    ]
    assert followed.proof == "proven: process 4711 is gone"
    assert (other.name, other.verdict, other.reason, other.commands) == ("crash", "NOT_RUN", "not chosen", ())


def test_without_a_runbook_that_was_followed_there_is_nothing_to_show() -> None:
    assert runbook_rows(GATES, {"S5.runbook.crash": {"detail": {"runbook": "crash"}}}) == ()


def test_evidence_of_another_shape_is_told() -> None:
    with pytest.raises(ValueError, match="another shape"):
        runbook_rows(GATES, {"S5.runbook.feed_crash": {"detail": {"trial": {"proof": None}}}})
