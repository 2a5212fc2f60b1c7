# SPDX-License-Identifier: Apache-2.0
"""Whatever part of a batch a crash kept out of the tables, the silver processor's repair brings back, once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from k2lab.clickhouse_http import ClickHouse
from k2lab.schema import CANDLE_TABLES
from k2lab.silver_processor.intent import Intent, Partition, Range
from k2lab.silver_processor.ledger import Ledger, State
from k2lab.silver_processor.rows import Row
from k2lab.silver_processor.sink import Sink

from .lab import Lab, own_tables

DATABASE = "k2_repair_test"
P = Partition("market.crypto.trades.binance.raw", 0)
ROWS = 12
# The batches meet where a window of one and of five minutes ends, and none of a quarter of an hour.
BOUNDARY_US = int(time.time()) // 900 * 900 * 1_000_000 - 600 * 1_000_000
COUNTS = [*(f"{tier}_trades" for tier in ("raw", "bronze", "silver")), *CANDLE_TABLES]


def records(first: int) -> list[Row]:
    def payload(offset: int) -> bytes:
        time_us = BOUNDARY_US + (offset - ROWS) * 1_000_000
        trade = {"s": "XRPETH", "t": offset, "p": f"0.00{offset + 1}", "q": "2.5", "T": time_us, "m": True}
        return json.dumps(trade).encode()

    return [Row(P, offset, payload(offset), BOUNDARY_US // 1000, BOUNDARY_US) for offset in range(first, first + ROWS)]


def intent(first: int) -> Intent:
    return Intent({P: Range(first, first + ROWS, ROWS)}, 0, int(time.time()))


class Tables:
    """A database of its own with one whole batch before, and one after the batch that is under test."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self.clickhouse = clickhouse
        self.sink = Sink(clickhouse, DATABASE, "raw_trades", time.sleep)
        self.ledger = Ledger(clickhouse, DATABASE, "raw_trades")

    @contextmanager
    def without(self, *views: str) -> Iterator[None]:
        """While it lasts, the views pass nothing on."""
        for view in views:
            self.clickhouse.execute(f"DETACH TABLE {DATABASE}.{view}_mv")
        try:
            yield
        finally:
            for view in views:
                self.clickhouse.execute(f"ATTACH TABLE {DATABASE}.{view}_mv")

    def resolve(self, batch: Intent) -> list[int]:
        """Repair; returns the attempts that were announced."""
        announced: list[int] = []
        rows = records(min(span.start for span in batch.ranges.values()))
        state = self.sink.state(batch)
        self.sink.resolve(batch, state, lambda _: rows, lambda attempt: announced.append(attempt.attempt))
        return announced

    def trades(self) -> dict[str, int]:
        """Trades in each table; in candles the sum over all."""

        def number(table: str) -> str:
            return "sum(trade_count)" if table.startswith("ohlcv") else "count()"

        answers = self.clickhouse.rows(
            " UNION ALL ".join(f"SELECT '{table}', {number(table)} FROM {DATABASE}.{table}" for table in COUNTS)
        )
        return {str(table): int(count) for table, count in answers}


@pytest.fixture
def tables(lab: Lab) -> Iterator[Tables]:
    with own_tables(lab, DATABASE) as client:
        yield Tables(client)


def whole(batches: int) -> dict[str, int]:
    return dict.fromkeys(COUNTS, batches * ROWS)


@pytest.mark.parametrize(
    ("lost", "state", "announced"),
    [
        (["bronze_trades"], State.PARTIAL, [1]),
        (["silver_trades"], State.PARTIAL, [1]),
        *(([table], State.CANDLES_DIFFER, []) for table in CANDLE_TABLES),
        (["ohlcv_1m", "ohlcv_5m"], State.CANDLES_DIFFER, []),
        (list(CANDLE_TABLES), State.CANDLES_DIFFER, []),
    ],
)
def test_what_a_crash_kept_out_is_brought_back_once(
    tables: Tables, lost: list[str], state: State, announced: list[int]
) -> None:
    assert tables.sink.insert(intent(0), records(0))
    batch = intent(ROWS)
    with tables.without(*lost):
        assert tables.sink.insert(batch, records(ROWS))
    assert tables.ledger.state(batch) is state
    assert tables.resolve(batch) == announced
    assert tables.trades() == whole(2)
    assert tables.sink.insert(intent(2 * ROWS), records(2 * ROWS))
    assert tables.trades() == whole(3)


