# SPDX-License-Identifier: Apache-2.0
"""k2_grafana and k2_dashboard_info as ansible-core runs them, against a Grafana that does not answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.k2.hardening.plugins.modules import k2_dashboard_info, k2_grafana

from .playbook import Playbook

PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - k2.hardening.k2_grafana:
        url: "http://127.0.0.1:{{ port }}"
        password: correct-horse
        username: admin
        folder: {uid: k2, title: K2}
        dashboards: "{{ dashboards }}"
        manifest: "{{ answer_file }}.manifest"
      register: __deployed
      ignore_errors: true
    - k2.hardening.k2_dashboard_info:
        url: "{{ address | default('http://127.0.0.1:' ~ port) }}"
        password: correct-horse
      register: __looked
      ignore_errors: true
    - ansible.builtin.copy:
        content: "{{ {'deployed': __deployed, 'looked': __looked} | to_json }}"
        dest: "{{ answer_file }}"
        mode: "0600"
"""


@pytest.fixture(name="closed")
def _closed() -> Iterator[int]:
    """A port that refuses: taken, but nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_what_is_wrong_is_told_before_grafana_is_asked_and_no_password_with_it(
    project_root: Path, tmp_path: Path, closed: int
) -> None:
    variables: dict[str, Any] = {"port": closed, "dashboards": [{"name": "x.json", "text": "no"}], "address": "ftp://g"}
    _, said, answer = Playbook(project_root, tmp_path, PLAY).run(variables, "-vv")
    assert "dashboard x.json: no JSON" in answer["deployed"]["msg"]
    assert "expected: http://... or https://..." in answer["looked"]["msg"]
    assert "correct-horse" not in said


def test_a_grafana_that_does_not_answer_is_told_with_its_address(
    project_root: Path, tmp_path: Path, closed: int
) -> None:
    _, _, answer = Playbook(project_root, tmp_path, PLAY).run({"port": closed, "dashboards": []})
    for name in ("deployed", "looked"):
        assert answer[name]["error"] == "GrafanaUnreachable"
        assert f"http://127.0.0.1:{closed}" in answer[name]["msg"]
    assert not (tmp_path / "answer.json.manifest").exists()


@pytest.mark.parametrize("module", [k2_grafana, k2_dashboard_info])
def test_the_documentation_is_complete(module: Any) -> None:
    documented = yaml.safe_load(module.DOCUMENTATION)
    assert documented["attributes"]["check_mode"]["support"] == "full"
    assert yaml.safe_load(module.EXAMPLES)
    assert {"version"} <= set(yaml.safe_load(module.RETURN))
