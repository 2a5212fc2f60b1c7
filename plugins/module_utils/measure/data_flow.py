# SPDX-License-Identifier: Apache-2.0
"""Whether records flow: in each tier, for each exchange, rows newer than the start of the watch appear and the newest is fresh.

Everything is asked on the store's own clock and bounded below by a moment shortly before the watch began, so the cost does not grow
with the table. A tier takes part if its profile states ``freshness``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Optional, Protocol

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile, Store, Tier

POLL_INTERVAL_S = 0.5


class Database(Protocol):
    """What this measure needs of a database client."""

    def rows(self, query: str) -> Sequence[Sequence[Optional[str]]]:
        """The rows of ``query``, values as text."""


@dataclass(frozen=True)
class Flow:
    """What was seen of one exchange in one tier while it was watched for ``watched_s``.

    ``new_rows`` is the greatest count of rows newer than the start of the watch; ``newest_age_s`` the least age seen. ``error`` says why
    nothing could be seen, and then both are None.
    """

    tier: str
    table: str
    exchange: str
    new_rows: Optional[int]
    newest_age_s: Optional[float]
    max_age_s: float
    watched_s: float
    error: Optional[str] = None

    @property
    def flowing(self) -> bool:
        """Rows arrive and the newest is younger than the profile allows."""
        return bool(self.new_rows) and self.newest_age_s is not None and self.newest_age_s <= self.max_age_s


def watched_tiers(profile: Profile) -> tuple[Tier, ...]:
    """The tiers whose flow can be watched: in ClickHouse, with a statement of freshness."""
    return tuple(tier for tier in profile.tiers if tier.store is Store.CLICKHOUSE and tier.freshness is not None)


def flow_query(tier: Tier, since_us: int) -> str:
    """Rows (exchange, rows newer than ``since_us``, age of the newest in microseconds) of ``tier``, by one bounded scan.

    A column with a resolution of a second counts a row of the starting second as new only from the next second on, hence ``>``. A
    DateTime has no fraction: it is cast, so that one expression serves all resolutions.
    """
    assert tier.freshness is not None
    column = tier.time_columns[tier.freshness.hop].column
    exchange = tier.exchange_column or f"'{tier.exchange}'"
    moment = f"toUnixTimestamp64Micro(toDateTime64({column}, 6))"
    horizon = int(tier.freshness.max_age_s) + 1
    return (
        f"SELECT toString({exchange}) AS k2_exchange, countIf({moment} > {since_us}), "
        f"toUnixTimestamp64Micro(now64(6)) - max({moment}) "
        f"FROM {tier.table} WHERE {column} >= toDateTime(intDiv({since_us}, 1000000) - {horizon}) GROUP BY k2_exchange"
    )


def watch_flow(
    profile: Profile, database: Database, deadline: Deadline, progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[Flow, ...]:
    """Watch every tier and exchange until all flow or ``deadline`` passes; returns what was seen of each, always all of them.

    A failing query is kept as the error of its tier, never raised: a sick platform is what is being looked for.
    """
    start = time.monotonic()
    exchanges = {tier.name: (tier.exchange,) if tier.exchange else profile.exchanges for tier in watched_tiers(profile)}
    flows = {
        (tier.name, exchange): Flow(tier.name, tier.table, exchange, None, None, tier.freshness.max_age_s, 0.0, "not asked yet")
        for tier in watched_tiers(profile)
        if tier.freshness is not None
        for exchange in exchanges[tier.name]
        if exchange is not None
    }
    since_us: Optional[int] = None
    while True:
        for tier in watched_tiers(profile):
            mine = [key for key in flows if key[0] == tier.name and not flows[key].flowing]
            if not mine:
                continue
            watched = time.monotonic() - start
            try:
                if since_us is None:
                    since_us = _server_now_us(database)
                seen = {str(row[0]): row for row in database.rows(flow_query(tier, since_us))}
            except K2Error as error:
                for key in mine:
                    flows[key] = replace(flows[key], watched_s=watched, error=str(error))
                continue
            for key in mine:
                row = seen.get(key[1])
                flows[key] = replace(
                    flows[key],
                    new_rows=int(row[1] or 0) if row else 0,
                    newest_age_s=int(row[2]) / 1e6 if row and row[2] is not None else None,
                    watched_s=watched,
                    error=None,
                )
        done = sum(flow.flowing for flow in flows.values())
        progress(done, len(flows))
        if done == len(flows) or deadline.passed:
            return tuple(flows.values())
        time.sleep(min(POLL_INTERVAL_S, deadline.remaining()))


def _server_now_us(database: Database) -> int:
    return int(database.rows("SELECT toUnixTimestamp64Micro(now64(6))")[0][0] or 0)
