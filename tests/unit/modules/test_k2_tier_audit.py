# SPDX-License-Identifier: Apache-2.0
"""k2_tier_audit as ansible-core runs it, against a platform of which nothing answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.result import (
    Audit,
    CandleResult,
    Cost,
    RangeResult,
    TierResult,
    UpstreamResult,
    ValuesResult,
)
from ansible_collections.k2.hardening.plugins.modules import k2_tier_audit

from .playbook import Playbook

PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - k2.hardening.k2_tier_audit:
        profile: "{{ lookup('k2.hardening.profile') }}"
        mark_only: "{{ my_mark | default(false) }}"
        expected: "{{ my_expected | default({}) }}"
      check_mode: true
      register: __answer
      ignore_errors: true
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


def variables(port: int, **more: Any) -> dict[str, Any]:
    database = {"host": "127.0.0.1", "port": port, "username": "u", "password": "correct-horse", "database": "d"}
    return {
        "k2_platform": {"name": "p", "scale": "lab", "runtime": "docker"},
        "k2_services": {"a": {"kind": "service"}},
        "k2_broker": {"bootstrap": f"127.0.0.1:{port}", "topics": {"x": {"raw": "x.raw"}}},
        "k2_clickhouse": database,
        **more,
    }


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"my_expected": {"y": 1}}, "expected names an exchange"),
        ({"my_expected": {"x": "many"}}, "expected cannot be read"),
        ({"k2_broker": None}, "there is nothing to audit between"),
    ],
)
def test_what_cannot_be_audited_is_an_error_that_says_why(
    project_root: Path, tmp_path: Path, closed: int, more: dict[str, Any], says: str
) -> None:
    code, output, answer = Playbook(project_root, tmp_path, PLAY).run(variables(closed, **more), "-vvv")
    assert code == 0, output
    assert answer["failed"]
    assert says in answer["msg"]
    assert "Traceback" not in output
    assert "correct-horse" not in output


def test_a_broker_that_does_not_answer_is_an_error_that_says_so(
    project_root: Path, tmp_path: Path, closed: int
) -> None:
    code, output, answer = Playbook(project_root, tmp_path, PLAY).run(variables(closed, my_mark=True))
    assert code == 0, output
    assert (answer["failed"], answer["error"]) == (True, "BrokerError")


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ("range", RangeResult),
        ("upstream", UpstreamResult),
        ("tiers", TierResult),
        ("values", ValuesResult),
        ("candles", CandleResult),
        ("cost", Cost),
    ],
)
def test_what_the_module_returns_is_documented(part: str, kind: type) -> None:
    documented = yaml.safe_load(k2_tier_audit.RETURN)["audit"]["contains"]
    assert set(documented) == {field.name for field in fields(Audit)}
    sample = documented[part]["sample"]
    assert set(sample[0] if isinstance(sample, list) else sample) == {field.name for field in fields(kind)}
