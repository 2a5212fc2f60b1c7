# SPDX-License-Identifier: Apache-2.0
"""The tiers of records of one range, each by the best basis that it offers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from ...core.clock import Deadline
from ...core.errors import K2Error
from ...core.progress import Progress
from ...platform.clickhouse import ClickHouseUnreachable
from ...profile.model import Profile, Store, Tier
from .cold import ColdResult
from .cold_audit import as_candles, as_tier, cold_results
from .database import Database
from .drain import Drain
from .expressions import Table, described
from .path import exchanges_in, other_tiers, source_of, trade_tiers
from .ranges import BrokerSide, Reader
from .result import CandleResult, TierResult, ValuesResult, Verdict
from .summary import NOT_HERE, in_flight
from .tiers import Sight, judge, look_until_still, scopes_of, useless_offsets
from .trades import Stretch, by_trades, exchange_stretch
from .values import Pair, comparable, compare_values

# How long rows must have stood still before what is missing counts as lost: after every group has committed, and where
# no group can be asked, which is longer than what batches for a few seconds takes.
_STILL_S = 3.0
_STILL_UNASKED_S = 15.0
_OWN = "it is the broker's own, which the tiers are compared with"


@dataclass
class Comparison:
    """What is compared, and what has been found of it so far.

    ``tables`` are the tiers that can be read, ``sights`` those of them whose rows carry offsets, ``unreadable`` tells
    of the others why. ``cold`` is what was found of the tables in an object store, filled by ``tiers``.
    """

    profile: Profile
    topics: Mapping[str, str]
    reader: Reader
    database: Database
    broker: BrokerSide
    drain: Drain
    deadline: Deadline
    progress: Progress
    tables: dict[str, Table] = field(default_factory=dict)
    sights: dict[str, Sight] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    with_cold: bool = True
    with_candles: bool = True
    cold: tuple[ColdResult, ...] = ()
    _down: str = ""

    def tiers(self) -> tuple[TierResult, ...]:
        """Every tier of records."""
        tiers = trade_tiers(self.profile)
        useless = set()
        for number, tier in enumerate(tiers):
            self.progress.update(number, len(self.profile.tiers), tier.name)
            try:
                self.describe(tier)
                if len(tier.offset_columns) == 3 and not self._look(tier):
                    useless.add(tier.name)
            except K2Error as error:
                self.unreadable[tier.name] = str(error)
        results: list[TierResult] = []
        for tier in tiers:
            if tier.name in self.unreadable:
                results.append(_not_read(tier, self.unreadable[tier.name]))
            elif tier.name in self.sights:
                results.append(self._by_offsets(tier))
            else:
                results += self._by_trades(tier, tier.name in useless)
        if self.with_cold:
            self.progress.update(message="cold tier")
            self.cold = cold_results(self.profile, self.database, self.broker, self.with_candles)
        results += [as_tier(each) for each in self.cold if each.tier not in self._cold_candles]
        for tier in other_tiers(self.profile):
            if tier.store is Store.BROKER or not self.with_cold:
                why = _OWN if tier.store is Store.BROKER else "the cold tier was left out"
                results.append(_not_read(tier, f"{NOT_HERE}: {why}"))
        return tuple(results)

    def cold_candles(self) -> tuple[CandleResult, ...]:
        """The candles of the cold tier beside those of the hot one."""
        return tuple(as_candles(each) for each in self.cold if each.tier in self._cold_candles)

    @property
    def _cold_candles(self) -> frozenset[str]:
        return frozenset(tier.name for tier in other_tiers(self.profile) if tier.timeframe is not None)

    def describe(self, tier: Tier) -> None:
        """Note how ``tier`` can be read.

        Raises K2Error.
        """
        if self._down:
            # Asking again for every tier would wait as often.
            raise K2Error(self._down)
        try:
            self.tables[tier.name] = described(self.database, tier)
        except ClickHouseUnreachable as error:
            self._down = str(error)
            raise

    def _look(self, tier: Tier) -> bool:
        """See which offsets ``tier`` holds; False where its offset column tells nothing."""
        topics = self.topics_in(tier)
        still_s = _STILL_S if self.drain.known else _STILL_UNASKED_S
        if self.drain.lag:
            still_s = 0.0
        sight = look_until_still(self.database, self.tables[tier.name], self.broker, topics, still_s, self.deadline)
        if useless_offsets(self.database, sight):
            return False
        self.sights[tier.name] = sight
        return True

    def topics_in(self, tier: Tier) -> list[str]:
        """The topics whose records ``tier`` holds."""
        return sorted({self.topics[exchange] for exchange in exchanges_in(tier, self.topics)})

    def _above(self, tier: Tier) -> list[Sight]:
        """The tiers with offsets, nearest that could be read, that ``tier`` is made of."""
        tiers = trade_tiers(self.profile)
        above: dict[str, Sight] = {}
        for exchange in exchanges_in(tier, self.topics):
            source = source_of(tier, tiers, exchange)
            while source is not None and source.name not in self.sights:
                source = source_of(source, tiers, exchange)
            if source is not None:
                above[source.name] = self.sights[source.name]
        return list(above.values())

    def _by_offsets(self, tier: Tier) -> TierResult:
        try:
            return judge(self.database, self.reader, self.sights[tier.name], self._above(tier), self.drain.lag)
        except K2Error as error:
            return _not_read(tier, str(error))

    def _by_trades(self, tier: Tier, useless: bool) -> list[TierResult]:
        tiers = trade_tiers(self.profile)
        results = []
        for exchange in exchanges_in(tier, self.topics):
            topic = self.topics[exchange]
            if topic not in self.broker.first_us:
                results.append(_not_read(tier, "no record of the range is for this tier", exchange))
                continue
            times = (self.broker.first_us[topic], self.broker.last_us[topic])
            stretch = Stretch(exchange, self.broker.count(topic), *times)
            source = source_of(tier, tiers, exchange)
            upper = self.tables.get(source.name) if source is not None else None
            try:
                result = self._until_still(upper, self.tables[tier.name], stretch)
            except K2Error as error:
                result = _not_read(tier, str(error), exchange)
            results.append(in_flight(result, self.drain, useless))
        return results

    def _until_still(self, upper: Optional[Table], lower: Table, stretch: Stretch) -> TierResult:
        """Compare again while what is missing still changes: it may have been on its way."""
        if upper is not None:
            stretch = exchange_stretch(self.database, upper, stretch)
        result = by_trades(self.database, upper, lower, stretch)
        while result.missing and not self.drain.lag and not self.deadline.passed:
            time.sleep(min(_STILL_S, self.deadline.remaining()))
            again = by_trades(self.database, upper, lower, stretch)
            if again.missing == result.missing:
                break
            result = again
        return result

    def values(self, sample_rows: int) -> Optional[ValuesResult]:
        """Neighbouring tiers that share offsets, value by value; None where there are no two."""
        tiers = trade_tiers(self.profile)
        pairs = []
        for tier in tiers:
            shared: dict[str, set[str]] = {}
            for exchange in exchanges_in(tier, self.topics):
                source = source_of(tier, tiers, exchange)
                if source is not None and {tier.name, source.name} <= self.sights.keys():
                    shared.setdefault(source.name, set()).add(self.topics[exchange])
            for name, topics in shared.items():
                upper, lower = self.sights[name], self.sights[tier.name]
                scopes = scopes_of(self.broker, sorted(topics), upper.bounded and lower.bounded)
                if comparable(upper.table, lower.table):
                    pairs.append(Pair(upper.table, lower.table, scopes))
        if not pairs:
            return None
        self.progress.update(message="values")
        return compare_values(self.database, pairs, sample_rows)


def _not_read(tier: Tier, reason: str, exchange: Optional[str] = None) -> TierResult:
    return TierResult(tier.name, tier.table, exchange or tier.exchange, None, Verdict.INCONCLUSIVE, reason)
