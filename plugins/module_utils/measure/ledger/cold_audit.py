# SPDX-License-Identifier: Apache-2.0
"""The cold tier within an audit: what of the range it has to hold by now, and whether it does.

What has not been moved yet says nothing about what will be, and an audit of a minute needs no offload. So tables of
which nothing is due, or that cannot be read, are told and do not count; a row that is proven lost or doubled does.
"""

from __future__ import annotations

from dataclasses import replace

from ...core.errors import K2Error
from ...platform.iceberg import limits
from ...profile.model import Profile
from ..watermarks import read_watermarks
from .cold import ColdLedger, ColdResult, cold_tiers
from .database import Database
from .ranges import BrokerSide
from .result import CandleDifference, CandleResult, TierResult, Verdict
from .summary import NOT_HERE
from .tiers import scopes_of


def cold_results(profile: Profile, database: Database, broker: BrokerSide, candles: bool) -> tuple[ColdResult, ...]:
    """Every table of the cold tier, as far as the range goes. Never raises K2Error."""
    tiers = [tier for tier in cold_tiers(profile) if candles or tier.timeframe is None]
    try:
        if profile.watermarks is None:
            raise K2Error("the profile has no k2_watermarks, so nobody knows how far the cold tier has come")
        marks = read_watermarks(profile.watermarks).rows
        patient = database.limited(limits(database.client))
    except K2Error as error:
        why = str(error)
        return tuple(ColdResult(tier.name, tier.table, None, tier.exchange, None, why) for tier in tiers)
    topics = sorted({partition.topic for partition in broker.extents})
    since_us = min(broker.first_us.values(), default=None)
    return ColdLedger(profile, patient).compare(marks, since_us, scopes_of(broker, topics), candles)


def as_tier(result: ColdResult) -> TierResult:
    """A table of records."""
    blank = TierResult(result.tier, result.table, result.exchange, None, Verdict.INCONCLUSIVE, "")
    verdict = verdict_of(result)
    if verdict is Verdict.INCONCLUSIVE:
        return _told(blank, result)
    return TierResult(
        result.tier,
        result.table,
        result.exchange,
        result.basis,
        verdict,
        result.why,
        expected=_due(result),
        rows=result.cold,
        missing=result.missing,
        lost_here=result.missing,
        duplicated=result.duplicated,
        first_missing=result.first_missing,
        first_duplicated=result.first_duplicated,
        not_due=result.not_due,
    )


def as_candles(result: ColdResult) -> CandleResult:
    """A table of candles."""
    verdict = verdict_of(result)
    why = f"{NOT_HERE}: {result.why}" if verdict is Verdict.INCONCLUSIVE else result.why
    return CandleResult(
        result.tier,
        result.table,
        verdict,
        why,
        windows=result.hot or 0,
        compared=_due(result),
        open=result.not_due or 0,
        missing=result.missing or 0,
        differing=(result.differing or 0) + (result.duplicated or 0),
        first=tuple(
            CandleDifference(key, "the candle in the cold tier", "once, as in the hot tier", None)
            for key in (*result.first_missing, *result.first_duplicated)
        ),
        copy_of=result.source or "",
    )


def verdict_of(result: ColdResult) -> Verdict:
    """What is proven of one table."""
    if result.missing:
        return Verdict.LOST
    if result.duplicated:
        return Verdict.DUPLICATED
    if result.differing:
        return Verdict.DIFFERENT
    known = result.basis is not None and result.missing is not None
    return Verdict.EXACT if known and _due(result) > 0 else Verdict.INCONCLUSIVE


def _due(result: ColdResult) -> int:
    return (result.hot or 0) - (result.not_due or 0)


def _told(blank: TierResult, result: ColdResult) -> TierResult:
    why = "none of its rows is due yet" if result.hot is not None and result.missing is not None else result.why
    return replace(blank, reason=f"{NOT_HERE}: {why}")
