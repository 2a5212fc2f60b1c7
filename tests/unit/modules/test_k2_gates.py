# SPDX-License-Identifier: Apache-2.0
"""k2_gates records step S3 on the controller: gates, evidence, samples; what it cannot read is told as an error."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import failure_facts as given

from ansible_collections.k2.hardening.plugins.module_utils.verdict import catalogue
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import Owner, RunDir, RunInfo

from .playbook import Playbook

PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - k2.hardening.k2_gates:
        step: S3
        run_dir: "{{ my_run }}"
        profile: "{{ my_profile }}"
        facts: "{{ my_facts }}"
      register: __answer
      ignore_errors: true
    - ansible.builtin.copy:
        content: "{{ __answer | to_json }}"
        dest: "{{ answer_file }}"
        mode: "0600"
      check_mode: false
"""


def run_of(folder: Path, quick: bool = False) -> RunDir:
    info = RunInfo("betting", "sha256:0", "inventory", "lab", quick, {}, None, {})
    return RunDir.create(folder, info, catalogue.not_run(given.PROFILE, ["S3"]), Owner.of(os.getpid()))


def tell(root: Path, folder: Path, run: RunDir, facts: dict[str, Any], *options: str) -> dict[str, Any]:
    code, output, answer = Playbook(root, folder, PLAY).run(
        {"my_run": str(run.path), "my_profile": given.PROFILE_DATA, "my_facts": facts}, *options
    )
    assert code == 0, output
    return answer


FACTS = {
    "mode": "log_restart",
    "failures": [given.fault("log_restart", "log")],
    "loads": [given.load()],
    "audit": given.audit(),
}


def test_a_mode_is_recorded_with_its_samples(project_root: Path, tmp_path: Path) -> None:
    run = run_of(tmp_path / "runs", quick=True)
    answer = tell(project_root, tmp_path, run, FACTS)
    assert answer["blocking_failures"] == []
    gates = {gate["id"]: gate for gate in run.results()["gates"]}
    assert {gates[f"S3.log_restart.{word}"]["verdict"] for word in ("recovery", "loss", "isolation", "restored")} == {
        "PASS"
    }
    # A quick run's evidence says so.
    assert gates["S3.log_restart.recovery"]["scale"] == "shortened"
    samples = json.loads((run.path / "samples/S3.log_restart.log.json").read_text())
    assert samples["service"] == "log"
    assert samples["lanes"][0]["samples"]


def test_a_mode_that_failed_is_named(project_root: Path, tmp_path: Path) -> None:
    slow = FACTS | {"failures": [given.fault("log_restart", "log", 12.0)]}
    answer = tell(project_root, tmp_path, run_of(tmp_path / "runs"), slow)
    assert answer["blocking_failures"] == ["S3.log_restart.recovery"]


def test_what_is_no_fact_is_an_error_and_records_nothing(project_root: Path, tmp_path: Path) -> None:
    run = run_of(tmp_path / "runs")
    answer = tell(project_root, tmp_path, run, {"mode": "log_restrat", "failures": []})
    assert answer["failed"]
    assert "log_restrat" in answer["msg"]
    assert {gate.verdict.value for gate in run.gates() if gate.spec.step == "S3"} == {"NOT_RUN"}


def test_check_mode_records_nothing(project_root: Path, tmp_path: Path) -> None:
    run = run_of(tmp_path / "runs")
    assert tell(project_root, tmp_path, run, FACTS, "--check")["changed"] is False
    assert not (run.path / "samples").exists()
