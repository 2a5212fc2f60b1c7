#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run the stages of ``make test`` and say how each went.

A stage that ran nothing has failed: an empty selection, a missing playbook or a scenario that was left out must not
look like success. What mostly waits is run side by side, and each line then says whose it is.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ports import free_base_port

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "tests" / "output"
# Processes among which the integration tests are shared. They wait for labs and deadlines more than they compute, but a
# lab takes half a core even when nobody asks anything of it.
SHARES = int(os.environ.get("K2_TEST_SHARES", "2"))
# Of a failure, told once more above the table at the end: the log may be far away, or gone with the machine.
TOLD_LINES = 25

T = TypeVar("T")


@dataclass(frozen=True)
class Count:
    """Checks of one stage; ``told`` says of those that failed which they are and the end of what they said."""

    passed: int
    failed: int
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """How a stage went; ``why`` is empty when it went well."""

    stage: str
    count: Count
    seconds: float
    why: str


class Commands:
    """Commands that run now, and whether the user has had enough of them."""

    def __init__(self) -> None:
        self.running: set[subprocess.Popen[str]] = set()
        self.interrupted = threading.Event()

    def interrupt(self) -> None:
        """Have them end as after Ctrl-C: they take down what they have brought up."""
        self.interrupted.set()
        for process in tuple(self.running):
            process.send_signal(signal.SIGINT)


COMMANDS = Commands()


