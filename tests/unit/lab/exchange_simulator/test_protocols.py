# SPDX-License-Identifier: Apache-2.0
"""The exchanges' message shapes, and that the feed handler's adapters read back exactly what was sent."""

from __future__ import annotations

import json
from collections import deque

import pytest
from yarl import URL

from k2lab.exchange_simulator.protocols.base import Malformed, Session
from k2lab.exchange_simulator.protocols.binance import BinanceSession
from k2lab.exchange_simulator.protocols.coinbase import CoinbaseSession
from k2lab.exchange_simulator.protocols.kraken import KrakenSession
from k2lab.exchange_simulator.truth import SentTrade
from k2lab.feed_handler import adapters

TIME_NS = 1_737_118_158_321_597_123
SYMBOLS = {"binance": "XRPETH", "kraken": "BCH/EUR", "coinbase": "BAND-BTC"}


def sent(exchange: str) -> SentTrade:
    trade_id = None if exchange == "kraken" else 7
    return SentTrade(3, exchange, SYMBOLS[exchange], trade_id, "sell", "0.00141342", "23.5", TIME_NS, 1, 2, 1)


def session(exchange: str) -> Session:
    symbols = {SYMBOLS[exchange]}
    if exchange == "binance":
        return BinanceSession(symbols, combined=False, microseconds=True)
    if exchange == "kraken":
        return KrakenSession(symbols, 1)
    return CoinbaseSession(symbols, {SYMBOLS["coinbase"]: deque([sent("coinbase")])})


def ask(binance: BinanceSession, request: object) -> dict[str, object]:
    (answer,) = binance.answer(request if isinstance(request, str) else json.dumps(request))
    document = json.loads(answer)
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("exchange", adapters.EXCHANGES)
def test_adapter_subscribes_and_reads_back_the_trade_exactly(exchange: str) -> None:
    server = session(exchange)
    adapter = adapters.create(exchange, URL("ws://x/ws?timeUnit=MICROSECOND"), [SYMBOLS[exchange]])
    answers = [answer for request in adapter.subscriptions() for answer in server.answer(request)]
    frames = [adapter.read(answer) for answer in answers]
    assert {name for frame in frames for name in frame.confirmed} == adapter.to_confirm
    assert not any(frame.refused or frame.trades or frame.rejects for frame in frames)
    assert server.subscribed == {SYMBOLS[exchange]}

    (trade,) = adapter.read(server.trade(sent(exchange))).trades
    assert (trade.symbol, trade.price, trade.quantity, trade.side) == (
        SYMBOLS[exchange],
        "0.00141342",
        "23.5",
        "sell",
    )
    assert trade.exchange_time_us == TIME_NS // 1000
    assert trade.trade_id == (None if exchange == "kraken" else "7")


@pytest.mark.parametrize("exchange", adapters.EXCHANGES)
@pytest.mark.parametrize(("kind", "reason"), [(Malformed.JSON, "invalid_json"), (Malformed.TRADE, "invalid_number")])
def test_malformed_frames_become_rejects(exchange: str, kind: Malformed, reason: str) -> None:
    adapter = adapters.create(exchange, URL("ws://x"), [SYMBOLS[exchange]])
    frame = adapter.read(session(exchange).malformed(kind, SYMBOLS[exchange]))
    assert [reject.reason for reject in frame.rejects] == [reason]
    assert not frame.trades


def test_binance_answers_as_documented() -> None:
    binance = BinanceSession({"XRPETH"}, combined=False, microseconds=False)
    subscribe = {"method": "SUBSCRIBE", "params": ["xrpeth@trade", "nobody@trade"], "id": 5}
    assert ask(binance, subscribe) == {"result": None, "id": 5}
    assert ask(binance, {"method": "LIST_SUBSCRIPTIONS", "id": 6})["result"] == ["xrpeth@trade", "nobody@trade"]
    assert ask(binance, {"method": "GET_PROPERTY", "params": ["combined"], "id": 2}) == {"result": False, "id": 2}
    assert json.loads(binance.trade(sent("binance")))["T"] == TIME_NS // 1_000_000
    ask(binance, {"method": "UNSUBSCRIBE", "params": ["xrpeth@trade"], "id": 7})
    assert binance.subscribed == set()


