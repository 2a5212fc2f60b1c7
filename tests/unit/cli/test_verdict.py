"""`k2h verdict`, `k2h report`, `k2h run`: what scripts may branch on."""

from __future__ import annotations

import json
import os
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
