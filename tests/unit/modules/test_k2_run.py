# SPDX-License-Identifier: Apache-2.0
"""k2_run begins and ends a run on the controller."""

from __future__ import annotations

from pathlib import Path

import failure_facts as given

from .playbook import Playbook

PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - k2.hardening.k2_run:
        state: started
        profile: "{{ my_profile }}"
        artifacts_dir: "{{ my_artifacts }}"
        inventory: here
        quick: true
        steps: [S5]
      register: __answer
    - ansible.builtin.copy:
        content: "{{ __answer | to_json }}"
        dest: "{{ answer_file }}"
        mode: "0600"
"""


def test_where_a_run_is_does_not_depend_on_who_asks(project_root: Path, tmp_path: Path) -> None:
    asked = Path("..") / tmp_path.relative_to(project_root.anchor) / "runs"
    relative = Path(*[".."] * (len(project_root.parts) - 2)) / asked
    assert not relative.is_absolute()
    code, output, answer = Playbook(project_root, tmp_path, PLAY).run(
        {"my_profile": given.PROFILE_DATA, "my_artifacts": str(relative)}
    )
    assert code == 0, output
    run_dir = Path(answer["run_dir"])
    assert run_dir.is_absolute()
    assert run_dir.resolve().parent == tmp_path / "runs"
    assert answer["steps"] == ["S5"]
