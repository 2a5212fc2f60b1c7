# SPDX-License-Identifier: Apache-2.0
"""What a terminal shows of a run: nothing that counts is hidden in a crowd."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.k2.hardening.plugins.module_utils.verdict import catalogue
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import GateResult, Scale, Verdict
from ansible_collections.k2.hardening.plugins.module_utils.verdict.lines import lines

BLOCKING = catalogue.mttr_gate()
OTHER = replace(BLOCKING, id="S3.other", blocking=False)


def test_each_gate_has_a_line_with_its_reason() -> None:
    passed = GateResult(BLOCKING, Verdict.PASS, "", Scale.LAB, 3.0, n=1)
    failed = GateResult(OTHER, Verdict.FAIL, "took too long", Scale.LAB, 40.0)
    assert lines([passed, failed]) == [
        "PASS           S3.mttr_30s",
        "FAIL           S3.other: took too long",
    ]


def test_what_nobody_chose_is_told_together_and_last() -> None:
    unchosen = [
        GateResult(replace(OTHER, id=f"S3.{number}"), Verdict.NOT_RUN, "not chosen", Scale.LAB) for number in range(3)
    ]
    last = GateResult(BLOCKING, Verdict.PASS, "", Scale.LAB, 3.0, n=1)
    assert lines([*unchosen, last]) == ["PASS           S3.mttr_30s", "NOT_RUN        3 gates of S3: not chosen"]


def test_what_blocks_without_having_run_keeps_its_own_line() -> None:
    skipped = [GateResult(replace(BLOCKING, id=f"S3.{n}"), Verdict.NOT_RUN, "sick", Scale.LAB) for n in range(2)]
    assert [line.split()[1] for line in lines(skipped)] == ["S3.0:", "S3.1:"]
