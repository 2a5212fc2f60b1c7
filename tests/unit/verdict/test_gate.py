"""How a measurement becomes a verdict."""

from __future__ import annotations

import json

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import (
    GateResult,
    GateSpec,
    Op,
    Scale,
    Verdict,
    decide,
    run_verdict,
)

SPEC = GateSpec("S1.1x.binance.p99", "p99", Op.LT, 200, "ms")


def gate(verdict: Verdict, blocking: bool = True) -> GateResult:
    spec = GateSpec("S0.x", "x", Op.EQ, 1, "things", blocking=blocking)
    return GateResult(spec, verdict, "because", Scale.LAB, measured=1, n=1)


@pytest.mark.parametrize(
    ("measured", "low", "high", "n", "verdict"),
    [
        (150, None, None, 500, Verdict.PASS),
        (150, 120, 199, 500, Verdict.PASS),
        (150, 120, 200, 500, Verdict.INCONCLUSIVE),
        (250, 199, 300, 500, Verdict.INCONCLUSIVE),
        (250, 201, 300, 500, Verdict.FAIL),
        (200, None, None, 500, Verdict.FAIL),
        (150, 120, 190, 0, Verdict.INCONCLUSIVE),
        (None, None, None, 500, Verdict.INCONCLUSIVE),
    ],
)
def test_the_whole_interval_must_lie_on_one_side(measured, low, high, n, verdict):
    result = decide(SPEC, Scale.LAB, measured, n, "", low, high)
    assert result.verdict is verdict
    assert result.reason or verdict is Verdict.PASS


def test_a_gate_without_a_target_cannot_pass():
    assert decide(GateSpec("S0.x", "x", Op.EQ, None, "u"), Scale.LAB, 1, 1, "").verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("op", "passing", "failing"),
    [(Op.LT, 1, 2), (Op.LE, 2, 3), (Op.EQ, 2, 1), (Op.GE, 2, 1)],
)
def test_each_operator_has_a_passing_and_a_failing_side(op, passing, failing):
    assert op.holds(passing, 2)
    assert not op.holds(failing, 2)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], Verdict.INCONCLUSIVE),
        ([Verdict.PASS], Verdict.PASS),
        ([Verdict.PASS, Verdict.NOT_APPLICABLE], Verdict.PASS),
        ([Verdict.NOT_APPLICABLE], Verdict.INCONCLUSIVE),
        ([Verdict.PASS, Verdict.NOT_RUN], Verdict.INCONCLUSIVE),
        ([Verdict.PASS, Verdict.INCONCLUSIVE], Verdict.INCONCLUSIVE),
        ([Verdict.INCONCLUSIVE, Verdict.FAIL], Verdict.FAIL),
    ],
)
def test_the_run_is_as_good_as_its_worst_blocking_gate(verdicts, expected):
    assert run_verdict(gate(verdict) for verdict in verdicts) is expected


def test_a_gate_that_does_not_block_changes_nothing():
    assert run_verdict([gate(Verdict.PASS), gate(Verdict.FAIL, blocking=False)]) is Verdict.PASS


def test_a_pass_needs_a_measurement():
    with pytest.raises(ValueError, match="needs a measurement"):
        GateResult(SPEC, Verdict.PASS, "", Scale.LAB)
    with pytest.raises(ValueError, match="needs a reason"):
        GateResult(SPEC, Verdict.NOT_RUN, "", Scale.LAB)


def test_json_carries_everything_there_and_back():
    result = decide(SPEC, Scale.LAB, 150.5, 500, "", 120.0, 199.0).with_evidence("evidence/x.json")
    assert GateResult.from_json(json.loads(json.dumps(result.to_json()))) == result
