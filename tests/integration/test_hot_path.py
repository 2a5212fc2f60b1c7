# SPDX-License-Identifier: Apache-2.0
"""A trade goes from the exchange into every tier unchanged, and a restart of everything goes on where it stopped."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal, localcontext

import pytest
from confluent_kafka import Consumer, TopicPartition

from k2lab.clickhouse_http import ClickHouse
from k2lab.common.clock import now_us
from k2lab.crash_test.target import Target
from k2lab.ground_truth import compare
from k2lab.schema import TIMEFRAMES

from .lab import Lab

CONTROL_OFFSET = 4
BROKER_OFFSET = 20
# Symbol, the decimals of the price, and the size.
TRADES = {
    "binance": ("ETHUSDT", "12345678", "0.00000001"),
    "kraken": ("BCH/EUR", "00000001", "3.14159265"),
    "coinbase": ("SKL-USD", "99999999", "1000000.00000001"),
}


def command(lab: Lab, path: str, body: dict[str, object]) -> object:
    request = urllib.request.Request(
        f"http://127.0.0.1:{lab.port(CONTROL_OFFSET)}{path}", json.dumps(body).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def wait_for(look: Callable[[], list], seconds: float, what: str) -> list:
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return seen


def records_with(lab: Lab, topic: str, text: str) -> list[dict]:
    """Every record of ``topic`` whose value contains ``text``."""
    consumer = Consumer(
        {"bootstrap.servers": f"127.0.0.1:{lab.port(BROKER_OFFSET)}", "group.id": "looker", "enable.auto.commit": False}
    )
    try:
        found = []
        for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
            consumer.assign([TopicPartition(topic, number, low)])
            at = low
            deadline = time.monotonic() + 60
            while at < high:
                assert time.monotonic() < deadline, f"{topic} could not be read to its end"
                for message in consumer.consume(1000, timeout=1):
                    assert message.error() is None
                    at = message.offset() + 1
                    if text in message.value().decode():
                        found.append(json.loads(message.value()))
        return found
    finally:
        consumer.close()


@pytest.mark.parametrize("exchange", sorted(TRADES))
def test_a_trade_is_found_in_every_tier_with_equal_values(lab: Lab, exchange: str) -> None:
    symbol, decimals, size = TRADES[exchange]
    # Beyond any price before it, so that this trade alone sets the high of its candles.
    price = f"{now_us() // 1000}.{decimals}"
    command(
        lab,
        "/inject",
        {"exchange": exchange, "trades": [{"symbol": symbol, "price": price, "size": size, "side": "buy"}]},
    )
    topic = f"market.crypto.trades.{exchange}"
    with Target(lab.directory).clickhouse(30.0) as clickhouse:

        def rows(query: str) -> list:
            return [tuple(row) for row in clickhouse.rows(query)]

        ((silver_symbol, silver_price, silver_size, volume, side, valid, canonical, time_us, *position),) = wait_for(
            lambda: rows(
                "SELECT symbol, toString(price), toString(quantity), toString(quote_volume), side, is_valid, "
                "canonical_symbol, toUnixTimestamp64Micro(timestamp), topic, kafka_partition, kafka_offset "
                f"FROM k2.silver_trades WHERE exchange = '{exchange}' AND price = toDecimal128('{price}', 8)"
            ),
            30,
            f"the trade of {exchange} in silver",
        )
        assert (silver_symbol, Decimal(silver_price), Decimal(silver_size)) == (symbol, Decimal(price), Decimal(size))
        assert side == "buy"
        assert valid in (True, 1, "true")
        with localcontext(prec=76):
            exact = Decimal(price) * Decimal(size)
            assert Decimal(volume) == exact.quantize(Decimal("1e-8"), ROUND_DOWN)
        at = "topic = '{}' AND kafka_partition = {} AND kafka_offset = {}".format(*position)
        ((payload,),) = rows(f"SELECT payload FROM k2.raw_trades WHERE {at}")
        assert price in payload
        ((bronze_price, bronze_size, bronze_us),) = rows(
            "SELECT toString(price), toString(quantity), toUnixTimestamp64Micro(exchange_timestamp) "
            f"FROM k2.bronze_trades_{exchange} WHERE {at}"
        )
        assert (Decimal(bronze_price), Decimal(bronze_size)) == (Decimal(price), Decimal(size))
        assert int(bronze_us) == int(time_us)
        for timeframe in TIMEFRAMES:
            candles = rows(
                f"SELECT toString(high_price) FROM k2.ohlcv_{timeframe} FINAL WHERE exchange = '{exchange}' "
                f"AND canonical_symbol = '{canonical}' AND high_price = toDecimal128('{price}', 8)"
            )
            assert [Decimal(high) for (high,) in candles] == [Decimal(price)], timeframe
    (raw,) = records_with(lab, f"{topic}.raw", price)
    assert size in raw.values()
    (normalised,) = records_with(lab, topic, price)
    assert (normalised["symbol"], Decimal(normalised["price"]), Decimal(normalised["quantity"])) == (
        symbol,
        Decimal(price),
        Decimal(size),
    )
    assert (normalised["canonical_symbol"], normalised["side"], normalised["exchange_time_us"]) == (
        canonical,
        "buy",
        int(time_us),
    )


def count(clickhouse: ClickHouse) -> int:
    return int(clickhouse.rows("SELECT count() FROM k2.silver_trades")[0][0])


@pytest.mark.timeout(600)
def test_a_restart_of_the_whole_lab_goes_on_where_it_stopped(lab: Lab) -> None:
    before = Target(lab.directory)
    before.stop_load()
    before.drain(60.0)
    with before.clickhouse(60.0) as clickhouse:
        rows = count(clickhouse)
    since_us = now_us()
    lab.playbook("lab_down")
    lab.playbook("lab_up")
    after = Target(lab.directory)
    after.set_rate(200.0)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        time.sleep(0.1)
    after.stop_load()
    after.drain(60.0)
    with after.clickhouse(60.0) as clickhouse:
        result = compare(after.lab.truth, clickhouse, after.plan.broker, exchanges=after.exchanges, since_us=since_us)
        stored = count(clickhouse)
    after.set_rate(50.0)
    assert result.problems() == []
    assert stored == rows + sum(exchange.silver for exchange in result.exchanges.values())
    assert all(exchange.sent > 0 for exchange in result.exchanges.values())
