# SPDX-License-Identifier: Apache-2.0
"""k2_preflight_info as ansible-core runs it, against a platform of which nothing answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.k2.hardening.plugins.modules import k2_preflight_info

from .playbook import Playbook

PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - k2.hardening.k2_preflight_info:
        profile: "{{ lookup('k2.hardening.profile') }}"
        flow_timeout: 0
        offload_timeout: 0
        state_dir: "{{ my_state }}"
      register: __answer
    - ansible.builtin.copy:
        content: "{{ __answer | to_json }}"
        dest: "{{ answer_file }}"
        mode: "0600"
"""


@pytest.fixture(name="closed")
def _closed() -> Iterator[int]:
    """A port that refuses: taken, but nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def variables(port: int, state: Path) -> dict[str, Any]:
    where = {"host": "127.0.0.1", "port": port, "username": "u", "database": "d"}
    return {
        "my_state": str(state),
        "k2_platform": {"name": "p", "scale": "lab", "runtime": "docker"},
        "k2_services": {"a": {"kind": "service"}},
        "k2_clickhouse": {**where, "password": "correct-horse-battery"},
        "k2_watermarks": {
            **where,
            "password": "staple-donkey-charger",
            "table": "offloads",
            "name_column": "source_table",
            "time_column": "last_watermark",
            "max_age_s": 300,
            "sources": ["x"],
            "needs": ["a"],
        },
        "k2_orchestrator": {
            "url": f"http://127.0.0.1:{port}/api",
            "deployments": [{"name": "f/x", "interval_s": 60}],
        },
    }


def test_what_does_not_answer_is_data_and_no_password_is_shown(project_root: Path, tmp_path: Path, closed: int) -> None:
    playbook = Playbook(project_root, tmp_path, PLAY)
    code, output, answer = playbook.run(variables(closed, tmp_path), "-vvv")
    assert code == 0, output
    assert answer["watermarks"]["database"] == f"127.0.0.1:{closed}/d"
    assert "Postgres did not answer" in answer["watermarks"]["error"]
    assert [mark["source"] for mark in answer["watermarks"]["watermarks"]] == ["x"]
    assert "Prefect did not answer" in answer["schedule"][0]["error"]
    for password in ("correct-horse-battery", "staple-donkey-charger"):
        assert password not in output + json.dumps(answer)


def test_what_the_module_returns_is_documented(project_root: Path, tmp_path: Path, closed: int) -> None:
    code, output, answer = Playbook(project_root, tmp_path, PLAY).run(variables(closed, tmp_path))
    assert code == 0, output
    documented = yaml.safe_load(k2_preflight_info.RETURN)
    own = set(answer) - {"changed", "failed"}
    assert own == set(documented)
    assert set(answer["watermarks"]) == set(documented["watermarks"]["contains"])
    (mark,) = documented["watermarks"]["contains"]["watermarks"]["sample"]
    assert set(answer["watermarks"]["watermarks"][0]) == set(mark)
    assert [mismatch["kind"] for mismatch in answer["mismatches"]] == ["runtime", "unknown"]
    assert set(answer["mismatches"][0]) == set(documented["mismatches"]["contains"])
    (sight,) = documented["schedule"]["sample"]
    assert set(answer["schedule"][0]) == set(sight)
