# SPDX-License-Identifier: Apache-2.0
"""A command step runs once, says what it printed when it fails, and never outlives lab-up."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from k2lab.common.errors import LabError
from k2lab.control import processes
from k2lab.control.commands import run_command
from k2lab.control.lab import MARKER, Lab
from k2lab.control.plan import CommandStep
from k2lab.control.steps import StoppedError

DEADLINE_S = 20.0


def go_on() -> None:
    return


@pytest.fixture(name="lab")
def _lab(tmp_path: Path) -> Lab:
    lab = Lab.at(tmp_path)
    lab.logs.mkdir()
    return lab


def step(code: str, *, creates: Path | None = None, timeout_s: float = DEADLINE_S) -> CommandStep:
    argv = (sys.executable, "-c", code)
    return CommandStep("make-it", "hot", (), argv, {"WORD": "given"}, timeout_s=timeout_s, creates=creates)


def run(lab: Lab, given: CommandStep) -> bool:
    return run_command(lab, given, deadline=time.monotonic() + DEADLINE_S, check=go_on)


def test_what_it_creates_is_made_once(lab: Lab) -> None:
    made = lab.directory / "made"
    given = step(f"import os; open('made', 'x').write(os.environ['WORD'] + os.environ['{MARKER}'])", creates=made)
    assert run(lab, given)
    assert made.read_text() == "given" + lab.lab_id
    assert not run(lab, given)


def test_without_anything_to_create_it_runs_each_time(lab: Lab) -> None:
    given = step("open('count', 'a').write('x')")
    assert [run(lab, given), run(lab, given)] == [True, True]
    assert (lab.directory / "count").read_text() == "xx"


def test_a_failure_is_told_with_its_last_words(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"make-it to succeed.*ended with code 3(.|\n)*out of ink"):
        run(lab, step("import sys; print('out of ink'); sys.exit(3)"))


def test_a_step_that_creates_nothing_it_promised_has_failed(lab: Lab) -> None:
    with pytest.raises(LabError, match="nothing is there"):
        run(lab, step("", creates=lab.directory / "made"))


def test_one_that_takes_too_long_is_ended_with_its_children(lab: Lab) -> None:
    code = f"import subprocess; subprocess.Popen([{sys.executable!r}, '-c', 'input()'], stdin=subprocess.PIPE).wait()"
    with pytest.raises(LabError, match="make-it to end"):
        run(lab, step(code, timeout_s=0.5))
    assert processes.of_lab(lab) == []


def test_one_that_has_become_pointless_is_ended(lab: Lab) -> None:
    def stop() -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        run_command(lab, step("import time; time.sleep(60)"), deadline=time.monotonic() + DEADLINE_S, check=stop)
    assert processes.of_lab(lab) == []


def test_a_missing_program_is_told(lab: Lab) -> None:
    with pytest.raises(LabError, match="to run make-it"):
        run(lab, CommandStep("make-it", "hot", (), ("/nowhere/program",), {}, timeout_s=1, creates=None))
