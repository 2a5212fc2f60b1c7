# SPDX-License-Identifier: Apache-2.0
"""S5.documents: every document is there, of this run, and its links lead somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.verdict.documents import examine, expected_documents
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import GateResult, GateSpec, Op, Scale, Verdict


def gate(name: str, verdict: Verdict = Verdict.NOT_RUN) -> GateResult:
    return GateResult(GateSpec(name, "t", Op.LT, 900, "s"), verdict, "why", Scale.LAB)


def test_runbooks_are_expected_of_a_run_that_has_gates_about_them() -> None:
    assert len(expected_documents([gate("S0.services")])) == 4
    found = expected_documents(
        [gate("S5.runbook.log_restart"), gate("S5.runbook.none", Verdict.NOT_APPLICABLE), gate("S5.documents")]
    )
    assert found[4:] == (
        "report/runbooks/index.md",
        "report/runbooks/on-call.md",
        "report/runbooks/architecture.md",
        "report/runbooks/log_restart.md",
    )


@pytest.mark.parametrize(
    ("name", "text", "problems"),
    [
        ("report/a.md", "of R1", []),
        ("report/a.md", "  \n", ["is empty"]),
        ("report/a.md", "of R2", ["does not speak of run R1"]),
        (
            "report/a.md",
            "R1 [b](b.md), [there](../seen.json) [web](https://example.com/x) [x](#any)",
            ["links to b.md"],
        ),
        ("report/a.md", "R1 `[b](b.md)`\n```\n[b](b.md)\n```\n", []),
        ("report/a.md", "R1 [b](../../outside.md)", ["outside of the run"]),
        ("report/a.html", 'R1 <b id="x"></b><a href="#x">x</a><a href="#y">y</a>', ["links to #y"]),
        ("report/a.html", 'R1 <img src="gone.png"><a href="../seen.json">', ["links to gone.png"]),
        ("report/runbooks/a.md", "of the platform", []),
    ],
)
def test_problems_of_a_document(tmp_path: Path, name: str, text: str, problems: list[str]) -> None:
    run = tmp_path / "R1"
    (run / name).parent.mkdir(parents=True)
    (run / "seen.json").write_text("{}")
    (tmp_path / "outside.md").write_text("x")
    (run / name).write_text(text)
    found = examine(run, "R1", [name]).problems
    assert len(found) == len(problems), found
    for one, expected in zip(found, problems, strict=True):
        assert one.startswith(f"{name}: ")
        assert expected in one


def test_a_document_that_is_missing_and_pages_beyond_those_expected(tmp_path: Path) -> None:
    (tmp_path / "report/runbooks").mkdir(parents=True)
    (tmp_path / "report/runbooks/more.md").write_text("[x](nowhere.md)")
    seen = examine(tmp_path, "R1", ["report/index.html"])
    assert seen.examined == ("report/index.html", "report/runbooks/more.md")
    assert seen.problems == (
        "report/index.html: is missing",
        "report/runbooks/more.md: links to nowhere.md, which is not there",
    )
