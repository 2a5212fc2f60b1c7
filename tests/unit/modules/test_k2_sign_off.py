# SPDX-License-Identifier: Apache-2.0
"""k2_sign_off and k2_compare as tasks: check mode touches nothing, a refusal lists all, a regression is data."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from .playbook import Playbook

PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - k2.hardening.{module}: "{{{{ my_arguments }}}}"
      register: __answer
      ignore_errors: true
    - ansible.builtin.copy:
        content: "{{{{ __answer | to_json }}}}"
        dest: "{{{{ answer_file }}}}"
        mode: "0600"
      check_mode: false
"""


def ask(root: Path, folder: Path, module: str, arguments: dict[str, Any], *options: str) -> dict[str, Any]:
    code, output, answer = Playbook(root, folder, PLAY.format(module=module)).run({"my_arguments": arguments}, *options)
    assert code == 0, output
    return answer


@pytest.fixture
def recorded(tmp_path: Path) -> Any:
    """Makes runs of one gate, in which so many records were lost."""
    from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import (
        GateResult,
        GateSpec,
        Op,
        Scale,
        Verdict,
        decide,
    )
    from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import Owner, RunDir, RunInfo, RunState

    spec = GateSpec("S3.audit", "lost", Op.EQ, 0, "records")

    def make(lost: int) -> str:
        host = {"controller": "here", "kernel": "6", "cpus": 2, "memory_bytes": 2**30}
        info = RunInfo("p", "sha256:0", "inventory/x", "lab", False, {}, None, host)
        begun = [GateResult(spec, Verdict.NOT_RUN, "not yet", Scale.LAB)]
        run = RunDir.create(tmp_path / "runs", info, begun, Owner.of(1))
        run.record(decide(spec, Scale.LAB, lost, 1, ""), {}, "counted")
        run.end(RunState.FINISHED)
        return str(run.path)

    return make


@pytest.mark.parametrize("options", [(), ("--check",)])
def test_a_refusal_lists_all_that_is_missing(
    project_root: Path, tmp_path: Path, recorded: Any, options: tuple[str, ...]
) -> None:
    repository = tmp_path / "platform"
    subprocess.run(["git", "init", "-q", repository], check=True)
    answer = ask(
        project_root, tmp_path, "k2_sign_off", {"run_dir": recorded(3), "repository": str(repository)}, *options
    )
    assert answer["failed"]
    assert len(answer["missing"]) == 5
    for part in ("of scale lab", "S3.audit is FAIL", "S5.signoff", "report/index.html", "git log failed"):
        assert [one for one in answer["missing"] if part in one], part


@pytest.mark.parametrize(("options", "pages"), [((), 2), (("--check",), 0)])
def test_a_regression_is_data(
    project_root: Path, tmp_path: Path, recorded: Any, options: tuple[str, ...], pages: int
) -> None:
    arguments = {"before": recorded(0), "after": recorded(7)}
    answer = ask(project_root, tmp_path, "k2_compare", arguments, *options)
    assert not answer.get("failed")
    assert (answer["verdict"], answer["regressions"], answer["changed"]) == ("FAIL", ["S3.audit"], pages > 0)
    assert len(answer["files"]) == pages
    assert len(list(Path(arguments["after"]).glob("report/*"))) == pages


def test_runs_that_cannot_be_compared_are_an_error(project_root: Path, tmp_path: Path, recorded: Any) -> None:
    run = recorded(0)
    answer = ask(project_root, tmp_path, "k2_compare", {"before": run, "after": run})
    assert answer["failed"]
    assert "the same run" in answer["msg"]
