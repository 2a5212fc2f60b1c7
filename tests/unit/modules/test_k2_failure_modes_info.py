# SPDX-License-Identifier: Apache-2.0
"""k2_failure_modes_info as ansible-core runs it: every fault with its plan, in order, and nothing changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import failure_facts as given
import pytest
import yaml

from ansible_collections.k2.hardening.plugins.modules import k2_failure_modes_info

from .playbook import Playbook

PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - k2.hardening.k2_failure_modes_info:
        profile: "{{ lookup('k2.hardening.profile') }}"
        only: "{{ only | default(omit) }}"
      register: __answer
      ignore_errors: true
    - ansible.builtin.copy:
        content: "{{ __answer | to_json }}"
        dest: "{{ answer_file }}"
        mode: "0600"
      check_mode: false
"""


@pytest.fixture
def ask(project_root: Path, tmp_path: Path) -> Any:
    def answer(*options: str, **variables: Any) -> dict[str, Any]:
        code, output, found = Playbook(project_root, tmp_path, PLAY).run({**given.PROFILE_DATA, **variables}, *options)
        assert code == 0, output
        return found

    return answer


def test_every_fault_is_listed_with_its_plan_the_same_in_check_mode(ask: Any) -> None:
    found = ask()
    assert (found["changed"], found["unselected"]) == (False, [])
    assert [each["name"] for each in found["rounds"]] == [
        "archive_killed",
        "2 crashes: archiver, board",
        "archive_off",
        "odds_crash",
        "log_restart",
        "2 crashes: log, store",
        "store_cut",
    ]
    faults = [fault for each in found["rounds"] for fault in each["faults"]]
    assert len(faults) == 10
    # There is no supervisor: each fault says so, and is listed all the same.
    assert all("/run/s.sock" in fault["obstacle"] for fault in faults if fault["mode"] != "store_cut")
    documented = yaml.safe_load(k2_failure_modes_info.RETURN)["rounds"]["contains"]
    assert all(each.keys() == documented.keys() for each in found["rounds"])
    checked = ask("--check")
    assert (checked["rounds"], checked["changed"]) == (found["rounds"], False)


def test_what_is_not_chosen_is_named(ask: Any) -> None:
    found = ask(only=["odds_crash", "crash_board"])
    assert [each["modes"] for each in found["rounds"]] == [["crash_board"], ["odds_crash"]]
    assert "log_restart" in found["unselected"]
    assert len(found["unselected"]) == 7


def test_a_name_that_is_none_is_refused_with_the_nearest(ask: Any) -> None:
    found = ask(only=["crashs"])
    assert (found["failed"], found["error"]) == (True, "UnknownFailure")
    assert "did you mean 'crashes'" in found["msg"]
