# SPDX-License-Identifier: Apache-2.0
"""k2_undo and playbooks/undo.yml as ansible-core runs them: a look touches nothing, a failure tells of every entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Journal
from ansible_collections.k2.hardening.plugins.module_utils.fault.lock import PlatformLock
from ansible_collections.k2.hardening.plugins.modules import k2_undo

from .playbook import Playbook

PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - k2.hardening.k2_undo:
        profile: "{{ lookup('k2.hardening.profile') }}"
        state_dir: "{{ k2_state_dir }}"
        timeout: 1
      register: __answer
      ignore_errors: true
    - ansible.builtin.copy:
        content: "{{ __answer | to_json }}"
        dest: "{{ answer_file }}"
        mode: "0600"
      check_mode: false
"""
DEAD = 2**22 + 1


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, Any]:
    return {
        "k2_state_dir": str(tmp_path / "state"),
        "k2_platform": {"name": "spot", "scale": "lab", "runtime": "docker"},
        "k2_services": {"log": {"kind": "broker"}},
    }


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state" / "spot" / "undo")


def left(journal: Journal, argv: list[str]) -> str:
    undo = {"op": "exec", "argv": argv, "ok": [0]}
    return journal.open("run-1", "log", "pause", "resume", {}, steps=[undo], deadline_ns=1, pid=DEAD).id


def answer(root: Path, folder: Path, variables: dict[str, Any], *options: str) -> dict[str, Any]:
    code, output, found = Playbook(root, folder, PLAY).run(variables, *options)
    assert code == 0, output
    return found


def test_where_nothing_was_ever_done_nothing_is_made(project_root, tmp_path, variables):
    found = answer(project_root, tmp_path, variables)
    assert (found["changed"], found["entries"], found["loads"]) == (False, [], [])
    assert not (tmp_path / "state").exists()


def test_check_lists_then_it_is_undone_then_nothing_is_open(project_root, tmp_path, variables, journal):
    entry = left(journal, ["touch", str(tmp_path / "undone")])
    load = journal.open("", "topic", "load 5x", "ended with its process", {"kind": "load", "pid": str(DEAD)})
    seen = answer(project_root, tmp_path, variables, "--check")
    assert (seen["changed"], [(e["id"], e["state"]) for e in seen["entries"]]) == (True, [(entry, "left")])
    assert not (tmp_path / "undone").exists()
    assert len(journal.open_entries()) == 2
    done = answer(project_root, tmp_path, variables)
    assert (done["changed"], [(e["id"], e["state"]) for e in done["entries"]]) == (True, [(entry, "undone")])
    assert done["loads"] == [f"load 5x, begun at {load.opened}"]
    assert (tmp_path / "undone").exists()
    assert answer(project_root, tmp_path, variables)["changed"] is False
    documented = yaml.safe_load(k2_undo.RETURN)["entries"]["contains"]
    assert done["entries"][0].keys() == documented.keys()
    assert done["entries"][0]["steps"][0].keys() == documented["steps"]["sample"][0].keys()


def test_one_that_fails_fails_the_task_with_the_whole_list(project_root, tmp_path, variables, journal):
    left(journal, ["true"])
    left(journal, ["false"])
    found = answer(project_root, tmp_path, variables)
    assert (found["failed"], found["changed"]) == (True, True)
    assert "pause of log: false: exit code 1" in found["msg"]
    assert [e["state"] for e in found["entries"]] == ["failed", "undone"]


def test_a_run_under_way_is_not_disturbed(project_root, tmp_path, variables, journal):
    left(journal, ["touch", str(tmp_path / "undone")])
    with PlatformLock(tmp_path / "state" / "spot", "run-2"):
        found = answer(project_root, tmp_path, variables)
    assert "of run run-2" in found["msg"]
    assert not (tmp_path / "undone").exists()


def test_the_playbook_tells_and_fails_as_the_module_does(project_root, tmp_path, variables, journal):
    def play(*options: str) -> tuple[int, str]:
        text = (project_root / "playbooks" / "undo.yml").read_text().replace("hosts: platform", "hosts: localhost")
        code, output, _ = Playbook(project_root, tmp_path, text).run({**variables, "undo_timeout": 1}, *options)
        return code, output

    code, output = play()
    assert (code, "nothing is open" in output) == (0, True), output
    left(journal, ["true"])
    code, output = play("--check")
    assert (code, "left: pause of log" in output) == (0, True), output
    code, output = play()
    assert (code, "undone: pause of log" in output) == (0, True), output
    left(journal, ["false"])
    code, output = play()
    assert code != 0
    assert "failed: pause of log" in output
    assert "not all is undone" in output
