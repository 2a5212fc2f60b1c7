# SPDX-License-Identifier: Apache-2.0
"""k2_alert_drill as ansible-core runs it: a plan touches nothing, and what cannot be drilled is refused with words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .playbook import Playbook

PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - k2.hardening.k2_alert_drill:
        profile: "{{ lookup('k2.hardening.profile') }}"
        state_dir: "{{ k2_state_dir }}"
        only: "{{ only | default([]) }}"
        confirm: "{{ say | default(omit) }}"
      register: __answer
      ignore_errors: true
    - ansible.builtin.copy:
        content: "{{ __answer | to_json }}"
        dest: "{{ answer_file }}"
        mode: "0600"
      check_mode: false
"""


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, Any]:
    return {
        "k2_state_dir": str(tmp_path / "state"),
        "k2_platform": {"name": "spot", "scale": "lab", "runtime": "docker"},
        "k2_services": {"store": {"kind": "object-store", "allow_faults": True}},
        "k2_failure_modes": {
            "object_store_unavailable": {
                "services": ["store"],
                "action": "stop",
                "duration_s": 60,
                "max_recovery_s": 30,
                "recovery_at": "served",
            }
        },
        "k2_alerting": {
            "prometheus_url": "http://127.0.0.1:1",
            "alertmanager_url": "http://127.0.0.1:1",
            "log_url": "http://127.0.0.1:1",
        },
    }


def answer(root: Path, folder: Path, variables: dict[str, Any], *options: str) -> dict[str, Any]:
    code, output, found = Playbook(root, folder, PLAY).run(variables, *options)
    assert code == 0, output
    return found


def test_a_plan_is_made_of_the_catalogue_and_touches_nothing(project_root, tmp_path, variables):
    plan = answer(project_root, tmp_path, variables, "--check")["plan"]
    (first,) = plan["rounds"]
    assert first["faults"] == ["object_store_unavailable on store"]
    assert "ObjectStoreDown" in first["alerts"]
    assert plan["always"] == ["Watchdog"]
    assert plan["synthetic"]["TargetDown"] == "the platform has no failure mode clickhouse_partition"
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"only": ["ObjectStoreDwon"], "say": "spot"}, "did you mean 'ObjectStoreDown'?"),
        ({}, "a drill of alerts changes the platform"),
        ({"say": "spot"}, "Prometheus did not answer"),
    ],
)
def test_what_cannot_be_drilled_is_refused(project_root, tmp_path, variables, more, told):
    found = answer(project_root, tmp_path, variables | more)
    assert found["failed"]
    assert told in found["msg"]
    assert not (tmp_path / "state" / "spot" / "undo").exists()
