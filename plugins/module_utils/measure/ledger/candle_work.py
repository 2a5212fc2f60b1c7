# SPDX-License-Identifier: Apache-2.0
"""The tiers of candles of one range, while records may still be flowing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

from ...core.errors import K2Error
from ...platform.broker import Extent, Partition
from ...profile.model import Tier
from .candles import Family, Touching, candle_results, check_candles, keys_of, unfit
from .comparison import Comparison
from .database import whole
from .path import candle_tiers, source_of, trade_tiers, written_at
from .result import CandleResult, Verdict

# Looks at candles while records flow, before windows that are still open are left out.
_QUIET_ATTEMPTS = 3
# A window counts as closed this long after its end: what was under way then has arrived.
_OPEN_S = 5


class CandleWork:
    """Candles beside the trades of a comparison whose tiers have been looked at."""

    def __init__(self, comparison: Comparison) -> None:
        self._seen = comparison

    def results(self) -> tuple[CandleResult, ...]:
        """Every tier of candles."""
        results: dict[str, CandleResult] = {}
        families: dict[tuple[str, tuple[str, ...], Optional[str], bool], Family] = {}
        for tier in candle_tiers(self._seen.profile):
            try:
                family = self._family(tier)
            except K2Error as error:
                results[tier.name] = _no_candles(tier, str(error))
                continue
            key = (family.source.tier.name, family.keys, family.exchange, bool(tier.exchange_column))
            known = families.get(key)
            families[key] = family if known is None else _joined(known, family)
        for family in families.values():
            self._seen.progress.update(message=", ".join(candle.tier.name for candle in family.candles))
            try:
                found = self._compared(family)
            except K2Error as error:
                found = [_no_candles(candle.tier, str(error)) for candle in family.candles]
            results.update({result.tier: result for result in found})
        return tuple(results[tier.name] for tier in candle_tiers(self._seen.profile))

    def _family(self, tier: Tier) -> Family:
        """The candle tier with its source.

        Raises K2Error: it cannot be compared.
        """
        if not self._seen.broker.count():
            raise K2Error("no candle compared", seen="a range without a record")
        source = source_of(tier, trade_tiers(self._seen.profile))
        if source is None:
            raise K2Error("its candles cannot be made again", seen="no tier before it that holds its trades")
        if source.name not in self._seen.tables:
            raise K2Error("its source cannot be read", seen=self._seen.unreadable.get(source.name, ""))
        self._seen.describe(tier)
        candle, table = self._seen.tables[tier.name], self._seen.tables[source.name]
        why_not = unfit(table, candle)
        if why_not is not None:
            raise K2Error("its candles cannot be made again", seen=why_not)
        # The columns that tell candles apart are those of the source, under the same names.
        self._seen.database.describe(source.table, keys_of(candle))
        distinct = source.offset_columns if source.name in self._seen.sights else ()
        return Family(table, (candle,), distinct, tier.exchange)

    def _compared(self, family: Family) -> list[CandleResult]:
        """Compare until nothing flowed meanwhile, a few times at most."""
        partitions = tuple(self._seen.broker.extents)
        attempt = 0
        while True:
            attempt += 1
            before = self._seen.reader.extents(partitions)
            closed_us = self._now_us() - _OPEN_S * 1_000_000
            found = check_candles(self._seen.database, family, self._touching(family), closed_us)
            quiet = self._quiet(before, self._seen.reader.extents(partitions))
            if quiet or attempt == _QUIET_ATTEMPTS or not any(each.open for each in found):
                return candle_results(family, found, quiet)

    def _touching(self, family: Family) -> Touching:
        tier = family.source.tier
        if tier.name in self._seen.sights:
            scopes = self._seen.sights[tier.name].scopes
            params = {name: value for scope in scopes for name, value in scope.params.items()}
            return Touching(f"({' OR '.join(scope.where(tier) for scope in scopes)})", params)
        broker = self._seen.broker
        first, last = min(broker.first_us.values(), default=0), max(broker.last_us.values(), default=0)
        written = written_at(tier)
        if written is None:
            return Touching(f"{family.source.time_us} BETWEEN {first} AND {last}", {})
        return Touching(f"{written} >= toDateTime({first // 1_000_000})", {})

    def _now_us(self) -> int:
        ((now,),) = self._seen.database.rows("SELECT toUnixTimestamp64Micro(now64(6))")
        return whole(now)

    def _quiet(self, before: Mapping[Partition, Extent], after: Mapping[Partition, Extent]) -> bool:
        """Whether no record came meanwhile, and none that came since the range was taken is still on its way."""
        if before != after or self._seen.drain.lag or not self._seen.drain.known:
            return False
        moved = tuple(p for p, extent in after.items() if extent.high > self._seen.broker.extents[p].high)
        groups = self._seen.profile.broker.groups if self._seen.profile.broker is not None else ()
        for group in groups:
            mine = tuple(p for p in moved if p.topic in group.topics)
            try:
                committed = self._seen.reader.committed(group.name, mine) if mine else {}
            except K2Error:
                return False
            if any((committed.get(p) or 0) < after[p].high for p in mine):
                return False
        return True


def _no_candles(tier: Tier, reason: str) -> CandleResult:
    return CandleResult(tier.name, tier.table, Verdict.INCONCLUSIVE, reason)


def _joined(known: Family, another: Family) -> Family:
    return Family(known.source, (*known.candles, *another.candles), known.distinct_by, known.exchange)
