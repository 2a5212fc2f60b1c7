# SPDX-License-Identifier: Apache-2.0
"""Run one command step of a lab: with a log of its own, a deadline, and never outliving lab-up."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable

import psutil

from k2lab.common.errors import LabError
from k2lab.control import processes
from k2lab.control.lab import Lab
from k2lab.control.plan import CommandStep

POLL_S = 0.05
GRACE_S = 5.0


def run_command(lab: Lab, step: CommandStep, *, deadline: float, check: Callable[[], None]) -> bool:
    """Run the step to its end; False when what it creates is there already.

    `deadline` is on time.monotonic(); `check` raises when there is no more point. Raises LabError with the last lines
    of the command's output when it fails, takes longer than its timeout, or does not create what it says.
    """
    if step.creates is not None and step.creates.exists():
        return False
    begun = time.monotonic()
    try:
        with lab.log(step.name).open("w") as output:
            child = subprocess.Popen(
                step.argv,
                cwd=lab.directory,
                # Marked as the lab's own, so that even a killed lab-up leaves nothing that the next one does not find.
                env={**lab.environment(os.environ), **step.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
    except OSError as error:
        raise LabError(
            f"to run {step.name} ({step.argv[0]})", str(error), "run make setup, then lab-up again"
        ) from error
    try:
        code = _wait(child, min(deadline, begun + step.timeout_s), check)
    finally:
        if child.poll() is None:
            _end_with_children(child)
    if code is None:
        raise _failure(lab, step, "to end", f"still at work after {time.monotonic() - begun:.0f} s")
    if code != 0:
        raise _failure(lab, step, "to succeed", f"ended with code {code}")
    if step.creates is not None and not step.creates.exists():
        raise _failure(lab, step, f"to create {step.creates}", "it ended with code 0, and nothing is there")
    return True


def _wait(child: subprocess.Popen[bytes], deadline: float, check: Callable[[], None]) -> int | None:
    """Exit code, None at the deadline."""
    while time.monotonic() < deadline:
        check()
        try:
            return child.wait(POLL_S)
        except subprocess.TimeoutExpired:
            continue
    return None


def _end_with_children(child: subprocess.Popen[bytes]) -> None:
    own = psutil.Process(child.pid)
    processes.end([own, *own.children(recursive=True)], grace_s=GRACE_S)
    child.wait(GRACE_S)


def _failure(lab: Lab, step: CommandStep, expected: str, seen: str) -> LabError:
    log = lab.log(step.name)
    return LabError(
        f"{step.name} {expected}",
        f"{seen}\nlast lines of {log}:\n{lab.log_tail(step.name)}",
        "correct the cause, run lab-up again",
    )
