# SPDX-License-Identifier: Apache-2.0
"""Module, lookup and inventories as ansible-core sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .playbook import Playbook

PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - k2.hardening.k2_stack_info:
        profile: "{{ lookup('k2.hardening.profile') }}"
        sample_seconds: 0
      check_mode: "{{ checked | default(false) | bool }}"
      register: __answer
    - ansible.builtin.copy:
        content: "{{ __answer | to_json }}"
        dest: "{{ answer_file }}"
        mode: "0600"
"""
VARIABLES: dict[str, Any] = {
    "k2_platform": {
        "name": "p",
        "scale": "lab",
        "runtime": "supervisor",
        "runtimes": {"supervisor": {"socket": "{{ my_socket }}"}},
    },
    "my_socket": "/nonexistent/s.sock",
    "k2_services": {"a": {"kind": "service", "port": "{{ 24500 + 1 }}"}},
    "k2_clickhouse": {
        "host": "h",
        "port": 1,
        "username": "u",
        "password": "correct-horse-battery",
        "database": "d",
    },
}


@pytest.fixture
def playbook(project_root: Path, tmp_path: Path) -> Playbook:
    return Playbook(project_root, tmp_path, PLAY)


def test_sick_stack_is_data_and_templates_are_resolved(playbook: Playbook) -> None:
    code, output, answer = playbook.run(VARIABLES, "-vvv")
    assert code == 0, output
    assert (answer["changed"], answer["all_ready"], answer["not_ready"]) == (False, False, ["a"])
    service = answer["services"]["a"]
    assert (service["port"], service["state"]) == (24501, "unknown")
    assert "/nonexistent/s.sock" in service["problem"]
    assert answer["clock"]["start"]["boot_id"]


def test_password_is_in_no_output(playbook: Playbook) -> None:
    code, output, answer = playbook.run(VARIABLES, "-vvv")
    assert code == 0
    assert "correct-horse-battery" not in output + json.dumps(answer)


def test_check_mode_answers_the_same(playbook: Playbook) -> None:
    code, output, answer = playbook.run(VARIABLES, "-e", "checked=true")
    assert code == 0, output
    assert answer["not_ready"] == ["a"]


def test_all_mistakes_of_an_inventory_are_told_at_once(playbook: Playbook) -> None:
    wrong = {**VARIABLES, "k2_servics": {}, "k2_services": {"a": {"kind": "service", "prot": 1}}}
    code, output, _ = playbook.run(wrong)
    assert code != 0
    assert "did you mean 'k2_services'" in output
    assert "did you mean 'port'" in output
