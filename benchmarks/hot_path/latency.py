# SPDX-License-Identifier: Apache-2.0
"""From the scheduled moment of a trade to the commit of the last of its six candles.

The commit of a candle is its part's entry in system.part_log (NewPart), not a now64() inside a view, which runs
before the insert returns. Parts of one insert share its query_id; the processor inserts one batch after the other, so
a silver row belongs to the first commit after its processed_at. Latency counts from the schedule in the simulator's
log: a simulator that runs late, or a stall that holds it up, cannot hide.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from k2lab.clickhouse_http import ClickHouse
from k2lab.ground_truth.trade import Key, Trade, sent_trades
from k2lab.schema import CANDLE_TABLES

COMMIT_SOURCE = "system.part_log: NewPart of the last of the six candle tables"


@dataclass(frozen=True)
class Latency:
    """Milliseconds over n trades in `batches` insert blocks (trades of one block are dependent)."""

    n: int
    missing: int
    batches: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def measure(
    clickhouse: ClickHouse, database: str, truth_dir: Path, exchanges: tuple[str, ...], start_us: int, end_us: int
) -> Latency:
    """Latency of the trades scheduled in [start_us, end_us). Wait until all are stored before."""
    clickhouse.execute("SYSTEM FLUSH LOGS")
    values: list[float] = []
    commits: set[int] = set()
    missing = 0
    for exchange in exchanges:
        committed = _committed(clickhouse, database, exchange, start_us)
        for trade, scheduled_us in _scheduled(truth_dir, exchange, start_us, end_us):
            times = committed.get(trade.key(exchange))
            if times:
                commit_us = times.pop(0)
                values.append((commit_us - scheduled_us) / 1000)
                commits.add(commit_us)
            else:
                missing += 1
    values.sort()
    return Latency(
        n=len(values),
        missing=missing,
        batches=len(commits),
        p50_ms=_percentile(values, 0.50),
        p99_ms=_percentile(values, 0.99),
        max_ms=_percentile(values, 1.0),
    )


def _committed(clickhouse: ClickHouse, database: str, exchange: str, start_us: int) -> dict[Key, list[int]]:
    tables = ", ".join(f"'{table}'" for table in CANDLE_TABLES)
    since = f"fromUnixTimestamp64Micro({start_us}, 'UTC')"
    rows = clickhouse.rows(
        "SELECT s.symbol, s.trade_id, toString(s.side), toString(s.price), toString(s.quantity), "
        "toUnixTimestamp64Micro(s.timestamp), toUnixTimestamp64Micro(c.committed) "
        f"FROM (SELECT *, 1 AS one FROM {database}.silver_trades WHERE timestamp >= {since} "
        "AND exchange = {exchange:String}) AS s "
        "ASOF INNER JOIN (SELECT 1 AS one, max(event_time_microseconds) AS committed FROM system.part_log "
        f"WHERE event_type = 'NewPart' AND database = '{database}' AND table IN ({tables}) "
        f"AND event_time_microseconds >= {since} GROUP BY query_id "
        f"HAVING uniqExact(table) = {len(CANDLE_TABLES)}) AS c "
        "ON s.one = c.one AND c.committed >= s.processed_at ORDER BY s.kafka_offset",
        parameters={"exchange": exchange},
    )
    found: defaultdict[Key, list[int]] = defaultdict(list)
    for symbol, trade_id, side, price, size, time_us, commit_us in rows:
        trade = Trade(symbol, trade_id, side, Decimal(price), Decimal(size), int(time_us))
        found[trade.key(exchange)].append(int(commit_us))
    return found


def _scheduled(truth_dir: Path, exchange: str, start_us: int, end_us: int) -> list[tuple[Trade, int]]:
    return [
        (sent.trade, sent.scheduled_us)
        for sent in sent_trades(truth_dir, exchange)
        if start_us <= sent.scheduled_us < end_us
    ]


def _percentile(ordered: list[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed; NaN of nothing."""
    if not ordered:
        return float("nan")
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 2)
