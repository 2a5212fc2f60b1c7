"""`k2h verdict`, `k2h report`, `k2h run`: what scripts may branch on."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.cli.main import main
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import (
    GateResult,
    GateSpec,
    Op,
    Scale,
    Verdict,
    decide,
)
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import Owner, RunDir, RunInfo, RunState

SPEC = GateSpec("S0.clean_start", "Nothing is left open", Op.EQ, 0, "open items")
HOST = {"controller": "here", "kernel": "6", "cpus": 2, "memory_bytes": 2**30}
INFO = RunInfo("p", "sha256:0", "inventory/lab", "lab", False, {"k2.hardening": "0.1.0"}, None, HOST)


def record(root: Path, result: GateResult | None, state: RunState | None = RunState.FINISHED) -> RunDir:
    run = RunDir.create(root, INFO, [GateResult(SPEC, Verdict.NOT_RUN, "not yet", Scale.LAB)], Owner.of(os.getpid()))
    if result is not None:
        run.record(result, {"places": []}, "searched")
    if state is not None:
        run.end(state, None if state is RunState.FINISHED else "stopped")
    return run


PASSED = decide(SPEC, Scale.LAB, 0, 1, "")
FAILED = decide(SPEC, Scale.LAB, 1, 1, "a fault is open")


@pytest.mark.parametrize(
    ("result", "state", "code"),
    [
        (PASSED, RunState.FINISHED, 0),
        (FAILED, RunState.FINISHED, 1),
        (None, RunState.FINISHED, 3),
        (PASSED, RunState.ERROR, 2),
        (FAILED, RunState.INTERRUPTED, 2),
        (PASSED, None, 2),
    ],
)
def test_the_exit_code_is_the_verdict_of_a_finished_run(tmp_path, capsys, result, state, code):
    run = record(tmp_path, result, state)
    assert main(["verdict", str(run.path)]) == code
    out = capsys.readouterr().out
    assert "S0.clean_start" in out
    assert result is not FAILED or "a fault is open" in out


def test_json_is_the_contract_file(tmp_path, capsys):
    run = record(tmp_path, PASSED)
    main(["verdict", "--json", str(run.path)])
    assert json.loads(capsys.readouterr().out) == json.loads((run.path / "results.json").read_text())


def test_no_run_is_an_error_that_names_the_place(tmp_path, capsys):
    assert main(["verdict", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_report_renders_again(tmp_path, capsys):
    run = record(tmp_path, PASSED)
    assert main(["report", str(run.path)]) == 0
    for line in capsys.readouterr().out.splitlines():
        assert Path(line).stat().st_size > 0


@pytest.fixture
def playbook_program(tmp_path, monkeypatch):
    """Stands in for ansible-playbook beside a stand-in for this Python: records its arguments, does what it is told."""

    def install(script: str) -> Path:
        bin_dir = tmp_path / "bin"
        bin_dir.mkdir()
        program = bin_dir / "ansible-playbook"
        program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {tmp_path}/arguments\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(bin_dir / "python"))
        return tmp_path / "arguments"

    return install


def test_run_without_a_new_run_is_an_error(tmp_path, capsys, playbook_program):
    record(tmp_path / "runs", PASSED)
    playbook_program("exit 0")
    assert main(["run", "-i", "inventory/lab", "--artifacts", str(tmp_path / "runs")]) == 2
    assert "no run was recorded" in capsys.readouterr().err


def test_run_passes_arguments_on_and_ends_with_the_verdict(tmp_path, capsys, playbook_program):
    failed = record(tmp_path / "elsewhere", FAILED)
    root = tmp_path / "runs"
    root.mkdir()
    arguments = playbook_program(f"cp -r {failed.path} {root}/new && ln -s new {root}/latest")
    assert main(["run", "-i", "inventory/lab", "--artifacts", str(root), "--", "--tags", "s0"]) == 1
    assert arguments.read_text().split() == [
        "-i",
        "inventory/lab",
        "k2.hardening.phase7",
        "-e",
        f"k2_artifacts_dir={root}",
        "--tags",
        "s0",
    ]
