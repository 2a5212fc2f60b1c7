# SPDX-License-Identifier: Apache-2.0
"""Kraken WebSocket API v1, channel `trade`. Source: docs.kraken.com, websocket-v1."""

from __future__ import annotations

import json

from k2lab.feed_handler.adapters.base import (
    Adapter,
    UnreadableError,
    as_array,
    as_decimal,
    as_object,
    as_text,
    decimal_seconds_to_us,
    parse_json,
)
from k2lab.feed_handler.records import NOTHING, Frame, Reject, Trade

_SIDES = {"b": "buy", "s": "sell"}
_FIELDS = 6  # price, volume, time, side, order type, misc


class KrakenAdapter(Adapter):
    """Reads trade arrays; Kraken v1 has neither trade ids nor sequence numbers."""

    def subscriptions(self) -> list[str]:
        """One subscribe for all pairs."""
        return [json.dumps({"event": "subscribe", "pair": list(self._symbols), "subscription": {"name": "trade"}})]

    @property
    def to_confirm(self) -> frozenset[str]:
        """Each pair is confirmed or refused by itself."""
        return frozenset(self._symbols)

    def _read(self, text: str) -> Frame:
        message = parse_json(text)
        if isinstance(message, list):
            return self._array(message)
        event = as_object(message, "message")
        kind = event.get("event")
        if kind == "subscriptionStatus":
            pair = str(event.get("pair"))
            if event.get("status") == "subscribed":
                return Frame(confirmed=(pair,))
            return Frame(refused=(f"{pair}: {event.get('errorMessage', event.get('status'))}",))
        if kind == "error":
            return Frame(refused=(str(event.get("errorMessage")),))
        if isinstance(kind, str):
            return NOTHING  # systemStatus, heartbeat, pong
        raise UnreadableError("unexpected_shape", "expected an array or an object with event")

    def _array(self, message: list[object]) -> Frame:
        if len(message) < 4 or message[-2] != "trade":
            raise UnreadableError("unexpected_shape", "expected [channelID, [trades], 'trade', pair]")
        pair = as_text(message[-1], "pair")
        trades: list[Trade] = []
        rejects: list[Reject] = []
        for fields in as_array(message[1], "trades"):
            try:
                trades.append(_trade(pair, as_array(fields, "trade")))
            except UnreadableError as error:
                rejects.append(Reject(json.dumps({"pair": pair, "trade": fields}), error.reason, str(error)))
        return Frame(trades=tuple(trades), rejects=tuple(rejects))


def _trade(pair: str, fields: object) -> Trade:
    values = as_array(fields, "trade")
    if len(values) < _FIELDS:
        raise UnreadableError("unexpected_shape", f"trade: expected {_FIELDS} fields, got {len(values)}")
    price, volume, timestamp, side, order_type, misc = values[:_FIELDS]
    price, volume = as_decimal(price, "price"), as_decimal(volume, "volume")
    timestamp = as_text(timestamp, "time")
    raw = {
        "pair": pair,
        "price": price,
        "volume": volume,
        "timestamp": timestamp,
        "side": side,
        "order_type": order_type,
        "misc": misc,
    }
    return Trade(
        raw=json.dumps(raw, separators=(",", ":")),
        symbol=pair,
        canonical_symbol=pair,  # Kraken's own names (XBT, XDG) are kept, as the platform does
        trade_id=None,
        price=price,
        quantity=volume,
        side=_SIDES.get(side, "unknown") if isinstance(side, str) else "unknown",
        exchange_time_us=decimal_seconds_to_us(timestamp, "time"),
        sequence=None,
    )
