# SPDX-License-Identifier: Apache-2.0
"""k2_latency as Ansible runs it: what it refuses, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .playbook import Playbook

ROOT = Path(__file__).resolve().parents[3]
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - k2.hardening.k2_latency:
        profile: "{{ profile }}"
        window_start_us: "{{ begin }}"
        window_end_us: "{{ end }}"
        target_ms: 200
        canary: "{{ canary | default(omit) }}"
        state_dir: "{{ state_dir | default(omit) }}"
      register: answer
      ignore_errors: true
    - ansible.builtin.copy:
        content: "{{ answer | to_json }}"
        dest: "{{ answer_file }}"
        mode: "0600"
      check_mode: false
"""


def profile(**changed: Any) -> dict[str, Any]:
    clickhouse = {"host": "127.0.0.1", "port": 1, "username": "u", "password": "hidden-one", "database": "d"}
    return {
        "k2_platform": {"name": "power", "scale": "lab", "runtime": "docker"},
        "k2_services": {"collector": {"kind": "feed-handler"}},
        "k2_clickhouse": clickhouse,
        "k2_tiers": [
            {"name": "deals", "store": "clickhouse", "table": "deals", "time_columns": {"exchange": {"column": "at"}}},
            {"name": "hourly", "store": "clickhouse", "table": "hourly", "source": "deals", "timeframe": "1h"},
        ],
        **changed,
    }


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"profile": profile()}, "ClickHouse did not answer"),
        ({"profile": profile(), "begin": 5, "end": 5}, "the window is empty"),
        ({"profile": profile(k2_platfrom={})}, "profile.k2_platfrom"),
    ],
)
def test_bad_input_is_told_and_no_password_is(tmp_path: Path, variables: dict[str, Any], told: str) -> None:
    code, output, answer = Playbook(ROOT, tmp_path, PLAY).run({"begin": 1, "end": 2_000_000, **variables}, "--check")
    assert code == 0, output
    assert answer["failed"]
    assert told in answer["msg"]
    assert "Traceback" not in output
    assert "hidden-one" not in output + str(answer)


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"state_dir": "undo"}, "a canary changes the platform"),
        ({}, "missing parameter(s) required by 'canary': state_dir"),
    ],
)
def test_a_canary_has_to_be_confirmed_and_needs_a_journal(tmp_path: Path, own: dict[str, str], told: str) -> None:
    asked = {"profile": profile(), "begin": 1, "end": 2_000_000, "canary": {"exchange": "x", "rate_per_s": 1}}
    code, output, answer = Playbook(ROOT, tmp_path, PLAY).run({**asked, **own})
    assert code == 0, output
    assert told in answer["msg"]