@dataclass(frozen=True)
class Log:
    """Where the output of a stage is kept; ``label`` begins each line that is shown while others are shown too."""

    path: Path
    label: str = ""

    def part(self, number: int) -> Log:
        """For one of several parts of a stage."""
        return Log(self.path.with_suffix(f".{number}.log"), f"[{self.path.stem} {number}] ")

    def keep(self, parts: Sequence[Path]) -> None:
        """Make one log of those of the parts."""
        self.path.write_text("".join(part.read_text(encoding="utf-8") for part in parts), encoding="utf-8")

    def say(self, line: str) -> None:
        """Show a line."""
        sys.stdout.write(f"{self.label}{line}")
        sys.stdout.flush()

    def run(self, *command: str, env: dict[str, str] | None = None) -> tuple[int, str]:
        """Run ``command``, show and keep what it says. Returns its exit code and its output."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        with (
            self.path.open("a", encoding="utf-8") as kept,
            subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process,
        ):
            assert process.stdout is not None
            COMMANDS.running.add(process)
            try:
                for line in process.stdout:
                    self.say(line)
                    kept.write(line)
                    lines.append(line)
                process.wait()
            except KeyboardInterrupt:
                COMMANDS.interrupt()
                process.wait()
                raise
            finally:
                COMMANDS.running.discard(process)
        if COMMANDS.interrupted.is_set():
            raise KeyboardInterrupt
        return process.returncode, "".join(lines)


def side_by_side(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Do all of ``jobs`` at once; their results in order."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        begun = [pool.submit(job) for job in jobs]
        try:
            return [job.result() for job in begun]
        except KeyboardInterrupt:
            COMMANDS.interrupt()
            raise


def last_number(pattern: str, text: str) -> int:
    """The number in the last match of ``pattern``, 0 without one."""
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def end_of(text: str, what: str) -> str:
    """What a command or a test that failed said last; ``what`` is its name."""
    return "\n    ".join((what, *[line for line in text.splitlines() if line.strip()][-TOLD_LINES:]))


def lint(log: Log) -> tuple[int, Count]:
    code, text = log.run("tests/lint.sh")
    return code, Count(last_number(r"(?m)^(\d+) passed", text), last_number(r"(?m)^\d+ passed, (\d+) failed", text))


def pytest(log: Log, *arguments: str, env: dict[str, str] | None = None) -> tuple[int, Count]:
    report = log.path.with_suffix(".xml")
    report.unlink(missing_ok=True)
    code, _ = log.run(sys.executable, "-m", "pytest", *arguments, f"--junitxml={report}", env=env)
    if not report.exists():
        return code, Count(0, 0)
    root = ET.parse(report).getroot()
    numbers = [
        {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
        for suite in root.iter("testsuite")
    ]
    failed = sum(suite["failures"] + suite["errors"] for suite in numbers)
    passed = sum(suite["tests"] - suite["skipped"] for suite in numbers) - failed
    return code, Count(passed, failed, failures(root))


def failures(root: ET.Element) -> tuple[str, ...]:
    """Of a JUnit report: each test that failed, with the end of what it said."""
    told = []
    for case in root.iter("testcase"):
        for said in (*case.findall("failure"), *case.findall("error")):
            where = f"{case.get('classname', '').replace('.', '/')}::{case.get('name')}"
            told.append(end_of(said.text or said.get("message", ""), where))
    return tuple(told)


def unit(log: Log) -> tuple[int, Count]:
    return pytest(log, "tests/unit", "--numprocesses=2", "--dist=worksteal", "--durations=5")


def integration(log: Log) -> tuple[int, Count]:
    """Several processes that claim groups of tests in a directory; each test is run by just one of them."""
    parts = [log.part(number) for number in range(1, SHARES + 1)]
    with tempfile.TemporaryDirectory(prefix="k2-shares-") as claims:

        def share(number: int) -> tuple[int, Count]:
            part = parts[number - 1]
            part.path.unlink(missing_ok=True)
            env = {"K2_TEST_SHARE": f"{number}/{SHARES}"}
            return pytest(part, "tests/integration", f"--share={claims}", "--durations=25", env=env)

        try:
            ended = side_by_side([lambda number=number: share(number) for number in range(1, SHARES + 1)])
        finally:
            log.keep([part.path for part in parts if part.path.exists()])
    counts = [count for _, count in ended]
    passed, failed = sum(count.passed for count in counts), sum(count.failed for count in counts)
    told = tuple(failure for count in counts for failure in count.told)
    return next((code for code, _ in ended if code), 0), Count(passed, failed, told)


def sanity(log: Log) -> tuple[int, Count]:
    code, text = log.run(sys.executable, "tests/tools/sanity.py")
    ran = last_number(r"(?m)^(\d+) sanity tests run", text)
    failed = last_number(r"The (\d+) sanity test\(s\) listed below", text)
    if code and not failed:
        failed = 1
    return code, Count(ran - failed, failed)


def molecule(log: Log) -> tuple[int, Count]:
    """Each scenario, and that its playbooks were really played: Molecule passes over a missing one with exit code 0."""
    passed = 0
    failed = []
    for directory in sorted(path.parent for path in (ROOT / "molecule").glob("*/molecule.yml")):
        name = directory.name
        env = {"K2_TEST_BASE_PORT": str(free_base_port())}
        code, text = log.run("molecule", "test", "--scenario-name", name, env=env)
        missing = [step for step in ("converge", "verify") if f"K2 played {name} {step}" not in text]
        if missing:
            log.say(f"scenario {name}: {' and '.join(missing)} did not run to the end\n")
        if code or missing:
            failed.append(end_of(text, f"scenario {name}"))
        else:
            passed += 1
    return int(bool(failed)), Count(passed, len(failed), tuple(failed))


def phase7(log: Log) -> tuple[int, Count]:
    """The main job, shortened, on a lab of its own that is taken down afterwards."""
    lab, artifacts = ROOT / ".lab-test-phase7", OUTPUT / "artifacts"
    values = json.dumps(
        {"k2_lab_dir": str(lab), "k2_lab_base_port": free_base_port(), "k2_artifacts_dir": str(artifacts)}
    )
    try:
        code, _ = log.run("make", "phase7", "QUICK=1", f"ARGS=-e '{values}'")
        checked, text = log.run(
            sys.executable, "tests/tools/check_results.py", str(artifacts / "latest"), f"--exit-code={code}"
        )
    finally:
        down, _ = log.run("ansible-playbook", "playbooks/lab_down.yml", "-e", values, "-e", "k2_lab_purge=true")
    gates = last_number(r"(?m)^(\d+) gates checked", text)
    # Whether its exit code is the right one is a part of the check.
    failed = sum(1 for each in (checked, down) if each)
    told = (end_of(text, "check_results.py"),) if checked else ()
    return checked or down, Count(gates if not failed else 0, failed, told)


Stage = Callable[[Log], tuple[int, Count]]
STAGES: dict[str, Stage] = {
    "lint": lint,
    "unit": unit,
    "sanity": sanity,
    "integration": integration,
    "molecule": molecule,
    "phase7": phase7,
}
# One line after the other; on a line, what runs beside each other: stages in turn. Nothing runs beside tests that
# measure, which are some of integration and all of phase7.
PLAN = (
    (("lint", "sanity"), ("molecule",)),
    (("unit",),),
    (("integration",),),
    (("phase7",),),
)


def run_stage(name: str, log: Log) -> Outcome:
    """Run one stage."""
    log.say(f"=== {name}\n")
    log.path.unlink(missing_ok=True)
    begun = time.monotonic()
    try:
        code, count = STAGES[name](log)
        why = f"exit code {code}" if code else "" if count.passed else "nothing was run"
        if not why and count.failed:
            why = f"{count.failed} failed"
    except (OSError, ValueError) as error:
        code, count, why = 1, Count(0, 1), str(error)
    if why and not count.failed:
        count = Count(count.passed, 1, count.told)
    if why and not count.told and log.path.exists():
        count = replace(count, told=(end_of(log.path.read_text(encoding="utf-8"), str(log.path.relative_to(ROOT))),))
    return Outcome(name, count, time.monotonic() - begun, why)


def run_stages(names: Sequence[str]) -> list[Outcome]:
    """Run these stages by the plan."""
    outcomes: dict[str, Outcome] = {}
    for line in PLAN:
        lanes = [wanted for lane in line if (wanted := [name for name in lane if name in names])]
        labels = len(lanes) > 1

        def run_lane(lane: list[str], labels: bool = labels) -> list[Outcome]:
            return [run_stage(name, Log(OUTPUT / f"{name}.log", f"[{name}] " if labels else "")) for name in lane]

        if lanes:
            for ended in side_by_side([lambda lane=lane: run_lane(lane) for lane in lanes]):
                outcomes.update({outcome.stage: outcome for outcome in ended})
    return [outcomes[name] for name in STAGES if name in outcomes]


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in STAGES]
    if unknown:
        print(f"unknown stage {', '.join(unknown)}; known: {', '.join(STAGES)}", file=sys.stderr)
        return 2
    OUTPUT.mkdir(parents=True, exist_ok=True)
    outcomes = run_stages(names or list(STAGES))
    for outcome in outcomes:
        for failure in outcome.count.told:
            print(f"failed in {outcome.stage}: {failure}")
    print(f"\n{'stage':<14} {'result':<8} {'passed':>6} {'failed':>6} {'seconds':>8}")
    for outcome in outcomes:
        result = "FAILED" if outcome.why else "ok"
        numbers = f"{outcome.count.passed:>6} {outcome.count.failed:>6} {outcome.seconds:>8.1f}"
        print(f"{outcome.stage:<14} {result:<8} {numbers}  {outcome.why}".rstrip())
    print(f"logs: {OUTPUT.relative_to(ROOT)}/<stage>.log")
    failed = sum(outcome.count.failed for outcome in outcomes)
    print(f"{sum(outcome.count.passed for outcome in outcomes)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
