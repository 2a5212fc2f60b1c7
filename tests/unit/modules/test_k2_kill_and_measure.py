# SPDX-License-Identifier: Apache-2.0
"""k2_kill_and_measure as ansible-core runs it: a wrong question breaks nothing, and check mode is the plan alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import failure_facts as given
import pytest
import yaml

from ansible_collections.k2.hardening.plugins.modules import k2_kill_and_measure

from .playbook import Playbook

PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - k2.hardening.k2_kill_and_measure:
        profile: "{{ lookup('k2.hardening.profile') }}"
        state_dir: "{{ k2_state_dir }}"
        mode: "{{ mode }}"
        service: "{{ service | default(omit) }}"
        confirm: "{{ k2_confirm | default(omit) }}"
        steady_timeout: 1
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
    """Ask for a mode of a platform whose supervisor is not there; tells what came of it, and that nothing was made."""

    def answer(mode: str, *options: str, **variables: Any) -> dict[str, Any]:
        state = tmp_path / "state"
        code, output, found = Playbook(project_root, tmp_path, PLAY).run(
            {**given.PROFILE_DATA, "k2_state_dir": str(state), "mode": mode, **variables}, *options
        )
        assert code == 0, output
        assert not state.exists()
        return found

    return answer


@pytest.mark.parametrize("confirm", [{}, {"k2_confirm": ""}, {"k2_confirm": "Betting"}, {"k2_confirm": "k2"}])
def test_nothing_is_broken_unless_the_platforms_name_is_said_back(ask: Any, confirm: dict[str, str]) -> None:
    found = ask("log_restart", **confirm)
    assert (found["failed"], found["error"]) == (True, "NotConfirmed")
    assert "-e k2_confirm=betting" in found["msg"]


@pytest.mark.parametrize(
    ("mode", "variables", "says"),
    [
        ("log_restrat", {}, "did you mean 'log_restart'"),
        ("odds_crash", {}, "one of odds-uk, odds-ie"),
        ("odds_crash", {"service": "log"}, "seen: log"),
    ],
)
def test_what_is_none_of_the_platform_is_refused_also_in_check_mode(
    ask: Any, mode: str, variables: dict[str, Any], says: str
) -> None:
    for options in ((), ("--check",)):
        found = ask(mode, *options, k2_confirm="betting", **variables)
        assert (found["failed"], found["error"]) == (True, "UnknownFailure")
        assert says in found["msg"]


def test_check_mode_tells_the_plan_without_a_confirmation_and_touches_nothing(ask: Any) -> None:
    found = ask("archive_off", "--check")
    assert (found["failed"], found["changed"]) == (False, True)
    plan = found["plan"]
    assert (plan["action"], plan["duration_s"]) == ("stop archiver in order for 40 s", 40)
    assert "/run/s.sock" in plan["obstacle"]
    documented = yaml.safe_load(k2_kill_and_measure.RETURN)["plan"]["contains"]
    # C(service), C(unit) and C(target) are told with the mode and the action.
    assert plan.keys() - {"service", "unit", "target"} == documented.keys()


def test_a_runtime_that_cannot_be_reached_is_told_before_anything_is_made(ask: Any) -> None:
    found = ask("log_restart", k2_confirm="betting")
    assert found["failed"]
    assert "/run/s.sock" in found["msg"]
