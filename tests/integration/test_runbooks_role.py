# SPDX-License-Identifier: Apache-2.0
"""Role runbooks as ansible-core runs it: a check writes nothing, a second time changes none, wrong names are told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLATFORM: dict[str, Any] = {
    "k2_platform": {
        "name": "betting",
        "scale": "lab",
        "runtime": "supervisor",
        "runtimes": {"supervisor": {"socket": "/nowhere/s.sock"}},
    },
    "k2_services": {
        "odds-api": {
            "kind": "service",
            "tier": "hot",
            "allow_faults": True,
            "probe": {"http": {"url": "http://127.0.0.1:9/health"}},
        }
    },
    "k2_failure_modes": {"odds_crash": {"services": ["odds-api"], "action": "kill", "max_recovery_s": 5}},
}
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: k2.hardening.runbooks
"""


class Role:
    """Runs the role in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **PLATFORM}
        (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"localhost": host}}}))
        (folder / "play.yml").write_text(PLAY)
        (folder / "ansible.cfg").write_text(f"[defaults]\ncollections_path = {ROOT / 'collections'}\n")

    def run(self, *options: str, play: str | Path = "play.yml", **variables: Any) -> tuple[int, int, str]:
        """Exit code, changed tasks and output."""
        given = {
            "k2_runbooks_directory": str(self.folder / "out" / "runbooks"),
            "k2_artifacts_dir": str(self.folder / "artifacts"),
            "k2_state_dir": str(self.folder / "state"),
        } | variables
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "ansible",
                "playbook",
                "-i",
                "hosts.yml",
                str(play),
                "-e",
                json.dumps(given),
                *options,
            ],
            cwd=self.folder,
            env={**os.environ, "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"), "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        said = done.stdout + done.stderr
        changed = re.search(r"changed=(\d+)", said)
        return done.returncode, int(changed[1]) if changed else -1, said


@pytest.fixture
def role(tmp_path: Path) -> Role:
    return Role(tmp_path)


def test_check_real_check_again_real_again(role: Role) -> None:
    out = role.folder / "out"
    code, changed, said = role.run("--check")
    assert (code, changed) == (0, 1), said
    assert not out.exists()
    code, changed, said = role.run()
    assert (code, changed) == (0, 1), said
    assert "supervisorctl -s unix:///nowhere/s.sock start odds-api" in (out / "runbooks" / "odds_crash.md").read_text()
    index = (out / "site" / "index.html").read_text()
    assert "odds_crash.html" in index
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?https?://", index)
    for options in (("--check",), ()):
        code, changed, said = role.run(*options)
        assert (code, changed) == (0, 0), said


def test_a_misspelt_runbook_is_told_with_those_that_there_are(role: Role) -> None:
    play = ROOT / "playbooks" / "runbook_test.yml"
    role.folder.joinpath("hosts.yml").write_text(
        role.folder.joinpath("hosts.yml").read_text().replace("all:\n  hosts:", "platform:\n  hosts:")
    )
    code, _, said = role.run(play=play, k2_runbooks_only="odds_crush", k2_runbooks_site=False, k2_runbooks_directory="")
    assert code != 0
    assert "seen odds_crush" in " ".join(said.split())
    assert "odds_crash" in said


def test_without_the_platforms_name_nothing_is_followed_and_every_gate_says_why(role: Role) -> None:
    role.folder.joinpath("hosts.yml").write_text(
        role.folder.joinpath("hosts.yml").read_text().replace("all:\n  hosts:", "platform:\n  hosts:")
    )
    code, _, said = role.run(
        play=ROOT / "playbooks" / "runbook_test.yml", k2_runbooks_site=False, k2_runbooks_directory="", k2_fail_on=[]
    )
    assert code == 0, said
    results = json.loads((role.folder / "artifacts" / "latest" / "results.json").read_text())
    gates = {gate["id"]: gate for gate in results["gates"] if gate["step"] == "S5"}
    assert gates["S5.runbook.odds_crash"]["verdict"] == "NOT_RUN"
    assert "-e k2_confirm=betting" in gates["S5.runbook.odds_crash"]["reason"]
    assert gates["S5.runbook.candle_view_stall"]["verdict"] == "NOT_APPLICABLE"
    assert not (role.folder / "state").exists()
