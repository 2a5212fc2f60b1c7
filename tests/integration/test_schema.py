# SPDX-License-Identifier: Apache-2.0
"""The chain of tables on the real engine: exact values, flagged faults, candles that do not depend on arrival order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest

from k2lab.clickhouse_http import ClickHouse
from k2lab.common.errors import LabError
from k2lab.schema import CANDLE_TABLES, CandleEngine
from k2lab.schema.apply import apply_schema

from .lab import Lab, own_tables

DATABASE = "k2_schema_test"
NOW_MS = 1_790_000_000_123
NOW_US = NOW_MS * 1000


@pytest.fixture
def clickhouse(lab: Lab) -> Iterator[ClickHouse]:
    with own_tables(lab, DATABASE) as client:
        yield client


def insert(clickhouse: ClickHouse, exchange: str, payloads: Sequence[str], first_offset: int = 0) -> None:
    rows = [
        {
            "topic": f"market.crypto.trades.{exchange}.raw",
            "kafka_partition": 0,
            "kafka_offset": first_offset + index,
            "payload": payload,
            "broker_timestamp": NOW_MS / 1000,
            "received_at": NOW_MS / 1000,
        }
        for index, payload in enumerate(payloads)
    ]
    columns = "topic, kafka_partition, kafka_offset, payload, broker_timestamp, received_at"
    body = "\n".join(map(json.dumps, rows)).encode()
    clickhouse.execute(f"INSERT INTO {DATABASE}.raw_trades ({columns}) FORMAT JSONEachRow", body=body)


def binance(price: str = "0.00141342", quantity: str = "23.00000000", time_us: int = NOW_US, **changes: object) -> str:
    record = {
        "e": "trade",
        "E": time_us,
        "s": "XRPETH",
        "t": 13519807,
        "p": price,
        "q": quantity,
        "T": time_us,
        "m": True,
    }
    return json.dumps(record | changes)


def silver(clickhouse: ClickHouse, columns: str) -> list[list[object]]:
    return clickhouse.rows(f"SELECT {columns} FROM {DATABASE}.silver_trades ORDER BY kafka_offset")


def test_applying_twice_changes_nothing_and_another_design_is_refused(clickhouse: ClickHouse) -> None:
    assert apply_schema(clickhouse, DATABASE, CandleEngine.AGGREGATING).created == ()
    with pytest.raises(LabError, match="ohlcv_1m with the definition of this version"):
        apply_schema(clickhouse, DATABASE, CandleEngine.SUMMING)


def test_each_exchange_becomes_the_same_shape(clickhouse: ClickHouse) -> None:
    insert(clickhouse, "binance", [binance()], 0)
    seconds = f"{NOW_US // 1_000_000}.{NOW_US % 1_000_000:06d}"
    kraken = {
        "pair": "BCH/EUR",
        "price": "90.540000",
        "volume": "1.10448420",
        "timestamp": seconds,
        "side": "b",
        "order_type": "l",
    }
    insert(clickhouse, "kraken", [json.dumps(kraken)], 1)
    coinbase = {
        "trade_id": "7", "product_id": "BAND-BTC", "price": "0.00033", "size": "1.5", "side": "BUY",
        "time": "2026-09-21T14:13:20.123456789Z", "sequence_num": 17,
    }  # fmt: skip
    insert(clickhouse, "coinbase", [json.dumps(coinbase)], 2)
    columns = (
        "exchange, trade_id, canonical_symbol, currency, toString(price), toString(quantity), toString(quote_volume), "
        "toString(side), toUnixTimestamp64Micro(timestamp), toString(source_sequence), is_valid"
    )
    assert silver(clickhouse, columns) == [
        [
            "binance",
            "13519807",
            "XRP/ETH",
            "ETH",
            "0.00141342",
            "23",
            "0.03250866",
            "sell",
            str(NOW_US),
            "13519807",
            True,
        ],
        ["kraken", "", "BCH/EUR", "EUR", "90.54", "1.1044842", "99.99999946", "buy", str(NOW_US), None, True],
        ["coinbase", "7", "BAND/BTC", "BTC", "0.00033", "1.5", "0.000495", "buy", "1790000000123456", "17", True],
    ]


@pytest.mark.parametrize(
    ("payload", "errors"),
    [
        (binance(price="0"), ["price_not_positive"]),
        (binance(price="-1"), ["price_unreadable"]),
        (binance(price="abc"), ["price_unreadable"]),
        (binance(price="0.123456789"), ["price_unreadable"]),
        (binance(price="1" * 16), ["price_unreadable"]),
        (binance(price="9" * 15, quantity="9" * 15), []),
        (binance(price="0.1234567800"), []),
        (binance(quantity="0.00000000"), ["quantity_not_positive"]),
        (binance(quantity="1e40"), ["quantity_unreadable"]),
        (binance(m="perhaps"), ["side_unknown"]),
        (binance(time_us=NOW_US + 61_000_000), ["time_in_future"]),
        (binance(time_us=NOW_US - 8 * 86_400_000_000), ["time_too_old"]),
        (binance(T="soon"), ["time_unreadable"]),
        (binance(s=""), ["symbol_missing"]),
        ("{", ["symbol_missing", "price_unreadable", "quantity_unreadable", "side_unknown", "time_unreadable"]),
        ("", ["symbol_missing", "price_unreadable", "quantity_unreadable", "side_unknown", "time_unreadable"]),
        ("[1, null]", ["price_unreadable", "quantity_unreadable", "side_unknown", "time_unreadable"]),
    ],
)
def test_a_faulty_trade_is_flagged_and_its_block_goes_through(
    clickhouse: ClickHouse, payload: str, errors: list[str]
) -> None:
    insert(clickhouse, "binance", [binance(), payload, binance()])
    assert silver(clickhouse, "is_valid, validation_errors") == [[True, []], [not errors, errors], [True, []]]
    for table in CANDLE_TABLES:
        [[count]] = clickhouse.rows(f"SELECT sum(trade_count) FROM {DATABASE}.{table}")
        assert int(count) == (3 if not errors else 2)


def test_open_and_close_do_not_depend_on_the_order_of_arrival(clickhouse: ClickHouse) -> None:
    late, early = [binance(price="5", t=9), binance(price="4", t=8)], [binance(price="3", t=7, time_us=NOW_US - 1)]
    insert(clickhouse, "binance", late, 10)
    insert(clickhouse, "binance", early, 20)
    for table in CANDLE_TABLES:
        columns = ", ".join(f"toString({name})" for name in ("open_price", "close_price", "high_price", "low_price"))
        rows = clickhouse.rows(f"SELECT {columns}, toString(trade_count) FROM {DATABASE}.{table} FINAL")
        assert rows == [["3", "5", "5", "3", "3"]]


def test_a_repeated_block_changes_nothing(clickhouse: ClickHouse) -> None:
    statement = f"INSERT INTO {DATABASE}.raw_trades (topic, kafka_offset, payload) FORMAT JSONEachRow"
    body = json.dumps({"topic": "market.crypto.trades.binance.raw", "kafka_offset": 1, "payload": binance()}).encode()
    settings = {"insert_deduplication_token": "one", "deduplicate_blocks_in_dependent_materialized_views": 1}
    for _ in range(3):
        clickhouse.execute(statement, body=body, settings=settings)
    for table in ("raw_trades", "bronze_trades", "silver_trades"):
        assert clickhouse.rows(f"SELECT count() FROM {DATABASE}.{table}") == [["1"]]
