# SPDX-License-Identifier: Apache-2.0
"""Binance spot trade streams, raw or combined.

Source: binance/binance-spot-api-docs, web-socket-streams.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from k2lab.feed_handler.adapters.base import (
    Adapter,
    UnreadableError,
    as_decimal,
    as_integer,
    as_object,
    as_text,
    parse_json,
)
from k2lab.feed_handler.records import NOTHING, Frame, Trade

_REQUEST_ID = 1
# Binance joins the assets without a separator: the quote asset is the known name at the end.
_QUOTES = re.compile(r"(.+?)(USDT|USDC|FDUSD|BUSD|TUSD|BTC|ETH|BNB|USD|EUR|GBP|TRY|BRL)")


class BinanceAdapter(Adapter):
    """Reads trade events; `microseconds`: the unit of their times (else milliseconds), set by the URL's timeUnit."""

    has_trade_sequence = True

    def __init__(self, symbols: Sequence[str], *, microseconds: bool) -> None:
        super().__init__(symbols)
        self._factor = 1 if microseconds else 1000

    def subscriptions(self) -> list[str]:
        """One SUBSCRIBE for all symbols."""
        streams = [f"{symbol.lower()}@trade" for symbol in self._symbols]
        return [json.dumps({"method": "SUBSCRIBE", "params": streams, "id": _REQUEST_ID})]

    @property
    def to_confirm(self) -> frozenset[str]:
        """Binance confirms a request, not its symbols."""
        return frozenset({f"request {_REQUEST_ID}"})

    def _read(self, text: str) -> Frame:
        message = as_object(parse_json(text), "message")
        if message.get("e") == "trade":
            return Frame(trades=(self._trade(message, text),))
        if "stream" in message:
            event = as_object(message.get("data"), "data")
            if event.get("e") == "trade":
                return Frame(trades=(self._trade(event, json.dumps(event, separators=(",", ":"))),))
            return NOTHING
        if "result" in message:
            return Frame(confirmed=(f"request {message.get('id')}",))
        if "code" in message or "error" in message:
            return Frame(refused=(text,))
        if "e" in message:
            return NOTHING  # other events (serverShutdown, for example) carry no trade
        raise UnreadableError("unexpected_shape", "expected a trade event, a combined event, a result or an error")

    def _trade(self, event: Mapping[str, object], raw: str) -> Trade:
        symbol = as_text(event.get("s"), "s")
        trade_id = as_integer(event.get("t"), "t")
        maker = event.get("m")
        if not isinstance(maker, bool):
            raise UnreadableError("invalid_field", f"m: expected true or false, got {maker!r}")
        return Trade(
            raw=raw,
            symbol=symbol,
            canonical_symbol=canonical(symbol),
            trade_id=str(trade_id),
            price=as_decimal(event.get("p"), "p"),
            quantity=as_decimal(event.get("q"), "q"),
            side="sell" if maker else "buy",  # the buyer was the maker: the taker sold
            exchange_time_us=as_integer(event.get("T"), "T") * self._factor,
            sequence=trade_id,
        )


def canonical(symbol: str) -> str:
    """XRPETH as XRP/ETH; unchanged when it ends in no known quote asset."""
    match = _QUOTES.fullmatch(symbol)
    return f"{match[1]}/{match[2]}" if match else symbol
