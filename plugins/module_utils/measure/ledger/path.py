# SPDX-License-Identifier: Apache-2.0
"""The tiers in the order of the data path: which exchange's records each holds, and what each is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Optional

from ...core.errors import K2Error
from ...profile.model import Profile, Store, Tier

# The hop at which an exchange made a record.
EXCHANGE_HOP = "exchange"


def topics_of(profile: Profile) -> dict[str, str]:
    """The raw topic of each exchange.

    :raises K2Error: the profile names none, or no database to compare with.
    """
    if profile.broker is None or not profile.broker.topics or profile.clickhouse is None:
        raise K2Error(
            "there is nothing to audit between",
            expected="k2_broker with topics, and k2_clickhouse",
            seen="a profile without",
            action="describe them in the inventory",
        )
    return {exchange: topics.raw for exchange, topics in profile.broker.topics.items()}


def trade_tiers(profile: Profile) -> tuple[Tier, ...]:
    """The tiers of ClickHouse that hold records."""
    return tuple(tier for tier in profile.tiers if tier.store is Store.CLICKHOUSE and tier.timeframe is None)


def candle_tiers(profile: Profile) -> tuple[Tier, ...]:
    """The tiers of ClickHouse that hold candles."""
    return tuple(tier for tier in profile.tiers if tier.store is Store.CLICKHOUSE and tier.timeframe is not None)


def other_tiers(profile: Profile) -> tuple[Tier, ...]:
    """The tiers elsewhere."""
    return tuple(tier for tier in profile.tiers if tier.store is not Store.CLICKHOUSE)


def exchanges_in(tier: Tier, topics: Mapping[str, str]) -> tuple[str, ...]:
    """The exchanges whose records ``tier`` holds."""
    return tuple(exchange for exchange in topics if tier.exchange in (None, exchange))


def written_at(tier: Tier) -> Optional[str]:
    """The column that tells when a row was written, as near as the profile says; None where it does not."""
    hop = tier.time_columns.get("committed")
    if hop is None and tier.freshness is not None and tier.freshness.hop != EXCHANGE_HOP:
        hop = tier.time_columns[tier.freshness.hop]
    return hop.column if hop is not None else None


def source_of(tier: Tier, tiers: Sequence[Tier], exchange: Optional[str] = None) -> Optional[Tier]:
    """The tier that ``tier`` is made of: what it says, else the last one before it that holds the same records.

    With ``exchange``, as far as that exchange goes.
    """

    def holds(each: Tier) -> bool:
        wanted = exchange or tier.exchange
        return each.exchange is None or each.exchange == wanted

    named = [each for each in tiers if each.name == tier.source and each is not tier and holds(each)]
    if named:
        return named[0]
    names = [each.name for each in tiers]
    before = tiers[: names.index(tier.name)] if tier.name in names else tiers
    return next((each for each in reversed(before) if holds(each)), None)