@pytest.mark.parametrize(
    ("request_text", "code", "words"),
    [
        ("{", 3, "Invalid JSON"),
        ('{"method":"SUBSCRIBE","params":["a@trade"]}', 2, "request ID"),
        ('{"method":"SUBSCRIBE","params":["a@trade"],"id":1.5}', 2, "request ID"),
        ('{"id":1}', 2, "missing field `method`"),
        ('{"method":"subscribe","id":1}', 2, "unknown variant `subscribe`"),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2, "must be strings"),
        ('{"method":"SET_PROPERTY","params":["combined","yes"],"id":1}', 1, "expected Boolean"),
        ('{"method":"GET_PROPERTY","params":["x"],"id":1}', 0, "Unknown property"),
    ],
)
def test_binance_refuses_as_documented(request_text: str, code: int, words: str) -> None:
    answer = ask(BinanceSession({"XRPETH"}, combined=False, microseconds=False), request_text)
    assert answer["code"] == code
    assert words in str(answer["msg"])


def test_binance_combined_stream_wraps_events() -> None:
    binance = BinanceSession({"XRPETH"}, combined=True, microseconds=True, streams=["xrpeth@trade"])
    assert binance.subscribed == {"XRPETH"}
    frame = json.loads(binance.trade(sent("binance")))
    assert (frame["stream"], frame["data"]["e"]) == ("xrpeth@trade", "trade")


def test_kraken_greets_beats_and_refuses() -> None:
    kraken = KrakenSession({"BCH/EUR"}, 9)
    assert json.loads(kraken.greeting()[0])["event"] == "systemStatus"
    assert kraken.heartbeat(5.0) == []  # not before a subscription
    request = {"event": "subscribe", "pair": ["BCH/EUR", "AA/BB", "x"], "subscription": {"name": "trade"}, "reqid": 4}
    answers = [json.loads(text) for text in kraken.answer(json.dumps(request))]
    assert [answer["status"] for answer in answers] == ["subscribed", "error", "error"]
    assert all(answer["reqid"] == 4 for answer in answers)
    assert kraken.heartbeat(0.4) == []
    assert json.loads(kraken.heartbeat(1.0)[0]) == {"event": "heartbeat"}
    assert json.loads(kraken.answer('{"event":"ping","reqid":8}')[0]) == {"event": "pong", "reqid": 8}
    assert json.loads(kraken.answer("[")[0])["errorMessage"] == "Malformed request"


def test_coinbase_numbers_every_message_and_starts_with_a_snapshot() -> None:
    coinbase = CoinbaseSession({"BAND-BTC"}, {"BAND-BTC": deque([sent("coinbase")])})
    request = {"type": "subscribe", "channel": "market_trades", "product_ids": ["BAND-BTC"]}
    frames = [json.loads(text) for text in coinbase.answer(json.dumps(request))]
    assert [frame["channel"] for frame in frames] == ["market_trades", "subscriptions"]
    assert frames[0]["events"][0]["type"] == "snapshot"
    frames += [json.loads(text) for text in coinbase.answer('{"type":"subscribe","channel":"heartbeats"}')]
    frames += [json.loads(text) for text in coinbase.heartbeat(0.0)]
    frames.append(json.loads(coinbase.trade(sent("coinbase"))))
    assert [frame["sequence_num"] for frame in frames] == [0, 1, 2, 3, 4]
    assert frames[-1]["events"][0]["trades"][0]["time"] == "2025-01-17T12:49:18.321597123Z"


@pytest.mark.parametrize(
    "request_text",
    [
        "{",
        '{"type":"x"}',
        '{"type":"subscribe","channel":"x"}',
        '{"type":"subscribe","channel":"market_trades","product_ids":["NO-NE"]}',
        '{"type":"subscribe","channel":"market_trades","product_ids":"BAND-BTC"}',
    ],
)
def test_coinbase_refuses_bad_requests(request_text: str) -> None:
    (answer,) = CoinbaseSession({"BAND-BTC"}, {}).answer(request_text)
    assert json.loads(answer)["type"] == "error"
