# SPDX-License-Identifier: Apache-2.0
"""Which tiers and columns the path from start to candle runs through, as the profile and the database tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from ...core.errors import K2Error
from ...profile.model import Profile, Store, Tier
from ..data_flow import UNDIVIDED
from .columns import Moment, Table, moment, read_table
from .session import Session, literal

COMMITTED = "committed"
EXCHANGE = "exchange"
RECEIVED = "received"
BROKER = "broker"


@dataclass(frozen=True)
class Source:
    """A tier whose rows are measured: its table, and the moments that its columns hold, by hop."""

    tier: Tier
    table: Table
    moments: Mapping[str, Moment]

    @property
    def exchange(self) -> str:
        """SQL: the exchange of a row."""
        return f"toString({self.tier.exchange_column})" if self.tier.exchange_column else literal(self._only)

    @property
    def valid(self) -> str:
        """SQL: whether a row reaches the candles."""
        return f"coalesce(toBool({self.tier.valid_column}), false)" if self.tier.valid_column else "true"

    def exchanges(self, profile: Profile) -> tuple[str, ...]:
        """The exchanges whose rows are expected here."""
        return profile.exchanges if self.tier.exchange_column else (self._only,)

    @property
    def _only(self) -> str:
        return self.tier.exchange or UNDIVIDED


@dataclass(frozen=True)
class CandleTable:
    """A candle tier and its table; ``why_not`` says why it cannot be measured."""

    tier: Tier
    table: Table
    why_not: Optional[str] = None


@dataclass(frozen=True)
class Route:
    """The tier whose rows become candles, and the candle tables."""

    source: Source
    candles: tuple[CandleTable, ...]

    @property
    def measurable(self) -> tuple[CandleTable, ...]:
        """The candle tables that are fed from the source."""
        return tuple(candle for candle in self.candles if candle.why_not is None)


def find_route(profile: Profile, session: Session) -> Route:
    """The path of ``profile``, held against the database.

    Raises K2Error when the profile names no candles or no tier behind them, TableMissing, ColumnMissing.
    """
    if profile.clickhouse is None:
        raise K2Error("latency cannot be measured", expected="a section k2_clickhouse in the profile", seen="none")
    tiers = [tier for tier in profile.tiers if tier.store is Store.CLICKHOUSE]
    candles = [tier for tier in tiers if tier.timeframe]
    records = [tier for tier in tiers if not tier.timeframe]
    if not candles or not records:
        raise K2Error(
            "latency cannot be measured",
            expected="in k2_tiers: a tier in ClickHouse that holds records, and candles (with timeframe) fed by it",
            seen=f"{len(records)} of records, {len(candles)} of candles",
        )
    by_name = {tier.name: tier for tier in tiers}
    behind = {candle.name: _behind(candle, by_name, records[-1]) for candle in candles}
    base = behind[candles[-1].name]
    source = read_source(base, session, profile.clickhouse.database)
    return Route(
        source,
        tuple(
            CandleTable(
                candle,
                read_table(session, candle.table, profile.clickhouse.database),
                None if behind[candle.name] is base else f"it is fed by {behind[candle.name].name}, not by {base.name}",
            )
            for candle in candles
        ),
    )


def read_source(tier: Tier, session: Session, database: str) -> Source:
    """``tier`` with its table's columns; raises TableMissing, ColumnMissing.

    Without a hop ``committed`` the one that freshness looks at is the writing, unless it is one from before the store.
    """
    table = read_table(session, tier.table, database)
    moments = {hop: moment(tier, table, hop, time) for hop, time in tier.time_columns.items()}
    if tier.freshness is not None and tier.freshness.hop not in (EXCHANGE, RECEIVED, BROKER):
        moments.setdefault(COMMITTED, moments[tier.freshness.hop])
    return Source(tier, table, moments)


def _behind(candle: Tier, by_name: Mapping[str, Tier], otherwise: Tier) -> Tier:
    """The tier of records that ``candle`` is made from, through other candles perhaps."""
    seen = {candle.name}
    tier = candle
    while tier.timeframe:
        following = by_name.get(tier.source or "")
        if following is None or following.name in seen:
            return otherwise
        seen.add(following.name)
        tier = following
    return tier
