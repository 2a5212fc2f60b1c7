# SPDX-License-Identifier: Apache-2.0
"""Step S3 on a running lab: what is broken comes back, is accounted for, and whoever dies meanwhile leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from .lab import Lab
from .stores import until
from .test_main_job import supervisorctl
from .test_step_latency import Gates, detail, gates, simulated

PROCESSOR_CRASH = {"services": ["silver-processor"], "action": "kill"}
# The lab's own mode, and variants of it that no platform can satisfy, or that must be seen not to have been satisfied.
MODES: dict[str, dict[str, Any]] = {
    "silver_processor_crash": {**PROCESSOR_CRASH, "max_recovery_s": 60},
    "impatient": {**PROCESSOR_CRASH, "max_recovery_s": 0.05},
    "clickhouse_cut": {
        "services": ["clickhouse"],
        "action": "disconnect",
        "duration_s": 60,
        "recovery_from": "heal",
        "max_recovery_s": 60,
        "affects": ["silver-processor"],
    },
}
ENOUGH = ("silver_processor_crash", "impatient", "crash_alert-receiver")


def step(lab: Lab, artifacts: Path, *arguments: str, **variables: object) -> str:
    """Run the step, whatever its verdict; returns what was printed."""
    wanted = {"k2_artifacts_dir": str(artifacts), "k2_failure_modes": MODES} | variables
    done = lab.playbook("step3_failure_modes", *arguments, check=False, timeout_s=400, **wanted)
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    return said


def verdict(found: Gates, gate: str) -> tuple[str, str]:
    return found[f"S3.{gate}"]["verdict"], found[f"S3.{gate}"]["reason"]


def pids(lab: Lab) -> dict[str, str]:
    """What runs, by name, with its pid."""
    lines = [line.split() for line in supervisorctl(lab, "status").splitlines()]
    return {words[0]: words[3].rstrip(",") for words in lines if words[1] == "RUNNING"}


def open_entries(lab: Lab) -> list[dict[str, Any]]:
    """Changes that are not undone, as the journal has them."""
    found = sorted((lab.directory / "state").glob("*/undo/*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in found]


def rules() -> list[str]:
    """Rules of the packet filter that this tool has made."""
    said = subprocess.run(["iptables", "-S", "INPUT"], capture_output=True, text=True, timeout=30, check=True).stdout
    return [line for line in said.splitlines() if "k2" in line]


@pytest.fixture(scope="module")
def broken(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts of a run that broke three things."""
    artifacts = tmp_path_factory.mktemp("step-failures")
    step(lab, artifacts, k2_failure_modes_only=list(ENOUGH))
    return artifacts


@pytest.mark.measures
def test_a_crash_is_survived_and_costs_no_record(broken: Path) -> None:
    found = gates(broken)
    for word in ("recovery", "loss", "isolation", "restored"):
        assert verdict(found, f"silver_processor_crash.{word}") == ("PASS", ""), word
    # An alert tells of it where step S4 has deployed its rules before.
    assert verdict(found, "silver_processor_crash.detection")[0] in ("NOT_RUN", "PASS")
    gate = found["S3.silver_processor_crash.recovery"]
    assert 0 <= gate["low"] <= gate["high"] < gate["target"]
    assert gate["n"] == 1
    loss = detail(broken, "S3.silver_processor_crash.loss")
    assert loss["audit"]["verdict"] == "EXACT"
    assert loss["loads"][0]["sent"] == loss["loads"][0]["scheduled"] > 0


@pytest.mark.measures
def test_the_evidence_says_what_was_done_and_what_brought_it_back(broken: Path) -> None:
    (result,) = detail(broken, "S3.silver_processor_crash.recovery")["results"]
    assert result["proof"]["proven"]
    assert "is gone" in result["proof"]["what"]
    assert result["mechanism"] == "restarted by its supervisor"
    samples = json.loads((broken / "latest" / result["samples_file"]).read_text(encoding="utf-8"))
    kinds = {lane["kind"] for lane in samples["lanes"] if lane["samples"]}
    assert kinds == {"process", "service", "flow"}


@pytest.mark.measures
def test_a_recovery_that_is_too_slow_fails_and_is_not_merely_doubtful(broken: Path) -> None:
    assert verdict(gates(broken), "impatient.recovery")[0] == "FAIL"
    assert "expected < 0.05 s" in verdict(gates(broken), "impatient.recovery")[1]


@pytest.mark.measures
def test_a_crash_that_nobody_listed_has_one_gate(broken: Path) -> None:
    found = gates(broken)
    assert [name for name in found if name.startswith("S3.crash_alert-receiver.")] == [
        "S3.crash_alert-receiver.recovery"
    ]
    assert verdict(found, "crash_alert-receiver.recovery")[0] == "PASS"


@pytest.mark.measures
def test_the_whole_step_is_accounted_for_and_a_part_of_it_passes_no_milestone(broken: Path) -> None:
    found = gates(broken)
    assert verdict(found, "audit") == ("PASS", "")
    assert found["S3.audit"]["n"] > found["S3.silver_processor_crash.loss"]["n"]
    assert verdict(found, "mttr_30s")[0] != "PASS"
    assert verdict(found, "clickhouse_cut.recovery") == ("NOT_RUN", "not among k2_failure_modes_only")
    assert not found["S3.clickhouse_cut.recovery"]["blocking"]


