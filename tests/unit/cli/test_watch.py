# SPDX-License-Identifier: Apache-2.0
"""`k2h watch` follows a run of another process, on a terminal and without one, and ends with its verdict."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import threading
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.progress import Progress
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import RunDir, RunState

from .test_verdict import FAILED, PASSED, record

TIMEOUT_S = 60


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run under way, driven by this process, with work that has been told of."""
    run = record(tmp_path, FAILED, None)
    with Progress(run.path / "progress.jsonl", "load 5x", "messages", 200) as load:
        load.update(200)
    return run


def test_what_happens_is_told_line_by_line(project_root: Path, run: RunDir) -> None:
    with subprocess.Popen([project_root / "bin/k2h", "watch", run.path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(3)]
        run.end(RunState.FINISHED)
        rest = process.stdout.read()
    assert process.returncode == 1
    assert [line.partition(" ")[2] for line in said[:2]] == ["started: load 5x", "finished: load 5x"]
    assert said[2] == "FAIL S0.clean_start"
    assert "a fault is open" in rest


def test_a_terminal_shows_what_runs_now(project_root: Path, run: RunDir) -> None:
    here, there = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        [project_root / "bin/k2h", "watch", run.path], stdin=there, stdout=there, stderr=there, env=environment
    )
    os.close(there)
    seen = bytearray()
    drawn = threading.Event()

    def read() -> None:
        with contextlib.suppress(OSError):  # the other end is gone
            while piece := os.read(here, 65536):
                seen.extend(piece)
                if b"soak, 25%" in seen and b"1 FAIL" in seen:
                    drawn.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with Progress(run.path / "progress.jsonl", "soak", "s", 400) as soak:
        soak.update(0)
        threading.Event().wait(0.3)
        soak.update(100)
        assert drawn.wait(TIMEOUT_S), bytes(seen[-500:])
    run.end(RunState.FINISHED)
    assert process.wait(TIMEOUT_S) == 1
    reader.join(TIMEOUT_S)
    os.close(here)


def test_a_run_whose_process_is_gone_is_an_error(project_root: Path, tmp_path: Path) -> None:
    run = record(tmp_path, PASSED, None)
    owner = run.path / "owner.json"
    owner.write_text(owner.read_text().replace('"start_ticks": ', '"start_ticks": 1'))
    done = subprocess.run(
        [project_root / "bin/k2h", "watch", run.path], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 2
    assert "is gone" in done.stderr
