# SPDX-License-Identifier: Apache-2.0
"""Which tiers hold a batch, taking a half-written one back out, and making candles again from silver.

Offsets identify rows in raw, bronze and silver. Candles hold no offsets, so theirs is a proof by recomputation: every
window the batch can have touched must equal what silver gives. A touched window is known from the candle's updated_at
(written no earlier than the batch was announced), from silver rows of that time, and from the journal of a repair that
was cut short. One-minute candles are computed from silver, longer ones from the one-minute candles proven just before,
so that the cost does not grow with the day.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Iterable
from typing import NamedTuple

from k2lab.clickhouse_http import ClickHouse
from k2lab.schema import TIMEFRAMES
from k2lab.silver_processor.intent import Intent

log = logging.getLogger(__name__)

CLOCK_SLACK_S = 10
"""How far the processor's clock and ClickHouse's may differ, or step back, between an announcement and its insert."""

_MOST_DIFFERENCES_TOLD = 5
_BASE = "1m"
_KEY = "exchange, canonical_symbol, window_start"
_VALUES = "first_trade, last_trade, high_price, low_price, volume, quote_volume, trade_count"
_MERGED = (
    "min(first_trade) AS first_trade, max(last_trade) AS last_trade, "
    "max(high_price) AS high_price, min(low_price) AS low_price, "
    "sum(volume) AS volume, sum(quote_volume) AS quote_volume, sum(trade_count) AS trade_count"
)
_FROM_TRADES = (
    "min((timestamp, ifNull(source_sequence, 0), kafka_offset, s.price)) AS first_trade, "
    "max((timestamp, ifNull(source_sequence, 0), kafka_offset, s.price)) AS last_trade, "
    "max(s.price) AS high_price, min(s.price) AS low_price, sum(s.quantity) AS volume, "
    "sum(s.quote_volume) AS quote_volume, count() AS trade_count"
)
_WITHOUT_DEDUPLICATION: dict[str, str | int] = {
    "insert_deduplicate": 0,
    "deduplicate_insert": "disable",
    "deduplicate_insert_select": "disable",
}


class State(enum.Enum):
    """How much of a batch is in the tables."""

    COMPLETE = "complete"
    ABSENT = "absent"
    PARTIAL = "partial"
    CANDLES_DIFFER = "candles differ"
    """Every row is there, but candles are not what silver gives."""


class Window(NamedTuple):
    """One candle: its timeframe and key; `start_s` in seconds since the epoch."""

    timeframe: str
    exchange: str
    symbol: str
    start_s: int


class Difference(NamedTuple):
    """A candle that is not what its trades give; the counts of trades may agree where another value does not."""

    window: Window
    held_trades: int
    wanted_trades: int

    def __str__(self) -> str:
        timeframe, exchange, symbol, start_s = self.window
        return f"{exchange} {symbol} {timeframe} {start_s}: {self.held_trades} trades, {self.wanted_trades} wanted"


class Ledger:
    """Reads and repairs the tables of one database. Every method may raise ClickHouseError."""

    def __init__(self, clickhouse: ClickHouse, database: str, raw_table: str) -> None:
        self._clickhouse = clickhouse
        self._database = database
        self._tiers = (
            (raw_table, "ingested_at"),
            ("bronze_trades", "ingestion_timestamp"),
            ("silver_trades", "processed_at"),
        )

    def state(self, intent: Intent) -> State:
        """How much of the batch is there. Only meaningful while no insert is running."""
        counts = self._clickhouse.rows(
            " UNION ALL ".join(
                f"SELECT '{table}', count(), uniqExact(topic, kafka_partition, kafka_offset) "
                f"FROM {self._database}.{table} WHERE {written_at} >= {_since(intent)} AND ({_in_batch(intent)})"
                for table, written_at in self._tiers
            )
        )
        rows = {int(number) for _, count, distinct in counts for number in (count, distinct)}
        touched = self._touched(intent)
        wrong = [difference for timeframe in TIMEFRAMES for difference in self._wrong(timeframe, touched, "1")]
        held = {table: int(count) for table, count, _ in counts}
        log.info("batch %s of %d rows: %s; %d candles differ from silver", intent.batch, intent.rows, held, len(wrong))
        for difference in wrong[:_MOST_DIFFERENCES_TOLD]:
            log.warning("batch %s: candle differs: %s", intent.batch, difference)
        if rows == {intent.rows}:
            return State.CANDLES_DIFFER if wrong else State.COMPLETE
        return State.ABSENT if rows == {0} and not wrong else State.PARTIAL

    def remake_candles(self, intent: Intent) -> None:
        """Make every touched candle that differs again from silver, which holds the whole batch.

        Interrupted at any point, the next start finds the candles different, or the batch complete.
        """
        touched = self._touched(intent)
        self._note(intent, touched)
        for timeframe in TIMEFRAMES:
            self._mend(timeframe, touched, "1")

    def take_out(self, intent: Intent) -> None:
        """Remove every trace of the batch. Interrupted at any point, the next start finds it partial and repeats this.

        Candles first, from the silver rows that are not the batch's; then silver, bronze and raw, the evidence last.
        """
        touched = self._touched(intent)
        self._note(intent, touched)
        others = f"NOT ({_in_batch(intent)})"
        for timeframe in TIMEFRAMES:
            self._mend(timeframe, touched, others)
        for table, written_at in reversed(self._tiers):
            self._delete(table, written_at, intent)

    def _touched(self, intent: Intent) -> list[Window]:
        since = _since(intent)
        journal = (
            "SELECT toString(timeframe_s), exchange, canonical_symbol, toUnixTimestamp(window_start) "
            f"FROM {self._database}.processor_repairs WHERE batch = '{intent.batch}'"
        )
        parts = [journal]
        for timeframe, seconds in TIMEFRAMES.items():
            window = f"intDiv(toUnixTimestamp(timestamp), {seconds}) * {seconds}"
            candles = (
                f"SELECT '{seconds}', exchange, canonical_symbol, toUnixTimestamp(window_start) "
                f"FROM {self._database}.ohlcv_{timeframe} WHERE updated_at >= {since}"
            )
            trades = (
                f"SELECT '{seconds}', exchange, canonical_symbol, {window} "
                f"FROM {self._database}.silver_trades WHERE processed_at >= {since} AND is_valid"
            )
            parts += [candles, trades]
        names = {str(seconds): timeframe for timeframe, seconds in TIMEFRAMES.items()}
        rows = self._clickhouse.rows(" UNION DISTINCT ".join(parts))
        return sorted(Window(names[seconds], exchange, symbol, int(start)) for seconds, exchange, symbol, start in rows)

    def _wrong(self, timeframe: str, touched: Iterable[Window], which_trades: str) -> list[Difference]:
        """Those of the touched windows whose candle is not what `which_trades` (a condition on silver) give."""
        windows = [window for window in touched if window.timeframe == timeframe]
        if not windows:
            return []
        held = f"SELECT *, 1 AS is_held FROM ({self._held(timeframe, windows)})"
        wanted = f"SELECT *, 0 FROM ({self._wanted(timeframe, windows, which_trades)})"
        rows = self._clickhouse.rows(
            "SELECT exchange, canonical_symbol, toUnixTimestamp(window_start), "
            "sumIf(trade_count, held), sumIf(trade_count, NOT held) "
            f"FROM (SELECT {_KEY}, {_VALUES}, any(is_held) AS held FROM ({held} UNION ALL {wanted}) "
            f"GROUP BY {_KEY}, {_VALUES} HAVING count() != 2) GROUP BY {_KEY}"
        )
        return [
            Difference(Window(timeframe, exchange, symbol, int(start)), int(held), int(wanted))
            for exchange, symbol, start, held, wanted in rows
        ]

    def _held(self, timeframe: str, windows: list[Window]) -> str:
        return (
            f"SELECT {_KEY}, {_MERGED} FROM {self._database}.ohlcv_{timeframe} "
            f"WHERE ({_KEY}) IN {_literal(windows)} GROUP BY {_KEY}"
        )

    def _wanted(self, timeframe: str, windows: list[Window], which_trades: str) -> str:
        seconds = TIMEFRAMES[timeframe]
        first, last = min(w.start_s for w in windows), max(w.start_s for w in windows) + seconds
        start = f"toDateTime(intDiv(toUnixTimestamp({{}}), {seconds}) * {seconds}, 'UTC')"
        if timeframe == _BASE:
            time, values = "timestamp", _FROM_TRADES
            source = f"silver_trades AS s WHERE is_valid AND ({which_trades}) AND"
        else:
            time, values, source = "window_start", _MERGED, f"ohlcv_{_BASE} AS s WHERE"
        window_start = start.format(f"s.{time}")
        return (
            f"SELECT exchange, canonical_symbol, {window_start} AS candle_start, {values} "
            f"FROM {self._database}.{source} "
            f"s.{time} >= toDateTime({first}, 'UTC') AND s.{time} < toDateTime({last}, 'UTC') "
            f"AND (exchange, canonical_symbol, {window_start}) IN {_literal(windows)} "
            "GROUP BY exchange, canonical_symbol, candle_start"
        )

    def _note(self, intent: Intent, touched: list[Window]) -> None:
        if touched:
            values = ", ".join(
                f"('{intent.batch}', {TIMEFRAMES[w.timeframe]}, {_quote(w.exchange)}, {_quote(w.symbol)}, {w.start_s})"
                for w in touched
            )
            self._clickhouse.execute(
                f"INSERT INTO {self._database}.processor_repairs "
                f"(batch, timeframe_s, exchange, canonical_symbol, window_start) VALUES {values}",
                settings=_WITHOUT_DEDUPLICATION,
            )

    def _mend(self, timeframe: str, touched: Iterable[Window], which_trades: str) -> None:
        """Make those of the touched candles that differ what `which_trades` give."""
        wrong = self._wrong(timeframe, touched, which_trades)
        lacking = [difference.window for difference in wrong if difference.held_trades < difference.wanted_trades]
        if lacking:
            self._add(timeframe, lacking, which_trades)
            wrong = self._wrong(timeframe, [difference.window for difference in wrong], which_trades)
        if wrong:
            self._rebuild(timeframe, [difference.window for difference in wrong], which_trades)

    def _add(self, timeframe: str, windows: list[Window], which_trades: str) -> None:
        """Insert what the candles lack: sums add up, and the least and the greatest stay what they are.

        A mutation may wait for tens of seconds behind merges, an insert does not. It can only add: a candle with
        anything in it that its trades do not give is left as it is.
        """
        sums = ("volume", "quote_volume", "trade_count")
        within = "h.first_trade >= w.first_trade AND h.last_trade <= w.last_trade "
        within += "AND h.high_price <= w.high_price AND h.low_price >= w.low_price"
        self._clickhouse.execute(
            f"INSERT INTO {self._database}.ohlcv_{timeframe} ({_KEY}, {_VALUES}, updated_at) "
            "SELECT w.exchange, w.canonical_symbol, w.candle_start, w.first_trade, w.last_trade, w.high_price, "
            f"w.low_price, {', '.join(f'w.{name} - h.{name}' for name in sums)}, now64(6, 'UTC') "
            f"FROM ({self._wanted(timeframe, windows, which_trades)}) AS w "
            f"LEFT JOIN ({self._held(timeframe, windows)}) AS h ON h.exchange = w.exchange "
            "AND h.canonical_symbol = w.canonical_symbol AND h.window_start = w.candle_start "
            f"WHERE h.trade_count = 0 OR ({within} AND {' AND '.join(f'h.{name} <= w.{name}' for name in sums)})",
            settings=_WITHOUT_DEDUPLICATION,
        )

    def _rebuild(self, timeframe: str, windows: list[Window], which_trades: str) -> None:
        table = f"{self._database}.ohlcv_{timeframe}"
        self._clickhouse.execute(
            f"ALTER TABLE {table} DELETE WHERE ({_KEY}) IN {_literal(windows)}", settings={"mutations_sync": 1}
        )
        self._clickhouse.execute(
            f"INSERT INTO {table} ({_KEY}, {_VALUES}, updated_at) SELECT *, now64(6, 'UTC') FROM "
            f"({self._wanted(timeframe, windows, which_trades)})",
            settings=_WITHOUT_DEDUPLICATION,
        )

    def _delete(self, table: str, written_at: str, intent: Intent) -> None:
        """Delete the batch's rows; a part that holds nothing else as a whole, for a mutation visits every part."""
        where = f"{written_at} >= {_since(intent)} AND ({_in_batch(intent)})"
        parts = self._clickhouse.rows(
            "SELECT found.part, found.in_batch, active.rows FROM "
            f"(SELECT _part AS part, count() AS in_batch FROM {self._database}.{table} "
            f"WHERE {where} GROUP BY part) AS found "
            f"INNER JOIN (SELECT name, rows FROM system.parts WHERE active AND database = '{self._database}' "
            f"AND table = '{table}') AS active ON active.name = found.part"
        )
        mixed = False
        for part, in_batch, rows in parts:
            if in_batch == rows:
                self._clickhouse.execute(f"ALTER TABLE {self._database}.{table} DROP PART '{part}'")
            else:
                mixed = True
        if mixed:
            self._clickhouse.execute(
                f"ALTER TABLE {self._database}.{table} DELETE WHERE {where}", settings={"mutations_sync": 1}
            )


def _since(intent: Intent) -> str:
    return f"toDateTime64({intent.announced_s - CLOCK_SLACK_S}, 6, 'UTC')"


def _in_batch(intent: Intent) -> str:
    return " OR ".join(
        f"(topic = '{p.topic}' AND kafka_partition = {p.number} "
        f"AND kafka_offset >= {span.start} AND kafka_offset < {span.end})"
        for p, span in sorted(intent.ranges.items())
    )


def _literal(windows: Iterable[Window]) -> str:
    keys = (f"({_quote(w.exchange)}, {_quote(w.symbol)}, toDateTime({w.start_s}, 'UTC'))" for w in windows)
    return f"({', '.join(keys)})"


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
