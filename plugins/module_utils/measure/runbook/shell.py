# SPDX-License-Identifier: Apache-2.0
"""Commands of a runbook, run as a person would type them: in bash, after what the runbook has them prepare."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import Optional

from ...core.clock import Deadline
from .expectation import Answer, Expectation, Kind
from .page import Step

# A command that hangs is ended, as a person would; what it waits for is told by its expectation.
COMMAND_S = 20.0
_AGAIN_S = 1.0
_OUTPUT = 20_000


@dataclass(frozen=True)
class StepResult:
    """One command: its last answer, whether each expectation held, and how often it was run."""

    title: str
    command: str
    expected: tuple[str, ...]
    ok: bool
    why: str
    code: Optional[int]
    output: str
    took_s: float
    runs: int


class Shell:
    """Runs the commands of one page; each gets a shell of its own, as if just prepared."""

    def __init__(self, prepare: str, *, command_s: float = COMMAND_S) -> None:
        self._prepare = prepare
        self._command_s = command_s

    def run(self, command: str, at_least_s: float = 0.0) -> Answer:
        """Run it once, up to ``at_least_s`` long. Output and errors are together, as a terminal shows them."""
        began = time.monotonic()
        script = f"{self._prepare}\n{command}\n"
        process = subprocess.Popen(
            ["bash", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        code: Optional[int]
        try:
            said, _ = process.communicate(timeout=max(self._command_s, at_least_s))
            code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, code = _rest(process), None
        return Answer(code, said.decode("utf-8", "replace")[-_OUTPUT:], time.monotonic() - began)

    def check(self, step: Step) -> StepResult:
        """Run the step until all that is said of it holds, as long as it gives itself."""
        began = time.monotonic()
        within_s = max(each.within_s for each in step.expectations)
        deadline = Deadline.after(within_s)
        runs = 0
        while True:
            answer = self.run(step.command, within_s)
            runs += 1
            missed = [each for each in step.expectations if not each.holds(answer)]
            if not missed or deadline.passed or not answer.ran:
                return _result(step, answer, missed, time.monotonic() - began, runs)
            time.sleep(min(_AGAIN_S, deadline.remaining()))

    def check_healthy(self, step: Step, patience_s: float) -> StepResult:
        """The same on a healthy platform: no symptom may show, and what is expected in any case has to be so.

        A symptom that shows for a moment, ``patience_s`` at most, is forgiven.
        """
        began = time.monotonic()
        deadline = Deadline.after(patience_s)
        runs = 0
        while True:
            answer = self.run(step.command)
            runs += 1
            # A command that is not there shows nothing, and is no sign of health.
            missed = [
                each
                for each in step.expectations
                if not answer.ran or each.holds(answer) is (each.kind is Kind.SYMPTOM)
            ]
            if not missed or deadline.passed or not answer.ran:
                return _result(step, answer, missed, time.monotonic() - began, runs, healthy=True)
            time.sleep(min(_AGAIN_S, deadline.remaining()))


def _rest(process: subprocess.Popen[bytes]) -> bytes:
    """What an ended command had said; something that it started in a session of its own may hold the pipe open."""
    try:
        return process.communicate(timeout=1.0)[0]
    except subprocess.TimeoutExpired:
        return b""


def _result(
    step: Step, answer: Answer, missed: list[Expectation], took_s: float, runs: int, *, healthy: bool = False
) -> StepResult:
    why = ""
    if not answer.ran:
        why = f"there is no such command: {answer.told}"
    elif missed:
        shows = healthy and missed[0].kind is Kind.SYMPTOM
        sentence = f"{missed[0].kind.value}: {missed[0].text}"
        why = f"{sentence!r} is so on a healthy platform, too" if shows else f"not so: {sentence!r}; {answer.told}"
    return StepResult(
        step.title,
        step.command,
        tuple(f"{each.kind.value}: {each.text}" for each in step.expectations),
        not missed,
        why,
        answer.code,
        answer.output[-2000:],
        round(took_s, 3),
        runs,
    )
