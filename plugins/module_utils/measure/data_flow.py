# SPDX-License-Identifier: Apache-2.0
"""Whether records flow: in each tier, for each exchange, new rows appear while we watch and the newest is fresh.

Everything is asked on the store's own clock and bounded below by a moment shortly before the watch began, so the cost
does not grow with the table. A tier takes part if its profile states ``freshness``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Optional

from ..core.clock import Deadline
from ..core.errors import K2Error
from ..platform.clickhouse import ClickHouseClient, Value
from ..profile.model import Profile, Store, Tier

POLL_INTERVAL_S = 0.5
# Stands for the exchange where a tier does not tell them apart.
UNDIVIDED = "all"


@dataclass(frozen=True)
class Flow:
    """What was last seen of one exchange in one tier, ``watched_s`` after the watch began.

    ``new_rows`` counts rows newer than the start of the watch, ``newest_age_s`` is the age of the newest row.
    ``error`` says why nothing could be seen.
    """

    tier: str
    table: str
    exchange: str
    max_age_s: float
    new_rows: Optional[int] = None
    newest_age_s: Optional[float] = None
    watched_s: float = 0.0
    error: Optional[str] = None

    @property
    def flowing(self) -> bool:
        """Rows arrive and the newest is younger than the profile allows."""
        return (
            self.error is None
            and bool(self.new_rows)
            and self.newest_age_s is not None
            and self.newest_age_s <= self.max_age_s
        )


def watched_tiers(profile: Profile) -> tuple[Tier, ...]:
    """The tiers whose flow can be watched: in ClickHouse, with a statement of freshness."""
    return tuple(tier for tier in profile.tiers if tier.store is Store.CLICKHOUSE and tier.freshness is not None)


def watched_exchanges(profile: Profile, tier: Tier) -> tuple[str, ...]:
    """The exchanges whose rows a tier holds: its own one, every one of the platform, or all of them undivided."""
    if tier.exchange:
        return (tier.exchange,)
    return profile.exchanges if tier.exchange_column else (UNDIVIDED,)


def flow_query(tier: Tier, since_us: int) -> str:
    """Rows (exchange, rows newer than ``since_us``, age of the newest in us) of ``tier``, by one bounded scan.

    With a column of whole seconds a row of the starting second does not count as new, hence ``>``; the cast lets one
    expression serve all resolutions.
    """
    assert tier.freshness is not None
    column = tier.time_columns[tier.freshness.hop].column
    exchange = tier.exchange_column or f"'{tier.exchange or UNDIVIDED}'"
    moment = f"toUnixTimestamp64Micro(toDateTime64({column}, 6))"
    horizon_s = int(tier.freshness.max_age_s) + 1
    return (
        f"SELECT toString({exchange}) AS k2_exchange, countIf({moment} > {since_us}), "
        f"toUnixTimestamp64Micro(now64(6)) - max({moment}) "
        f"FROM {tier.table} WHERE {column} >= toDateTime(intDiv({since_us}, 1000000) - {horizon_s}) "
        "GROUP BY k2_exchange"
    )


def watch_flow(
    profile: Profile,
    database: ClickHouseClient,
    deadline: Deadline,
    progress: Optional[Callable[[int, int], None]] = None,
) -> tuple[Flow, ...]:
    """Watch every tier and exchange until all flow or ``deadline`` passes; returns the last sight of each of them.

    ``progress`` is called with (flowing, all). A failing query becomes the error of its tier and is never raised: a
    sick platform is what is being looked for.
    """
    began = time.monotonic()
    flows = {
        tier.name: [
            Flow(tier.name, tier.table, exchange, tier.freshness.max_age_s, error="not asked yet")
            for exchange in watched_exchanges(profile, tier)
        ]
        for tier in watched_tiers(profile)
        if tier.freshness is not None
    }
    since_us: Optional[int] = None
    while True:
        for tier in watched_tiers(profile):
            if all(flow.flowing for flow in flows[tier.name]):
                continue
            try:
                if since_us is None:
                    since_us = database_now_us(database)
                seen = {str(row[0]): row for row in database.query(flow_query(tier, since_us)).rows}
            except K2Error as error:
                sights = [replace(flow, error=str(error)) for flow in flows[tier.name]]
            else:
                sights = [_sight(flow, seen.get(flow.exchange)) for flow in flows[tier.name]]
            flows[tier.name] = [replace(sight, watched_s=time.monotonic() - began) for sight in sights]
        every = [flow for tier_flows in flows.values() for flow in tier_flows]
        flowing = sum(flow.flowing for flow in every)
        if progress is not None:
            progress(flowing, len(every))
        if flowing == len(every) or deadline.passed:
            return tuple(every)
        time.sleep(min(POLL_INTERVAL_S, deadline.remaining()))


def database_now_us(database: ClickHouseClient) -> int:
    """The database's own clock, microseconds since the epoch."""
    return _integer(database.query("SELECT toUnixTimestamp64Micro(now64(6))").scalar())


def _sight(flow: Flow, row: Optional[tuple[Value, ...]]) -> Flow:
    if row is None:
        return replace(flow, new_rows=0, newest_age_s=None, error=None)
    return replace(flow, new_rows=_integer(row[1]), newest_age_s=_integer(row[2]) / 1e6, error=None)


def _integer(value: Value) -> int:
    if not isinstance(value, int):
        raise K2Error("unexpected answer from ClickHouse", expected="a whole number", seen=repr(value))
    return value
