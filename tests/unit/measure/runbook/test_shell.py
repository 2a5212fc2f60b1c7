# SPDX-License-Identifier: Apache-2.0
"""Commands are run as the page has them, and judged by what they say; on a healthy platform no symptom may show."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.runbook.expectation import Expectation
from ansible_collections.k2.hardening.plugins.module_utils.measure.runbook.page import Step
from ansible_collections.k2.hardening.plugins.module_utils.measure.runbook.shell import Shell


def step(command: str, *sentences: str) -> Step:
    expectations = [Expectation.read(f"- **{sentence}.") for sentence in sentences]
    return Step("it", command, tuple(each for each in expectations if each is not None))


def test_what_is_prepared_is_there_for_every_command() -> None:
    shell = Shell('say() { echo "said $1"; }\nexport WORD=this')
    assert shell.run('say "$WORD"').output == "said this\n"
    assert shell.run("echo wrong >&2; exit 3").told == "exit 3: wrong"


def test_a_command_that_hangs_is_ended_with_what_it_started() -> None:
    began = time.monotonic()
    answer = Shell("", command_s=0.5).run("echo begun; sleep 60 & sleep 60")
    assert (answer.code, answer.output) == (None, "begun\n")
    assert time.monotonic() - began < 5


def test_it_looks_again_as_long_as_the_page_says(tmp_path: Path) -> None:
    late = f"echo x >> {tmp_path}/runs; [ $(wc -l < {tmp_path}/runs) -ge 2 ] && echo UP"
    done = Shell("").check(step(late, "Done:** within 20 s the output contains `UP`"))
    assert (done.ok, done.runs, done.why) == (True, 2, "")


def test_without_a_time_it_is_run_once(tmp_path: Path) -> None:
    done = Shell("").check(step(f"echo x >> {tmp_path}/runs", "Done:** the output contains `UP`"))
    assert (done.ok, done.runs) == (False, 1)
    assert "the output contains `UP`" in done.why


def test_a_wrong_command_is_told_and_not_waited_for() -> None:
    began = time.monotonic()
    done = Shell("").check(step("no-such-tool status", "Symptom:** within 30 s the command fails"))
    assert not done.ok
    assert "there is no such command" in done.why
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("command", "sentence", "ok"),
    [
        ("echo RUNNING", "Symptom:** the output lacks `RUNNING`", True),
        ("echo anything", "Symptom:** the output lacks `RUNNING`", False),
        ("true", "Symptom:** within 9 s the command fails", True),
        ("false", "Symptom:** within 9 s the command fails", False),
        ("no-such-tool", "Symptom:** the command fails", False),
        ("echo fine", "Expected:** the output contains `fine`", True),
        ("echo bad", "Expected:** the output contains `fine`", False),
    ],
)
def test_on_a_healthy_platform_no_symptom_shows(command: str, sentence: str, ok: bool) -> None:
    done = Shell("").check_healthy(step(command, sentence), patience_s=0)
    assert done.ok is ok, done.why
    assert bool(done.why) is not ok


def test_a_symptom_that_shows_for_a_moment_is_forgiven(tmp_path: Path) -> None:
    flaky = f"echo x >> {tmp_path}/runs; [ $(wc -l < {tmp_path}/runs) -ge 2 ]"
    assert Shell("").check_healthy(step(flaky, "Symptom:** the command fails"), patience_s=10).ok
