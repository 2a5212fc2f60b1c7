# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure import clock_dialogue
from ansible_collections.k2.hardening.plugins.module_utils.measure.clock_dialogue import ANSWER_EACH_LINE, ClockDialogue


def test_each_question_has_its_own_answer_within_the_bracket() -> None:
    with ClockDialogue(["sh", "-c", ANSWER_EACH_LINE]) as clock:
        for _ in range(3):
            before = time.time_ns() // 1000
            assert before <= clock.read_us() <= time.time_ns() // 1000 + 1


@pytest.mark.parametrize(
    ("script", "seen"),
    [
        ("exit 0", "nothing"),
        ("read -r _; echo date: no such option", "date: no such option"),
        ("exec sleep 60", "nothing"),
    ],
    ids=["ended", "no number", "silent"],
)
def test_what_tells_no_time_is_an_error(script: str, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_dialogue, "ANSWER_S", 0.5)
    monkeypatch.setattr(clock_dialogue, "_END_S", 0.1)
    begun = time.monotonic()
    with ClockDialogue(["sh", "-c", script]) as clock, pytest.raises(K2Error) as raised:
        clock.read_us()
    assert seen in str(raised.value) or "an open connection" in str(raised.value)
    assert time.monotonic() - begun < 5


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(K2Error, match="a program /nonexistent/ssh"), ClockDialogue(["/nonexistent/ssh"]):
        pass