@pytest.mark.measures
def test_the_report_draws_each_fault(broken: Path) -> None:
    page = (broken / "latest" / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count("<svg") >= len(ENOUGH)
    assert "silver_processor_crash" in (broken / "latest" / "report" / "report.md").read_text(encoding="utf-8")


@pytest.mark.measures
def test_nothing_is_left_behind(lab: Lab, broken: Path) -> None:
    assert gates(broken)
    assert open_entries(lab) == []
    assert simulated(lab)["state"] in ("finished", "ended early")


def test_check_mode_tells_the_plan_and_breaks_nothing(lab: Lab, tmp_path: Path) -> None:
    before = pids(lab), simulated(lab)
    said = step(lab, tmp_path, "--check", k2_failure_modes_only="silver_processor_crash,clickhouse_cut")
    assert "silver_processor_crash: SIGKILL from the host to the main process of silver-processor" in said
    assert "packet" in said
    assert "at most" in said
    assert list(tmp_path.iterdir()) == []
    assert (pids(lab), simulated(lab)) == before


def test_another_platforms_name_is_no_leave_to_break_this_one(lab: Lab, tmp_path: Path) -> None:
    before = pids(lab), simulated(lab)
    step(lab, tmp_path, k2_confirm="some-other-platform", k2_failure_modes_only=["silver_processor_crash"])
    found = gates(tmp_path)
    assert verdict(found, "silver_processor_crash.recovery") == (
        "NOT_RUN",
        "breaking the platform needs -e k2_confirm=k2-lab",
    )
    assert found["S3.silver_processor_crash.recovery"]["blocking"]
    assert (pids(lab), simulated(lab)) == before


def test_a_mode_that_is_none_is_refused_with_the_nearest_name(lab: Lab, tmp_path: Path) -> None:
    before = pids(lab)
    said = step(lab, tmp_path, k2_failure_modes_only=["silver_procesor_crash"])
    assert "did you mean 'silver_processor_crash'?" in said
    assert pids(lab) == before


def test_a_tool_that_is_killed_in_the_middle_leaves_a_platform_that_is_whole(lab: Lab, tmp_path: Path) -> None:
    playing = threading.Thread(
        target=step, args=(lab, tmp_path), kwargs={"k2_failure_modes_only": ["clickhouse_cut"]}, daemon=True
    )
    playing.start()
    faults: list[dict[str, Any]] = []

    def cut() -> bool:
        faults[:] = [entry for entry in open_entries(lab) if entry["parameters"].get("kind") == "fault"]
        return bool(faults and rules())

    until(cut, "ClickHouse is cut off", timeout_s=120)
    os.kill(faults[0]["pid"], signal.SIGKILL)
    until(lambda: not rules() and not open_entries(lab), "its watchdog has put the path back", timeout_s=60)
    playing.join(timeout=300)
    assert not playing.is_alive()
    found = gates(tmp_path)
    assert verdict(found, "clickhouse_cut.recovery")[0] == "INCONCLUSIVE"
    assert verdict(found, "mttr_30s")[0] != "PASS"
    undone = lab.playbook("undo", "--check")
    assert "nothing is open" in undone.stdout


def test_a_platform_that_is_sick_already_is_not_broken_further(lab: Lab, tmp_path: Path) -> None:
    supervisorctl(lab, "stop", "alert-receiver")
    try:
        before = pids(lab)
        wanted = ["silver_processor_crash", "impatient"]
        step(lab, tmp_path, k2_failure_modes_only=wanted, k2_failure_modes_steady_timeout=8)
        assert pids(lab) == before
    finally:
        supervisorctl(lab, "start", "alert-receiver")
    found = gates(tmp_path)
    said, reason = verdict(found, "silver_processor_crash.recovery")
    assert said == "INCONCLUSIVE"
    assert "the platform is not steady" in reason
    assert "alert-receiver" in reason
    # It stops there, says so of what was to follow, and still accounts for all of it.
    said, reason = verdict(found, "impatient.recovery")
    assert said == "NOT_RUN"
    assert "nothing more could be broken" in reason
    assert found["S3.impatient.recovery"]["blocking"]
    assert verdict(found, "audit")[0] == "INCONCLUSIVE"
    assert verdict(found, "mttr_30s")[0] == "INCONCLUSIVE"
    assert simulated(lab)["state"] in ("finished", "ended early")


def test_one_run_at_a_time(lab: Lab, tmp_path: Path) -> None:
    holder = """
import sys, time
from pathlib import Path
from ansible_collections.k2.hardening.plugins.module_utils.fault.lock import PlatformLock
with PlatformLock(Path(sys.argv[1]), "another-run"):
    print("held", flush=True)
    sys.stdin.read()
"""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root / "collections")}
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(lab.directory / "state" / "k2-lab")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        before = pids(lab)
        step(lab, tmp_path, k2_failure_modes_only=["silver_processor_crash"])
        assert pids(lab) == before
        process.communicate("")
    said, reason = verdict(gates(tmp_path), "silver_processor_crash.recovery")
    assert said == "INCONCLUSIVE"
    assert "another run works on this platform" in reason
    assert "run another-run" in reason
