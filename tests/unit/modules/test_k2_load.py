# SPDX-License-Identifier: Apache-2.0
"""k2_load as ansible-core runs it: a plan that touches nothing, nothing without the platform's name, no password."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.k2.hardening.plugins.module_utils.measure.load.result import Counts, LoadResult
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.schedule import WHOLE, Arrivals
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.sketch import Sketch
from ansible_collections.k2.hardening.plugins.modules import k2_load

from .playbook import Playbook

PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - k2.hardening.k2_load:
        profile: "{{ lookup('k2.hardening.profile') }}"
        state: "{{ my_state | default(omit) }}"
        load: "{{ my_load | default(omit) }}"
        seconds: 2
        arrivals: constant
        source: "{{ my_source | default(omit) }}"
        data_file: /nowhere/trades.csv
        confirm: "{{ my_confirm | default(omit) }}"
        state_dir: "{{ my_state_dir }}"
      register: __answer
      ignore_errors: true
    - ansible.builtin.copy:
        content: "{{ __answer | to_json }}"
        dest: "{{ answer_file }}"
        mode: "0600"
      check_mode: false
"""
PASSWORD = "correct-horse-battery"


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, Any]:
    """A platform of which nothing answers."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    return {
        "my_state_dir": str(tmp_path / "state"),
        "my_load": "busy",
        "k2_platform": {"name": "spot", "scale": "lab", "runtime": "docker"},
        "k2_services": {"log": {"kind": "broker"}},
        "k2_broker": {"bootstrap": f"127.0.0.1:{port}", "topics": {"nordic": {"raw": "deals.nordic"}}},
        "k2_clickhouse": {
            "host": "127.0.0.1", "port": port, "username": "u", "password": "", "database": "d", "timeout_s": 1,
        },
        "k2_tiers": [{"name": "deals", "store": "clickhouse", "table": "deals", "key_columns": ["area"]}],
        "k2_load": {
            "rates": {"busy": 100},
            "control_url": f"http://127.0.0.1:{port}",
            "records": {"nordic": {"symbol": "K2LOAD", "value": '{"area": "$symbol", "at": $time_us}'}},
            "cleanup": {"username": "janitor", "password": PASSWORD},
        },
    }  # fmt: skip


def answer(project_root: Path, tmp_path: Path, variables: dict[str, Any], *options: str) -> dict[str, Any]:
    code, output, found = Playbook(project_root, tmp_path, PLAY).run(variables, "-vvv", *options)
    assert code == 0, output
    assert PASSWORD not in output + json.dumps(found)
    return found


def test_check_mode_plans_and_touches_nothing(project_root: Path, tmp_path: Path, variables: dict[str, Any]) -> None:
    found = answer(project_root, tmp_path, {**variables, "my_source": "file"}, "--check")
    assert (found["changed"], found["plan"]["messages"], found["plan"]["exact"]) == (True, 200, True)
    assert found["plan"]["to"] == {"nordic": "deals.nordic"}
    assert found["plan"].keys() == yaml.safe_load(k2_load.RETURN)["plan"]["sample"].keys()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, "k2_confirm=spot"),
        ({"my_confirm": "k2-lab"}, "k2_confirm=spot"),
        ({"my_confirm": "k2-lab", "my_state": "absent"}, "k2_confirm=spot"),
        ({"my_confirm": "spot"}, "the simulator did not answer"),
        ({"my_confirm": "spot", "my_source": "replay"}, "the broker did not"),
        ({"my_confirm": "spot", "my_load": "bussy"}, "did you mean 'busy'"),
    ],
)
def test_what_cannot_be_done_fails_with_what_to_do(
    project_root: Path, tmp_path: Path, variables: dict[str, Any], changed: dict[str, str], says: str
) -> None:
    found = answer(project_root, tmp_path, {**variables, **changed})
    assert found["failed"] is True
    assert says in found["msg"]
    assert not (tmp_path / "state").exists()


def test_a_database_that_does_not_answer_is_told_tier_by_tier(
    project_root: Path, tmp_path: Path, variables: dict[str, Any]
) -> None:
    found = answer(project_root, tmp_path, {**variables, "my_state": "absent", "my_confirm": "spot"})
    assert found["changed"] is False
    (tier,) = found["cleanup"]["tiers"]
    assert (tier["tier"], tier["found"]) == ("deals", None)
    assert "ClickHouse did not answer" in tier["why"]
    documented = yaml.safe_load(k2_load.RETURN)["cleanup"]["contains"]
    assert found["cleanup"].keys() == documented.keys()
    assert tier.keys() == documented["tiers"]["sample"][0].keys()


def test_what_a_load_returns_is_documented() -> None:
    result = LoadResult(
        source="file", load="busy", rate=1.0, seconds=1.0, arrivals=Arrivals.CONSTANT, seed=1, share=WHOLE, start_us=1,
        end_us=2, ended_us=3, scheduled=1, sent=1, unsent=0, acked=1, errors={}, exchanges={"nordic": Counts(1, 1, 0)},
        lateness=Sketch(), ack=Sketch(), cpu_cores=0.1, interrupted=None,
    )  # fmt: skip
    documented = yaml.safe_load(k2_load.RETURN)["load"]["contains"]
    plain = result.to_plain()
    assert plain.keys() == documented.keys()
    assert plain["lateness"].keys() == documented["lateness"]["sample"].keys()
    assert plain["exchanges"]["nordic"].keys() == documented["exchanges"]["sample"]["binance"].keys()
