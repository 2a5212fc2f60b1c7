# SPDX-License-Identifier: Apache-2.0
"""Two runs side by side: a change is told when it is beyond doubt; what only one of them measured is no change."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded_runs import change, small_run

from ansible_collections.k2.hardening.plugins.module_utils.cli.main import main
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.report.compare import Change, compare_runs
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import (
    GateResult,
    GateSpec,
    Op,
    Scale,
    Verdict,
    decide,
)

P99 = GateSpec("S1.1x.a.p99", "p99", Op.LT, 200, "ms")
LOSS = GateSpec("S3.x.loss", "lost", Op.EQ, 0, "records")
SENT = GateSpec("S1.1x.delivered", "sent", Op.GE, 90, "%")


def p99(low: float | None, high: float | None, measured: float | None = None, blocking: bool = True) -> GateResult:
    spec = GateSpec(P99.id, P99.title, P99.op, P99.target, P99.unit, blocking)
    middle = (low + high) / 2 if measured is None and low is not None and high is not None else measured
    return decide(spec, Scale.LAB, middle, 9, "", low, high)


def of(spec: GateSpec, verdict: Verdict, measured: float | None = None) -> GateResult:
    return GateResult(spec, verdict, "because", Scale.LAB, measured, n=5)


def unasked() -> GateResult:
    spec = GateSpec(P99.id, P99.title, P99.op, P99.target, P99.unit, blocking=False)
    return GateResult(spec, Verdict.NOT_RUN, "not selected", Scale.LAB)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (p99(100, 110), p99(100, 110), Change.SAME),
        (p99(100, 110), p99(109, 130), Change.SAME),  # the intervals meet
        (p99(100, 110), p99(115, 130), Change.SAME),  # they do not, but less than 10 % lies between
        (p99(100, 110), p99(122, 130), Change.WORSE),
        (p99(122, 130), p99(100, 110), Change.BETTER),
        (p99(100, 110), p99(122, None, 125), Change.WORSE),  # inconclusive where it passed
        (p99(100, 110), p99(150, 250), Change.WORSE),
        (p99(150, 250), p99(100, 110), Change.BETTER),
        (p99(210, 220), p99(300, 320), Change.WORSE),  # fails still, and by more
        (of(LOSS, Verdict.PASS, 0), of(LOSS, Verdict.PASS, 0), Change.SAME),
        (of(LOSS, Verdict.PASS, 0), of(LOSS, Verdict.FAIL, 3), Change.WORSE),
        (of(LOSS, Verdict.FAIL, 3), of(LOSS, Verdict.FAIL, 30), Change.WORSE),
        (of(LOSS, Verdict.FAIL, -30), of(LOSS, Verdict.FAIL, 3), Change.BETTER),
        (of(SENT, Verdict.PASS, 100), of(SENT, Verdict.PASS, 99), Change.SAME),
        (of(SENT, Verdict.FAIL, 80), of(SENT, Verdict.FAIL, 40), Change.WORSE),
        (of(SENT, Verdict.FAIL, 40), of(SENT, Verdict.FAIL, 80), Change.BETTER),
        (of(LOSS, Verdict.INCONCLUSIVE), of(LOSS, Verdict.INCONCLUSIVE), Change.SAME),
        (p99(100, 110), unasked(), Change.UNMEASURED),
        (unasked(), p99(100, 110), Change.UNMEASURED),
        (p99(100, 110), of(P99, Verdict.NOT_RUN), Change.WORSE),  # the later run was to measure it, and did not
        (of(LOSS, Verdict.PASS, 0), of(LOSS, Verdict.NOT_APPLICABLE), Change.UNMEASURED),
    ],
)
def test_a_change_is_told_when_it_is_beyond_doubt(
    tmp_path: Path, before: GateResult, after: GateResult, expected: Change
) -> None:
    old, new = small_run(tmp_path, before), small_run(tmp_path, after)
    (gate,) = compare_runs(old.path, new.path).gates
    assert gate.change is expected, gate.why
    assert expected is Change.SAME or gate.why


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        (p99(100, 110), p99(90, 110), 0),
        (p99(100, 110), p99(150, 160), 1),
        (p99(100, 110, blocking=False), p99(150, 160, blocking=False), 0),  # told, and no regression
        (p99(100, 110), unasked(), 3),
    ],
)
def test_the_exit_code_and_the_pages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: GateResult, after: GateResult, code: int
) -> None:
    old, new = small_run(tmp_path, before), small_run(tmp_path, after)
    assert main(["compare", str(old.path), str(new.path)]) == code
    said = capsys.readouterr().out.splitlines()
    pages = [Path(line) for line in said if line.startswith("/")]
    assert [path.name for path in pages] == [f"compare-{old.run_id}.html", f"compare-{old.run_id}.md"]
    for page in pages:
        text = page.read_text()
        assert old.run_id in text
        assert new.run_id in text
        assert P99.id in text


def test_gates_and_settings_of_one_run_only_are_told(tmp_path: Path) -> None:
    old = small_run(tmp_path, p99(100, 110), of(LOSS, Verdict.PASS, 0))
    new = small_run(tmp_path, p99(100, 110), of(SENT, Verdict.PASS, 100))
    change(new.path / "run.json", git_commit="abc")
    comparison = compare_runs(old.path, new.path)
    assert {gate.id: gate.why for gate in comparison.gates if gate.change is Change.UNMEASURED} == {
        SENT.id: "only the later run has this gate",
        LOSS.id: "only the earlier run has this gate",
    }
    assert comparison.differences == ("git commit: none, then abc",)


def test_another_target_is_told(tmp_path: Path) -> None:
    stricter = GateSpec(P99.id, P99.title, P99.op, 90, P99.unit)
    old = small_run(tmp_path, p99(100, 110))
    new = small_run(tmp_path, decide(stricter, Scale.LAB, 105, 9, "too slow", 100, 110))
    (gate,) = compare_runs(old.path, new.path).gates
    assert gate.why == "PASS became FAIL: too slow; the target was 200, now it is 90"


def test_an_end_that_is_not_known_is_told_as_such(tmp_path: Path) -> None:
    old, new = small_run(tmp_path, p99(210, 220)), small_run(tmp_path, p99(400, None, 410))
    (gate,) = compare_runs(old.path, new.path).gates
    assert gate.why == "210 .. 220 ms became more than 400 ms"


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    run = small_run(tmp_path, p99(100, 110))
    with pytest.raises(K2Error, match="the same run"):
        compare_runs(run.path, run.path)
    with pytest.raises(K2Error, match="different platforms; expected: two runs of p"):
        compare_runs(run.path, small_run(tmp_path, p99(100, 110), platform="q").path)
    with pytest.raises(K2Error, match="no readable"):
        compare_runs(run.path, tmp_path / "nothing")
    with pytest.raises(K2Error, match="has not ended"):
        compare_runs(run.path, small_run(tmp_path, p99(100, 110), ended=False).path)
