# SPDX-License-Identifier: Apache-2.0
"""Which tables are moved, and how the new part of each is found."""

from __future__ import annotations

from dataclasses import dataclass

from k2lab.schema import TIMEFRAMES

_HOUR_S, _DAY_S = 3600, 86400


@dataclass(frozen=True)
class TradeTable:
    """Append-only rows that carry their Kafka position. `written_at`: ClickHouse's own time of the row."""

    name: str
    written_at: str

    @property
    def partition_by(self) -> tuple[str, str]:
        """Column and Iceberg transform; the exchange's own time may be absurd, the time of writing never is."""
        return self.written_at, "day"


@dataclass(frozen=True)
class CandleTable:
    """Rows that change until their window has passed. They are replaced in blocks of `block_s` seconds.

    Small blocks keep a run cheap (a minute's candles of 34 symbols change 60 times an hour); a block is one data file
    until maintenance joins them.
    """

    name: str
    block_s: int
    transform: str

    @property
    def partition_by(self) -> tuple[str, str]:
        """Column and Iceberg transform."""
        return "window_start", self.transform


Table = TradeTable | CandleTable

TRADE_TABLES = (
    TradeTable("bronze_trades_binance", "ingestion_timestamp"),
    TradeTable("bronze_trades_kraken", "ingestion_timestamp"),
    TradeTable("bronze_trades_coinbase", "ingestion_timestamp"),
    TradeTable("silver_trades", "processed_at"),
)

CANDLE_TABLES = tuple(
    CandleTable(
        f"ohlcv_{timeframe}",
        block_s=_HOUR_S if seconds < 900 else _DAY_S,
        transform="month" if seconds == _DAY_S else "day",
    )
    for timeframe, seconds in TIMEFRAMES.items()
)

TABLES: tuple[Table, ...] = TRADE_TABLES + CANDLE_TABLES
"""In the order of a run: what can be lost from the hot tier first (bronze has the shortest TTL) goes first."""
