# SPDX-License-Identifier: Apache-2.0
"""Tests shared among processes: each is run once, and one that measures has the machine to itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ports import BASES, own_part

TOOLS = Path(__file__).resolve().parents[2] / "tools"
CONFTEST = """
import json, os, time
from pathlib import Path
import pytest
from shares import run_share

HERE = Path(__file__).parent

@pytest.fixture(scope="session")
def lab():
    with (HERE / "labs").open("a") as labs:
        labs.write("lab\\n")
    yield

def pytest_runtestloop(session):
    run_share(session, HERE / "claims")
    return True

@pytest.fixture(autouse=True)
def noted(request):
    begun = time.monotonic()
    time.sleep(0.05)
    yield
    note = {"test": request.node.nodeid, "pid": os.getpid(), "begun": begun, "ended": time.monotonic()}
    with (HERE / "notes").open("a") as notes:
        notes.write(json.dumps(note) + "\\n")
"""
MEASURES = "@pytest.mark.measures\n"
FILES = {
    "test_a": ["def test_lab_1(lab): pass", f"{MEASURES}def test_lab_2(lab): pass", "def test_lab_3(lab): pass"],
    "test_b": ["def test_4(): pass", f"{MEASURES}def test_5(): pass"],
    "test_c": ["def test_lab_6(lab): pass", "def test_7(): pass", "def test_8(): pass"],
    "test_d": ["@pytest.fixture\ndef lab(): return 'its own'\n\ndef test_9(lab): assert lab == 'its own'"],
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = measures\n")
    (tmp_path / "claims").mkdir()
    for name, tests in FILES.items():
        (tmp_path / f"{name}.py").write_text("\n\n".join(["import pytest", *tests]) + "\n")
    return tmp_path


def run(directory: Path, processes: int) -> list[int]:
    """Their exit codes."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", f"pythonpath={TOOLS}", "."]
    begun = [subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL) for _ in range(processes)]
    return [process.wait(timeout=120) for process in begun]


def notes(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "notes").read_text().splitlines()]


@pytest.mark.parametrize("processes", [1, 3])
def test_each_test_is_run_once_with_a_lab_for_those_that_measure_and_one_for_the_others(
    directory: Path, processes: int
) -> None:
    assert run(directory, processes) == [0] * processes
    ran = sorted(note["test"] for note in notes(directory))
    assert ran == sorted({*ran})
    assert len(ran) == 9
    assert (directory / "labs").read_text() == "lab\nlab\n"


def test_nothing_runs_beside_a_test_that_measures(directory: Path) -> None:
    assert run(directory, 3) == [0] * 3
    ran = notes(directory)
    for name in ("test_lab_2", "test_5"):
        (alone,) = (note for note in ran if note["test"].endswith(name))
        beside = [note for note in ran if note["begun"] < alone["ended"] and alone["begun"] < note["ended"]]
        assert beside == [alone]


def test_a_failure_in_one_share_is_its_exit_code(directory: Path) -> None:
    (directory / "test_e.py").write_text("def test_fails(): assert False\n")
    assert sorted(run(directory, 3)) == [0, 0, 1]
    assert len(notes(directory)) == 10


def test_shares_look_for_ports_in_parts_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_part(BASES) == BASES
    parts = []
    for number in (1, 2, 3):
        monkeypatch.setenv("K2_TEST_SHARE", f"{number}/3")
        parts += own_part(BASES)
    assert sorted(parts) == list(BASES)
