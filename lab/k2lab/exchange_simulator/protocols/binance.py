# SPDX-License-Identifier: Apache-2.0
"""Binance spot market streams: raw (/ws) and combined (/stream), live SUBSCRIBE and UNSUBSCRIBE.

Source: binance/binance-spot-api-docs, web-socket-streams.md (requests, results, error codes, timeUnit).
"""

from __future__ import annotations

import json
from collections.abc import Collection

from k2lab.exchange_simulator.protocols.base import Malformed, Session, compact
from k2lab.exchange_simulator.truth import SentTrade

METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
MAX_STREAMS = 1024
_MAX_ID_LENGTH = 36
_SUFFIX = "@trade"


class BinanceSession(Session):
    """One Binance connection.

    combined: trades come wrapped as {"stream": ..., "data": ...}. microseconds: unit of E and T (else milliseconds).
    streams: subscribed from the URL. As on the real exchange, a stream nobody lists is accepted and stays silent.
    """

    def __init__(
        self, symbols: Collection[str], *, combined: bool, microseconds: bool, streams: Collection[str] = ()
    ) -> None:
        super().__init__()
        self._symbols = symbols
        self._combined = combined
        self._divisor = 1_000 if microseconds else 1_000_000
        self._streams: dict[str, None] = {}  # a set that keeps its order
        self._subscribe(list(streams))

    def greeting(self) -> list[str]:
        """Binance greets nobody."""
        return []

    def answer(self, text: str) -> list[str]:
        """Answer one request."""
        try:
            request = json.loads(text)
        except ValueError as error:
            position = f"line {getattr(error, 'lineno', 1)} column {getattr(error, 'colno', 1)}"
            return [compact({"code": 3, "msg": f"Invalid JSON: expected value at {position}"})]
        if not isinstance(request, dict):
            return [_invalid("expected a JSON object")]
        request_id = request.get("id")
        if "id" not in request or not _valid_id(request_id):
            return [_invalid("request ID must be an unsigned integer")]
        if "method" not in request:
            return [_invalid(f"missing field `method` at line 1 column {len(text)}")]
        method, params = request["method"], request.get("params", [])
        if method not in METHODS:
            expected = ", ".join(f"`{name}`" for name in METHODS)
            return [_invalid(f"unknown variant `{method}`, expected one of {expected} at line 1 column {len(text)}")]
        if not isinstance(params, list):
            return [_invalid("params must be an array")]
        return [self._perform(str(method), params, request_id)]

    def _perform(self, method: str, params: list[object], request_id: object) -> str:
        if method == "LIST_SUBSCRIPTIONS":
            return _result(list(self._streams), request_id)
        if method in {"SET_PROPERTY", "GET_PROPERTY"}:
            return self._property(method, params, request_id)
        names = [name for name in params if isinstance(name, str)]
        if not names or len(names) != len(params):
            return _invalid("stream names must be strings")
        if method == "SUBSCRIBE":
            if len(self._streams.keys() | set(names)) > MAX_STREAMS:
                return _invalid(f"a connection can listen to {MAX_STREAMS} streams at most")
            self._subscribe(names)
        else:
            for name in names:
                self._streams.pop(name, None)
                self.subscribed.discard(_symbol(name))
        return _result(None, request_id)

    def _property(self, method: str, params: list[object], request_id: object) -> str:
        count = 2 if method == "SET_PROPERTY" else 1
        if not params or not isinstance(params[0], str):
            return _invalid("property name must be a string")
        if params[0] != "combined":
            return compact({"code": 0, "msg": "Unknown property", "id": request_id})
        if len(params) > count:
            return _invalid("too many parameters")
        if method == "GET_PROPERTY":
            return _result(self._combined, request_id)
        if len(params) < count or not isinstance(params[1], bool):
            return compact({"code": 1, "msg": "Invalid value type: expected Boolean"})
        self._combined = params[1]
        return _result(None, request_id)

    def _subscribe(self, names: Collection[str]) -> None:
        for name in names:
            self._streams[name] = None
            # Streams are lower case; BTCUSDT@trade is a stream that does not exist.
            if name.endswith(_SUFFIX) and name == name.lower() and _symbol(name) in self._symbols:
                self.subscribed.add(_symbol(name))

    def trade(self, trade: SentTrade) -> str:
        """A trade event, wrapped on a combined stream."""
        time = trade.exchange_time_ns // self._divisor
        maker = "true" if trade.side == "sell" else "false"  # the buyer was the maker: the taker sold
        return self._wrapped(
            trade.symbol,
            f'{{"e":"trade","E":{time},"s":"{trade.symbol}","t":{trade.trade_id},"p":"{trade.price}",'
            f'"q":"{trade.size}","T":{time},"m":{maker},"M":true}}',
        )

    def malformed(self, kind: Malformed, symbol: str) -> str:
        """See Session."""
        if kind is Malformed.JSON:
            return '{"e":"trade","s":"' + symbol
        return self._wrapped(
            symbol,
            compact({"e": "trade", "E": 0, "s": symbol, "t": 0, "p": "not-a-number", "q": "1", "T": 0, "m": True}),
        )

    def _wrapped(self, symbol: str, event: str) -> str:
        return f'{{"stream":"{symbol.lower()}{_SUFFIX}","data":{event}}}' if self._combined else event


def _symbol(stream: str) -> str:
    return stream.removesuffix(_SUFFIX).upper()


def _valid_id(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, str):
        return len(value) <= _MAX_ID_LENGTH and value.isalnum()
    return value is None or isinstance(value, int)


def _invalid(why: str) -> str:
    return compact({"code": 2, "msg": f"Invalid request: {why}"})


def _result(value: object, request_id: object) -> str:
    return compact({"result": value, "id": request_id})