@pytest.mark.parametrize("table", CANDLE_TABLES)
def test_candles_a_view_loses_every_time_are_made_from_silver(tables: Tables, table: str) -> None:
    batch = intent(0)
    with tables.without(table):
        assert tables.sink.insert(batch, records(0))
        assert tables.resolve(batch) == []
    assert tables.trades() == whole(1)


def test_a_candle_that_lacks_trades_needs_no_mutation(tables: Tables) -> None:
    assert tables.sink.insert(intent(0), records(0))
    batch = intent(ROWS)
    with tables.without(*CANDLE_TABLES):
        assert tables.sink.insert(batch, records(ROWS))
    assert tables.resolve(batch) == []
    assert tables.ledger.state(batch) is State.COMPLETE
    mutations = f"SELECT count() FROM system.mutations WHERE database = '{DATABASE}'"
    assert int(tables.clickhouse.rows(mutations)[0][0]) == 0


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("trade_count", "trade_count + 3"),
        ("volume", "volume + 1"),
        ("high_price", "high_price * 2"),
        ("low_price", "low_price / 2"),
        ("last_trade", "tuple(last_trade.1, last_trade.2, 1, 1)"),
    ],
)
def test_a_candle_with_more_in_it_than_its_trades_is_made_anew(tables: Tables, column: str, change: str) -> None:
    batch = intent(0)
    with tables.without("ohlcv_5m"):
        assert tables.sink.insert(batch, records(0))
    tables.clickhouse.execute(
        f"INSERT INTO {DATABASE}.ohlcv_1m SELECT * REPLACE ({change} AS {column}) FROM {DATABASE}.ohlcv_1m FINAL"
    )
    assert tables.ledger.state(batch) is State.CANDLES_DIFFER
    assert tables.resolve(batch) == []
    assert tables.trades() == whole(1)


class CutError(Exception):
    """The processor's end, in the middle of a repair."""


def cut_after(monkeypatch: pytest.MonkeyPatch, ledger: Ledger, step: str) -> None:
    """The first time `step` is done, nothing comes after it."""
    original, left = getattr(ledger, step), [1]

    def act(*arguments: object) -> None:
        original(*arguments)
        if left:
            left.pop()
            raise CutError

    monkeypatch.setattr(ledger, step, act)


@pytest.mark.parametrize(
    ("lost", "step", "announced"),
    [
        ("bronze_trades", "_note", [1]),
        ("bronze_trades", "_delete", [1]),
        # Every row is there until the first table is deleted from: candles are made again, or the batch taken out.
        ("ohlcv_5m", "_note", []),
        ("ohlcv_5m", "_rebuild", []),
        ("ohlcv_5m", "_delete", [1]),
    ],
)
def test_a_repair_cut_short_anywhere_is_finished_by_the_next(
    tables: Tables, monkeypatch: pytest.MonkeyPatch, lost: str, step: str, announced: list[int]
) -> None:
    assert tables.sink.insert(intent(0), records(0))
    batch = intent(ROWS)
    with tables.without(lost):
        assert tables.sink.insert(batch, records(ROWS))
    cut_after(monkeypatch, tables.ledger, step)
    with pytest.raises(CutError):
        tables.ledger.take_out(batch)
    assert tables.resolve(batch) == announced
    assert tables.trades() == whole(2)


def test_what_was_added_before_a_cut_is_not_added_again(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = intent(0)
    with tables.without("ohlcv_1m", "ohlcv_15m"):
        assert tables.sink.insert(batch, records(0))
    cut_after(monkeypatch, tables.ledger, "_add")
    with pytest.raises(CutError):
        tables.ledger.remake_candles(batch)
    assert tables.resolve(batch) == []
    assert tables.trades() == whole(1)
