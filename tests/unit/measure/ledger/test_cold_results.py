# SPDX-License-Identifier: Apache-2.0
"""What results of single cold tables come to: in an audit, and after a fault."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.cold import ColdResult
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.cold_audit import as_candles, as_tier
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.result import Basis, Verdict
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.summary import NOT_HERE
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.cold_rows import counted

GOOD = ColdResult("cold", "lake/bets", "clean", None, Basis.OFFSETS, "", 100, 90, 0, 0, None, 10)
UNREAD = ColdResult("cold", "lake/bets", "clean", None, None, "no watermark bets")


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (GOOD, Verdict.EXACT),
        (replace(GOOD, missing=3), Verdict.LOST),
        (replace(GOOD, duplicated=3), Verdict.DUPLICATED),
        (replace(GOOD, missing=3, duplicated=3), Verdict.LOST),
    ],
)
def test_what_is_proven_counts_in_an_audit(result: ColdResult, verdict: Verdict) -> None:
    tier = as_tier(result)
    assert tier.verdict is verdict
    assert (tier.expected, tier.rows, tier.not_due) == (90, 90, 10)


@pytest.mark.parametrize("result", [UNREAD, replace(GOOD, cold=0, not_due=100), replace(GOOD, missing=None)])
def test_what_cannot_be_told_is_listed_and_does_not_count(result: ColdResult) -> None:
    tier = as_tier(result)
    assert tier.verdict is Verdict.INCONCLUSIVE
    assert tier.reason.startswith(NOT_HERE)


def test_a_candle_with_other_values_is_different() -> None:
    candles = as_candles(replace(GOOD, differing=1, first_missing=("k",)))
    assert (candles.verdict, candles.differing, candles.copy_of) == (Verdict.DIFFERENT, 1, "clean")


def test_nothing_wrong_in_any_table_is_zero() -> None:
    found = counted([GOOD, GOOD])
    assert (found.missing, found.duplicates) == (0, 0)


def test_a_table_that_was_not_read_makes_nought_unknown() -> None:
    found = counted([GOOD, UNREAD])
    assert (found.missing, found.duplicates) == (None, None)
    assert "no watermark bets" in found.why


def test_what_is_proven_wrong_stays_wrong_whatever_is_unknown() -> None:
    found = counted([replace(GOOD, missing=17), UNREAD])
    assert (found.missing, found.duplicates) == (17, None)


def test_no_table_at_all_is_unknown() -> None:
    assert counted([]).missing is None
