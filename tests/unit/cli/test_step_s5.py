# SPDX-License-Identifier: Apache-2.0
"""Step S5 alone, and the sign-off, by the playbooks that users play; no platform is asked for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from recorded_runs import documents, full_data, whole_run

from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.verdict.documents import expected_documents
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Scale
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import RunDir, RunState
from ansible_collections.k2.hardening.plugins.module_utils.verdict.signoff import decide_sign_off

TIMEOUT_S = 180


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """A platform at full scale, on this machine."""
    path = tmp_path / "hosts.yml"
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **full_data()}
    path.write_text(yaml.safe_dump({"platform": {"hosts": {"localhost": host}}}))
    return path


@pytest.fixture
def environment(project_root: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "K2_"))}
    return kept | {"ANSIBLE_CONFIG": str(project_root / "ansible.cfg"), "LC_ALL": "C.UTF-8"}


def test_a_run_of_s5_alone_looks_at_its_documents_and_lists_what_is_missing(
    project_root: Path, tmp_path: Path, inventory: Path, environment: dict[str, str]
) -> None:
    root = tmp_path / "runs"
    command = [project_root / "bin/k2h", "run", "s5", "-i", inventory, "--artifacts", root]
    done = subprocess.run(
        command, env=environment, cwd=project_root, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 3, done.stdout + done.stderr
    run = RunDir.open(root / "latest")
    gates = {gate.spec.id: gate for gate in run.gates()}
    documents_gate, sign_off = gates["S5.documents"], gates["S5.signoff"]
    examined = json.loads((run.path / "evidence/S5.documents.json").read_text())["detail"]["examined"]
    assert (str(documents_gate.verdict), documents_gate.n) == ("PASS", len(examined)), documents_gate.reason
    assert {*expected_documents(run.gates()), "report/runbooks/index.md"} <= set(examined)
    assert str(sign_off.verdict) == "INCONCLUSIVE"
    missing = json.loads((run.path / "evidence/S5.signoff.json").read_text())["detail"]["missing"]
    (s0,) = [one for one in missing if one.endswith("are NOT_RUN: step S0 was not selected by tags")]
    assert s0.startswith("S0.services, S0.data_flow, ")
    assert done.stdout.splitlines()[-1] == str(run.path / "report" / "index.html")
    assert "S5.signoff" in (run.path / "report" / "PROGRESS.md").read_text()


def test_the_playbook_refuses_what_cannot_be_rendered_again(
    project_root: Path, tmp_path: Path, inventory: Path, environment: dict[str, str]
) -> None:
    """Gates alone, without what they rest on, are no run that could be shown to anybody."""
    profile = parse_profile(full_data())
    run = whole_run(tmp_path / "runs", profile)
    documents(run)
    for one in decide_sign_off(profile, run, Scale.FULL):
        run.record(one.result, one.detail, one.mechanism)
    run.end(RunState.FINISHED)
    (run.path / "evidence/S3.audit.json").unlink()
    command = [project_root / "bin/k2h", "sign-off", "-i", inventory, "--artifacts", tmp_path / "runs"]
    done = subprocess.run(
        [*command, "--repository", tmp_path],
        env=environment, cwd=project_root, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "S3.audit.json" in done.stdout
    assert "nothing was rendered" in done.stdout


def test_the_playbook_lists_all_that_is_missing(
    project_root: Path, tmp_path: Path, inventory: Path, environment: dict[str, str]
) -> None:
    root = tmp_path / "runs"
    begin = [project_root / "bin/k2h", "run", "s5", "-i", inventory, "--artifacts", root]
    subprocess.run(begin, env=environment, cwd=project_root, capture_output=True, timeout=TIMEOUT_S, check=False)
    command = [project_root / "bin/k2h", "sign-off", "-i", inventory, "--artifacts", root, "--check"]
    done = subprocess.run(
        [*command, "--repository", tmp_path],
        env=environment, cwd=project_root, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert "is not signed off" in done.stdout
    assert "not a git repository" in done.stdout
