#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run the stages of ``make test`` and say how each went.

A stage that ran nothing has failed: an empty selection, a missing playbook or a scenario that was left out must not
look like success.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ports import free_base_port

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "tests" / "output"


@dataclass(frozen=True)
class Count:
    """Checks of one stage."""

    passed: int
    failed: int


@dataclass(frozen=True)
class Outcome:
    """How a stage went; ``why`` is empty when it went well."""

    stage: str
    count: Count
    seconds: float
    why: str


def run(log: Path, *command: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run ``command``, show and keep what it says. Returns its exit code and its output."""
    log.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    with (
        log.open("a", encoding="utf-8") as kept,
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
        try:
            for line in process.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                kept.write(line)
                lines.append(line)
        except KeyboardInterrupt:
            # It takes down what it has brought up.
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
    return process.returncode, "".join(lines)


def last_number(pattern: str, text: str) -> int:
    """The number in the last match of ``pattern``, 0 without one."""
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def lint(log: Path) -> tuple[int, Count]:
    code, text = run(log, "tests/lint.sh")
    return code, Count(last_number(r"(?m)^(\d+) passed", text), last_number(r"(?m)^\d+ passed, (\d+) failed", text))


def pytest(log: Path, directory: str) -> tuple[int, Count]:
    report = log.with_suffix(".xml")
    report.unlink(missing_ok=True)
    command = (sys.executable, "-m", "pytest", directory, "--durations=5", f"--junitxml={report}")
    code, _ = run(log, *command)
    if not report.exists():
        return code, Count(0, 0)
    suites = ET.parse(report).getroot().iter("testsuite")
    numbers = [{key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")} for suite in suites]
    failed = sum(suite["failures"] + suite["errors"] for suite in numbers)
    return code, Count(sum(suite["tests"] - suite["skipped"] for suite in numbers) - failed, failed)


def sanity(log: Path) -> tuple[int, Count]:
    code, text = run(log, sys.executable, "tests/tools/sanity.py")
    ran = last_number(r"(?m)^(\d+) sanity tests run", text)
    failed = last_number(r"The (\d+) sanity test\(s\) listed below", text)
    if code and not failed:
        failed = 1
    return code, Count(ran - failed, failed)


def molecule(log: Path) -> tuple[int, Count]:
    """Each scenario, and that its playbooks were really played: Molecule passes over a missing one with exit code 0."""
    passed = failed = 0
    for directory in sorted(path.parent for path in (ROOT / "molecule").glob("*/molecule.yml")):
        name = directory.name
        env = {"K2_TEST_BASE_PORT": str(free_base_port())}
        code, text = run(log, "molecule", "test", "--scenario-name", name, env=env)
        missing = [step for step in ("converge", "verify") if f"K2 played {name} {step}" not in text]
        if missing:
            print(f"scenario {name}: {' and '.join(missing)} did not run to the end")
        if code or missing:
            failed += 1
        else:
            passed += 1
    return int(failed > 0), Count(passed, failed)


def phase7(log: Path) -> tuple[int, Count]:
    """The main job, shortened, on a lab of its own that is taken down afterwards."""
    lab, artifacts = ROOT / ".lab-test-phase7", OUTPUT / "artifacts"
    values = json.dumps(
        {"k2_lab_dir": str(lab), "k2_lab_base_port": free_base_port(), "k2_artifacts_dir": str(artifacts)}
    )
    try:
        code, _ = run(log, "make", "phase7", "QUICK=1", f"ARGS=-e '{values}'")
        checked, text = run(
            log, sys.executable, "tests/tools/check_results.py", str(artifacts / "latest"), f"--exit-code={code}"
        )
    finally:
        down, _ = run(log, "ansible-playbook", "playbooks/lab_down.yml", "-e", values, "-e", "k2_lab_purge=true")
    gates = last_number(r"(?m)^(\d+) gates checked", text)
    # Whether its exit code is the right one is a part of the check.
    failed = sum(1 for each in (checked, down) if each)
    return checked or down, Count(gates if not failed else 0, failed)


STAGES: dict[str, Callable[[Path], tuple[int, Count]]] = {
    "lint": lint,
    "unit": lambda log: pytest(log, "tests/unit"),
    "sanity": sanity,
    "integration": lambda log: pytest(log, "tests/integration"),
    "molecule": molecule,
    "phase7": phase7,
}


def run_stage(name: str) -> Outcome:
    """Run one stage."""
    print(f"\n=== {name}", flush=True)
    log = OUTPUT / f"{name}.log"
    log.unlink(missing_ok=True)
    begun = time.monotonic()
    try:
        code, count = STAGES[name](log)
        why = f"exit code {code}" if code else "" if count.passed else "nothing was run"
        if not why and count.failed:
            why = f"{count.failed} failed"
    except (OSError, ValueError) as error:
        code, count, why = 1, Count(0, 1), str(error)
    if why and not count.failed:
        count = Count(count.passed, 1)
    return Outcome(name, count, time.monotonic() - begun, why)


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in STAGES]
    if unknown:
        print(f"unknown stage {', '.join(unknown)}; known: {', '.join(STAGES)}", file=sys.stderr)
        return 2
    OUTPUT.mkdir(parents=True, exist_ok=True)
    outcomes = [run_stage(name) for name in names or STAGES]
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
