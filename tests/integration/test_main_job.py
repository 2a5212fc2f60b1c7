# SPDX-License-Identifier: Apache-2.0
"""The main job against a running lab: what a user sees when all is well, a service is down, or it is interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .lab import ROOT, Lab

S0_GATES = {
    "S0.services": "PASS",
    "S0.data_flow": "PASS",
    "S0.watermarks": "PASS",
    "S0.schedule": "PASS",
    "S0.clocks": "PASS",
    "S0.clean_start": "PASS",
}


def results(artifacts: Path) -> dict:
    return json.loads((artifacts / "latest" / "results.json").read_text(encoding="utf-8"))


def verdicts(artifacts: Path) -> dict[str, str]:
    return {gate["id"]: gate["verdict"] for gate in results(artifacts)["gates"]}


def supervisorctl(lab: Lab, *arguments: str) -> str:
    program = Path(sys.executable).with_name("supervisorctl")
    command = [str(program), "-c", str(lab.directory / "run" / "supervisord.conf"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    # `status` of a program that does not run exits 3 and is an answer.
    assert done.returncode == 0 or arguments[0] == "status", done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def stopped_handler(lab: Lab) -> Iterator[str]:
    name = "feed-handler-kraken"
    supervisorctl(lab, "stop", name)
    try:
        yield name
    finally:
        supervisorctl(lab, "start", name)
        lab.settle()


@pytest.mark.measures
def test_a_healthy_lab_passes_and_leaves_a_report(lab: Lab, tmp_path: Path) -> None:
    lab.playbook("phase7", "--tags", "s0", k2_artifacts_dir=str(tmp_path))
    assert {gate: verdict for gate, verdict in verdicts(tmp_path).items() if gate.startswith("S0.")} == S0_GATES
    run = results(tmp_path)
    assert (run["state"], run["verdict"], run["scale"]) == ("finished", "PASS", "lab")
    for page in ("report.md", "index.html", "junit.xml"):
        assert (tmp_path / "latest" / "report" / page).stat().st_size > 0
    for gate in run["gates"]:
        if gate["step"] != "S0" and gate["verdict"] != "NOT_APPLICABLE":
            assert (gate["verdict"], gate["blocking"]) == ("NOT_RUN", False)
        for path in gate["evidence"]:
            assert json.loads((tmp_path / "latest" / path).read_text())["id"] == gate["id"]


@pytest.mark.measures
def test_a_service_that_is_down_is_named_and_not_started(lab: Lab, tmp_path: Path, stopped_handler: str) -> None:
    done = lab.playbook(
        "phase7",
        # What step S4 deploys would stay in the lab that the other tests use.
        "--skip-tags",
        "s4",
        check=False,
        k2_runbooks_site=False,
        k2_artifacts_dir=str(tmp_path),
        k2_preflight_ready_timeout=1,
        k2_preflight_flow_timeout=5,
        k2_preflight_offload_timeout=5,
    )
    assert done.returncode != 0
    services, flow = (gate for gate in results(tmp_path)["gates"] if gate["id"] in ("S0.services", "S0.data_flow"))
    assert services["verdict"] == "FAIL"
    assert services["reason"].startswith(f"{stopped_handler}: stopped")
    assert "start it with: " in services["reason"]
    assert flow["verdict"] == "FAIL"
    assert "kraken in silver_trades" in flow["reason"]
    loads = [gate for gate in results(tmp_path)["gates"] if gate["step"] == "S1"]
    assert {gate["verdict"] for gate in loads} == {"NOT_RUN"}, "a sick platform is not loaded"
    assert all("S0.services" in gate["reason"] for gate in loads)
    faults = [gate for gate in results(tmp_path)["gates"] if gate["id"].startswith(("S3.", "S5.runbook."))]
    assert {gate["verdict"] for gate in faults} <= {"NOT_RUN", "NOT_APPLICABLE"}, "nor broken"
    assert "STOPPED" in supervisorctl(lab, "status", stopped_handler)


def test_an_open_undo_entry_fails_the_clean_start(lab: Lab, tmp_path: Path) -> None:
    from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Journal

    journal = Journal(lab.directory / "state" / "k2-lab" / "undo")
    entry = journal.open("earlier", "kafka", "pause", "resume", {"unit": "kafka"})
    try:
        lab.playbook("preflight", check=False, k2_artifacts_dir=str(tmp_path))
    finally:
        journal.close(entry.id)
    (gate,) = (gate for gate in results(tmp_path)["gates"] if gate["id"] == "S0.clean_start")
    assert gate["verdict"] == "FAIL"
    assert "pause of kafka" in gate["reason"]


def test_check_mode_plans_and_writes_nothing(lab: Lab, tmp_path: Path) -> None:
    done = lab.playbook("phase7", "--check", k2_artifacts_dir=str(tmp_path))
    assert "S0 reads only" in done.stdout
    assert "1x: 50 msg/s for 110 s by simulator" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_unselected_steps_do_not_block_and_prove_nothing(lab: Lab, tmp_path: Path) -> None:
    lab.playbook("phase7", "--skip-tags", "s0,s1,s2,s3,s4,s5", check=False, k2_artifacts_dir=str(tmp_path))
    run = results(tmp_path)
    assert {gate["verdict"] for gate in run["gates"]} <= {"NOT_RUN", "NOT_APPLICABLE"}
    assert run["verdict"] == "INCONCLUSIVE"


def test_a_misspelt_variable_is_refused_before_anything_is_touched(lab: Lab, tmp_path: Path) -> None:
    done = lab.playbook("phase7", check=False, k2_artifacts_dir=str(tmp_path), k2_preflight_flow_timout=5)
    assert done.returncode != 0
    assert "k2_preflight_flow_timeout" in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so(lab: Lab, tmp_path: Path, number: signal.Signals) -> None:
    """Interrupted while it waits for trades that cannot come: a handler is stopped."""
    variables = lab.variables | {"k2_artifacts_dir": str(tmp_path), "k2_preflight_flow_timeout": 120}
    silent = "feed-handler-coinbase"
    supervisorctl(lab, "stop", silent)
    try:
        process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                "-i",
                str(ROOT / "inventory" / "lab"),
                str(ROOT / "playbooks" / "preflight.yml"),
                "-e",
                json.dumps(variables | {"k2_preflight_ready_timeout": 1}),
            ],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        progress = tmp_path / "latest" / "progress.jsonl"
        while not (progress.exists() and b"watching trades" in progress.read_bytes()):
            assert process.poll() is None, "the play ended before it watched"
            assert time.monotonic() < deadline, "the play never began to watch"
            time.sleep(0.05)
        assert results(tmp_path)["state"] == "running"
        process.send_signal(number)
        assert process.wait(timeout=30) != 0
    finally:
        supervisorctl(lab, "start", silent)
        lab.settle()
    run = results(tmp_path)
    assert run["state"] == "interrupted"
    assert run["verdict"] == "INCONCLUSIVE"
    assert number.name in run["error"]
