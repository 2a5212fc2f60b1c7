# SPDX-License-Identifier: Apache-2.0
"""What the tables hold: trades by position per tier, and candles beside their recomputation from silver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from k2lab.clickhouse_http import ClickHouse
from k2lab.ground_truth.broker import Position
from k2lab.ground_truth.result import CandleDifference
from k2lab.ground_truth.trade import Trade
from k2lab.schema import TIMEFRAMES

CANDLE_COLUMNS = (
    "open_time", "open_price", "close_time", "close_price", "high_price", "low_price", "volume", "quote_volume",
    "trade_count",
)  # fmt: skip


@dataclass(frozen=True)
class Tier:
    """Which positions a tier holds, and how often."""

    positions: Counter[Position]

    @property
    def rows(self) -> int:
        """All rows, duplicates counted."""
        return self.positions.total()


@dataclass(frozen=True)
class Silver:
    """Silver's rows of one exchange, in no order; a position twice is a duplicate.

    `all_valid` counts every valid row of the exchange, wanted or not: what its candles must add up to.
    """

    rows: tuple[tuple[Position, Trade], ...]
    all_valid: int


def tier(clickhouse: ClickHouse, table: str, topic: str, wanted: Collection[Position]) -> Tier:
    """Which of the wanted positions of `topic` are in `table`."""
    rows = clickhouse.rows(
        f"SELECT kafka_partition, toString(kafka_offset), count() FROM {table} "
        "WHERE topic = {topic:String} GROUP BY 1, 2",
        parameters={"topic": topic},
    )
    counts = {Position(int(partition), int(offset)): int(count) for partition, offset, count in rows}
    return Tier(Counter({position: count for position, count in counts.items() if position in wanted}))


def silver(clickhouse: ClickHouse, database: str, topic: str, wanted: Collection[Position]) -> Silver:
    """Silver's rows of `topic` at the wanted positions."""
    rows = clickhouse.rows(
        "SELECT kafka_partition, toString(kafka_offset), symbol, trade_id, toString(side), "
        "toString(price), toString(quantity), "
        f"toUnixTimestamp64Micro(timestamp), is_valid FROM {database}.silver_trades WHERE topic = {{topic:String}}",
        parameters={"topic": topic},
    )
    return Silver(
        tuple(
            (
                Position(int(partition), int(offset)),
                Trade(symbol, trade_id, side, Decimal(price), Decimal(size), int(time_us)),
            )
            for partition, offset, symbol, trade_id, side, price, size, time_us, _ in rows
            if Position(int(partition), int(offset)) in wanted
        ),
        sum(bool(row[-1]) for row in rows),
    )


def candle_trades(clickhouse: ClickHouse, database: str, timeframe: str, exchange: str) -> int:
    """Sum of trade_count over all candles of an exchange."""
    [[count]] = clickhouse.rows(
        f"SELECT sum(trade_count) FROM {database}.ohlcv_{timeframe} WHERE exchange = {{exchange:String}}",
        parameters={"exchange": exchange},
    )
    return int(count)


def candle_differences(clickhouse: ClickHouse, database: str) -> list[CandleDifference]:
    """Every column of every candle that differs from its recomputation over distinct valid silver rows."""
    found = []
    for timeframe, seconds in TIMEFRAMES.items():
        have = _candles(
            clickhouse,
            "SELECT exchange, canonical_symbol, toUnixTimestamp(window_start), "
            f"{', '.join(f'toString({column})' for column in CANDLE_COLUMNS)} FROM {database}.ohlcv_{timeframe} FINAL",
        )
        want = _candles(clickhouse, _recomputed(database, seconds))
        for key in sorted(have.keys() | want.keys()):
            for column, expected, seen in _differing(want.get(key), have.get(key)):
                found.append(CandleDifference(timeframe, *key, column, expected, seen))
    return found


Candle = dict[tuple[str, str, int], tuple[str, ...]]


def _candles(clickhouse: ClickHouse, sql: str) -> Candle:
    return {(str(row[0]), str(row[1]), int(row[2])): tuple(map(str, row[3:])) for row in clickhouse.rows(sql)}


def _recomputed(database: str, seconds: int) -> str:
    order = "(t.timestamp, ifNull(t.source_sequence, 0), t.kafka_offset)"
    values = (
        "min(t.timestamp)", f"argMin(t.price, {order})", "max(t.timestamp)", f"argMax(t.price, {order})",
        "max(t.price)",
        "min(t.price)", "sum(t.quantity)", "sum(t.quote_volume)", "count()",
    )  # fmt: skip
    return (
        f"SELECT exchange, canonical_symbol, intDiv(toUnixTimestamp(t.timestamp), {seconds}) * {seconds} AS window, "
        f"{', '.join(f'toString({value})' for value in values)} "
        f"FROM (SELECT * FROM {database}.silver_trades WHERE is_valid "
        "LIMIT 1 BY topic, kafka_partition, kafka_offset) AS t "
        "GROUP BY exchange, canonical_symbol, window"
    )


def _differing(want: tuple[str, ...] | None, have: tuple[str, ...] | None) -> list[tuple[str, str, str]]:
    if want is None or have is None:
        return [("candle", "absent" if want is None else "present", "absent" if have is None else "present")]
    return [(column, w, h) for column, w, h in zip(CANDLE_COLUMNS, want, have, strict=True) if w != h]
