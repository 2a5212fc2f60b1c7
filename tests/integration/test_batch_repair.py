# SPDX-License-Identifier: Apache-2.0
"""Whatever part of a batch a crash kept out of the tables, the silver processor's repair brings back, once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
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


@pytest.mark.parametrize("step", ["_note", "_rebuild", "_delete"])
def test_a_repair_cut_short_anywhere_is_finished_by_the_next(
    tables: Tables, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class CutError(Exception):
        pass

    def cut_after(original: Callable[..., None], calls: list[int]) -> Callable[..., None]:
        def act(*arguments: object) -> None:
            original(*arguments)
            if calls:
                calls.pop()
                raise CutError

        return act

    assert tables.sink.insert(intent(0), records(0))
    batch = intent(ROWS)
    with tables.without("ohlcv_5m", "bronze_trades"):
        assert tables.sink.insert(batch, records(ROWS))
    left = [1]
    monkeypatch.setattr(tables.ledger, step, cut_after(getattr(tables.ledger, step), left))
    with pytest.raises(CutError):
        tables.ledger.take_out(batch)
    assert tables.resolve(batch) == [1]
    assert tables.trades() == whole(2)
