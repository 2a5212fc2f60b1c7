# SPDX-License-Identifier: Apache-2.0
"""Compare the log of sent trades with broker, raw, bronze, silver and candles. Stop the load and drain before."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from k2lab.clickhouse_http import ClickHouse
from k2lab.ground_truth import stored
from k2lab.ground_truth.broker import Position, broker_trades
from k2lab.ground_truth.result import ExchangeResult, Finding, Result
from k2lab.ground_truth.trade import EXCHANGES, Gap, Key, SentTrade, Trade, sent_trades
from k2lab.schema import TIMEFRAMES

SHOWN = 10


def compare(
    truth_dir: Path,
    clickhouse: ClickHouse,
    bootstrap: str,
    *,
    database: str = "k2",
    topic_of: Callable[[str], str] = "market.crypto.trades.{}.raw".format,
    gaps: Sequence[Gap] = (),
    exchanges: Sequence[str] = EXCHANGES,
    since_us: int = 0,
) -> Result:
    """Compare every trade whose exchange time is at least `since_us` with what is stored; candles are compared whole.

    Raises LabError when a source cannot be read: no answer is not a clean one.
    """
    results = {}
    for exchange in exchanges:
        results[exchange] = _exchange(
            exchange,
            [sent for sent in sent_trades(truth_dir, exchange) if sent.trade.time_us >= since_us],
            broker_trades(bootstrap, exchange, topic_of(exchange), since_us),
            clickhouse,
            database,
            topic_of(exchange),
            [gap for gap in gaps if gap.exchange == exchange],
        )
    return Result(results, tuple(stored.candle_differences(clickhouse, database)))


def _exchange(
    exchange: str,
    sent: list[SentTrade],
    broker: dict[Position, Trade | None],
    clickhouse: ClickHouse,
    database: str,
    topic: str,
    gaps: Sequence[Gap],
) -> ExchangeResult:
    raw = stored.tier(clickhouse, f"{database}.raw_trades", topic, broker.keys())
    bronze = stored.tier(clickhouse, f"{database}.bronze_trades", topic, broker.keys())
    silver = stored.silver(clickhouse, database, topic, broker.keys())
    in_silver = Counter(position for position, _ in silver.rows)
    upstream = missing_upstream(exchange, sent, [trade for trade in broker.values() if trade is not None])
    differing, unexpected = check_values(exchange, sent, silver.rows)
    lost = sorted(set(broker) - set(in_silver))
    lost_tiers = Counter(
        "raw" if position not in raw.positions else "bronze" if position not in bronze.positions else "silver"
        for position in lost
    )
    return ExchangeResult(
        exchange=exchange,
        sent=len(sent),
        broker=len(broker),
        raw=raw.rows,
        bronze=bronze.rows,
        silver=len(silver.rows),
        silver_distinct=len(in_silver),
        silver_valid=silver.all_valid,
        candle_trades={name: stored.candle_trades(clickhouse, database, name, exchange) for name in TIMEFRAMES},
        lost_upstream=_finding(upstream),
        lost_outside_gaps=_finding(trade for trade in upstream if not _within(trade.sent_us, gaps)),
        lost_in_pipeline=_finding(f"{topic}/{position.partition}/{position.offset}" for position in lost),
        lost_by_tier=dict(lost_tiers),
        duplicated={
            "broker": surplus(exchange, sent, broker.values()),
            "raw": raw.rows - len(raw.positions),
            "bronze": bronze.rows - len(bronze.positions),
            "silver": len(silver.rows) - len(in_silver),
        },
        differing=_finding(differing),
        unexpected=_finding(unexpected),
    )


def missing_upstream(exchange: str, sent: Iterable[SentTrade], arrived: Iterable[Trade]) -> list[SentTrade]:
    """Trades sent more often than the broker has them (as a multiset of keys), in the order they were sent."""
    have = Counter(trade.key(exchange) for trade in arrived)
    missing = []
    for trade in sent:
        key = trade.trade.key(exchange)
        if have[key]:
            have[key] -= 1
        else:
            missing.append(trade)
    return missing


def surplus(exchange: str, sent: Iterable[SentTrade], arrived: Iterable[Trade | None]) -> int:
    """Records of sent trades beyond the number of times each was sent."""
    allowed = Counter(trade.trade.key(exchange) for trade in sent)
    seen = Counter(trade.key(exchange) for trade in arrived if trade is not None)
    return sum(max(0, count - allowed[key]) for key, count in seen.items() if key in allowed)


def check_values(
    exchange: str, sent: Iterable[SentTrade], rows: Iterable[tuple[Position, Trade]]
) -> tuple[list[str], list[str]]:
    """Rows whose trade was sent with other values, and rows whose trade was never sent, as text."""
    by_key: defaultdict[Key, list[Trade]] = defaultdict(list)
    for was_sent in sent:
        by_key[was_sent.trade.key(exchange)].append(was_sent.trade)
    differing, unexpected = [], []
    for position, trade in rows:
        candidates = by_key.get(trade.key(exchange))
        if candidates is None:
            unexpected.append(f"{position.partition}/{position.offset}: {trade}")
        elif trade not in candidates:
            differing.append(f"{position.partition}/{position.offset}: {trade}, sent {candidates[0]}")
    return differing, unexpected


def _finding(items: Iterable[object]) -> Finding:
    listed = list(items)
    return Finding(len(listed), tuple(str(item) for item in listed[:SHOWN]))


def _within(sent_us: int, gaps: Iterable[Gap]) -> bool:
    return any(gap.start_us <= sent_us <= gap.end_us for gap in gaps)
