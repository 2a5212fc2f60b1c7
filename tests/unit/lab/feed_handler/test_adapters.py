# SPDX-License-Identifier: Apache-2.0
"""What is read exactly, what is refused, and that no number ever passes through a float."""

from __future__ import annotations

import json

import pytest
from yarl import URL

from k2lab.feed_handler import adapters
from k2lab.feed_handler.adapters.base import UnreadableError, decimal_seconds_to_us
from k2lab.feed_handler.adapters.binance import canonical
from k2lab.feed_handler.adapters.coinbase import rfc3339_to_us

BINANCE = {"e": "trade", "E": 1, "s": "XRPETH", "t": 7, "p": "0.10", "q": "1", "T": 1_700_000_000_123, "m": True}


def read(exchange: str, text: str) -> list[str]:
    """The reasons of the rejects of one frame."""
    return [reject.reason for reject in adapters.create(exchange, URL("ws://x"), ["A"]).read(text).rejects]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"p": "1e5"}, "invalid_number"),
        ({"p": 1}, "invalid_number"),
        ({"p": "NaN"}, "invalid_number"),
        ({"q": ""}, "invalid_number"),
        ({"q": None}, "invalid_number"),
        ({"t": "7"}, "invalid_field"),
        ({"t": True}, "invalid_field"),
        ({"T": -1}, "invalid_field"),
        ({"m": "true"}, "invalid_field"),
        ({"s": ""}, "invalid_field"),
    ],
)
def test_binance_trade_with_a_bad_field_is_rejected(change: dict[str, object], reason: str) -> None:
    assert read("binance", json.dumps({**BINANCE, **change})) == [reason]


@pytest.mark.parametrize("exchange", adapters.EXCHANGES)
@pytest.mark.parametrize("text", ["", "{", "NaN", "[" * 100_000, '"x"', "1", "null"])
def test_garbage_is_rejected_and_never_raises(exchange: str, text: str) -> None:
    assert read(exchange, text)


def test_zero_and_negative_prices_pass_and_are_judged_later() -> None:
    for price in ("0", "-1.5"):
        text = json.dumps({**BINANCE, "p": price})
        assert adapters.create("binance", URL("ws://x"), ["A"]).read(text).trades[0].price == price


def test_a_bare_json_number_keeps_its_exact_digits() -> None:
    text = json.dumps(BINANCE).replace('"0.10"', "0.1000000000000000055")
    (trade,) = adapters.create("binance", URL("ws://x"), ["A"]).read(text).trades
    assert trade.price == "0.1000000000000000055"


def test_binance_milliseconds_and_raw_text_as_sent() -> None:
    text = json.dumps({**BINANCE, "new_field": 1})
    (trade,) = adapters.create("binance", URL("ws://x/ws"), ["XRPETH"]).read(text).trades
    assert trade.exchange_time_us == 1_700_000_000_123_000
    assert trade.raw == text


def test_one_bad_trade_of_a_kraken_frame_does_not_take_the_others_along() -> None:
    good = ["1.0", "2.0", "1737118158.321597", "s", "m", ""]
    frame = adapters.create("kraken", URL("ws://x"), ["BCH/EUR"]).read(
        json.dumps([0, [good, ["x", *good[1:]], good[:3]], "trade", "BCH/EUR"])
    )
    assert [trade.side for trade in frame.trades] == ["sell"]
    assert [reject.reason for reject in frame.rejects] == ["invalid_number", "unexpected_shape"]
    assert json.loads(frame.trades[0].raw) == {
        "pair": "BCH/EUR",
        "price": "1.0",
        "volume": "2.0",
        "timestamp": "1737118158.321597",
        "side": "s",
        "order_type": "m",
        "misc": "",
    }


def test_coinbase_snapshot_is_counted_not_produced() -> None:
    text = json.dumps(
        {"channel": "market_trades", "sequence_num": 0, "events": [{"type": "snapshot", "trades": [{}, {}]}]}
    )
    frame = adapters.create("coinbase", URL("ws://x"), ["A-B"]).read(text)
    assert (frame.trades, frame.rejects, frame.snapshot_trades) == ((), (), 2)


def test_refusals_keep_the_exchanges_words() -> None:
    kraken = '{"event":"subscriptionStatus","status":"error","pair":"A","errorMessage":"Currency pair not supported A"}'
    for exchange, text in {
        "binance": '{"code":2,"msg":"Invalid request"}',
        "kraken": kraken,
        "coinbase": '{"type":"error","message":"no"}',
    }.items():
        assert adapters.create(exchange, URL("ws://x"), ["A"]).read(text).refused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2021-04-05T12:00:00.123456789Z", 1_617_624_000_123_456),
        ("2021-04-05T12:00:00Z", 1_617_624_000_000_000),
        ("2021-04-05T12:00:00.1Z", 1_617_624_000_100_000),
    ],
)
def test_rfc3339_is_cut_to_microseconds(text: str, expected: int) -> None:
    assert rfc3339_to_us(text) == expected


@pytest.mark.parametrize("text", ["2021-04-05", "2021-13-05T12:00:00Z", "2021-04-05T12:00:00+02:00", ""])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        rfc3339_to_us(text)


def test_decimal_seconds_are_exact() -> None:
    assert decimal_seconds_to_us("1737118158.321597", "time") == 1_737_118_158_321_597
    assert decimal_seconds_to_us("1737118158.3215979", "time") == 1_737_118_158_321_597
    assert decimal_seconds_to_us("5", "time") == 5_000_000


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [("XRPETH", "XRP/ETH"), ("ETHUSDT", "ETH/USDT"), ("BTCFDUSD", "BTC/FDUSD"), ("ETH", "ETH"), ("ABCXYZ", "ABCXYZ")],
)
def test_canonical_symbol_of_binance(symbol: str, expected: str) -> None:
    assert canonical(symbol) == expected
