# SPDX-License-Identifier: Apache-2.0
"""The runner of stages: side by side or in turn, each is run once and none hides how another went."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import run_all
from run_all import Count, Log


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Stages that do nothing but say so; lint fails, and sanity runs no check."""
    names: list[str] = []

    def stage(name: str) -> run_all.Stage:
        def play(log: Log) -> tuple[int, Count]:
            code, text = log.run("sh", "-c", f"echo {name} was here; exit {int(name == 'lint')}")
            names.append(name)
            assert text == f"{name} was here\n"
            return code, Count(int(name != "sanity"), 0)

        return play

    monkeypatch.setattr(run_all, "OUTPUT", tmp_path)
    monkeypatch.setattr(run_all, "ROOT", tmp_path)
    monkeypatch.setattr(run_all, "STAGES", {name: stage(name) for name in run_all.STAGES})
    return names


def test_every_stage_has_its_place_once() -> None:
    planned = [name for line in run_all.PLAN for lane in line for name in lane]
    assert sorted(planned) == sorted(run_all.STAGES)


def test_all_stages_run_whatever_fails(ran: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_all.main([]) == 1
    assert sorted(ran) == sorted(run_all.STAGES)
    said = capsys.readouterr().out
    assert "[lint] lint was here\n" in said
    assert "\nunit was here\n" in said
    table = {line.split()[0]: line.split()[1:] for line in said.splitlines()[-9:] if line and line.split()[0] in ran}
    assert list(table) == list(run_all.STAGES)
    assert "failed in lint: lint.log\n    lint was here\n" in said
    assert table["lint"][0] == "FAILED"
    assert table["lint"][-3:] == ["exit", "code", "1"]
    assert table["sanity"][-3:] == ["nothing", "was", "run"]
    assert {table[name][0] for name in ("unit", "integration", "molecule", "phase7")} == {"ok"}


def test_only_what_is_named_is_run_and_logged(ran: list[str], tmp_path: Path) -> None:
    assert run_all.main(["molecule", "unit"]) == 0
    assert ran == ["molecule", "unit"]
    assert (tmp_path / "molecule.log").read_text() == "molecule was here\n"
    assert run_all.main(["tests"]) == 2


def test_a_failed_test_is_told_with_the_end_of_what_it_said() -> None:
    said = "\n".join(f"line {number}" for number in range(100))
    root = ET.fromstring(
        '<testsuites><testsuite><testcase classname="tests.a.test_b" name="test_c">'
        f"<failure>{said}</failure></testcase>"
        '<testcase classname="tests.a.test_b" name="test_d" /></testsuite></testsuites>'
    )
    (told,) = run_all.failures(root)
    lines = told.splitlines()
    assert lines[0] == "tests/a/test_b::test_c"
    assert [line.strip() for line in lines[1:]] == [f"line {number}" for number in range(100 - run_all.TOLD_LINES, 100)]
