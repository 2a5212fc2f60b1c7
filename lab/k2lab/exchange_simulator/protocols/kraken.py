# SPDX-License-Identifier: Apache-2.0
"""Kraken WebSocket API v1, public channel `trade`.

Source: docs.kraken.com, websocket-v1 (systemStatus, subscriptionStatus, heartbeat, ping, trade) and the error texts
its clients match on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from k2lab.exchange_simulator.protocols.base import Malformed, Session, compact
from k2lab.exchange_simulator.truth import SentTrade

CHANNEL_ID = 0  # deprecated by Kraken, which sends 0 or a number without meaning
_CHANNELS = ("book", "ohlc", "openOrders", "ownTrades", "spread", "ticker", "trade", "*")
_PAIR = re.compile(r"[A-Z0-9]{2,20}/[A-Z0-9]{2,20}")
_HEARTBEAT_AFTER_S = 1.0


class KrakenSession(Session):
    """One Kraken connection."""

    def __init__(self, symbols: Collection[str], connection_id: int) -> None:
        super().__init__()
        self._symbols = symbols
        self._connection_id = connection_id

    def greeting(self) -> list[str]:
        """systemStatus, with a connection id."""
        return [
            compact(
                {
                    "connectionID": self._connection_id,
                    "event": "systemStatus",
                    "status": "online",
                    "version": "1.9.1",
                }
            )
        ]

    def heartbeat(self, idle_s: float) -> list[str]:
        """A heartbeat event after a second without traffic on a subscription."""
        return ['{"event":"heartbeat"}'] if self.subscribed and idle_s >= _HEARTBEAT_AFTER_S else []

    def answer(self, text: str) -> list[str]:
        """Answer one request."""
        try:
            request = json.loads(text)
        except ValueError:
            return [_error("Malformed request")]
        if not isinstance(request, dict):
            return [_error("Malformed request")]
        event, reqid = request.get("event"), request.get("reqid")
        extra: dict[str, object] = {} if reqid is None else {"reqid": reqid}
        if event == "ping":
            return [compact({"event": "pong", **extra})]
        if event in {"subscribe", "unsubscribe"}:
            return self._subscription(str(event), request, extra)
        return [_error("Event(s) not found", extra)]

    def _subscription(self, event: str, request: dict[str, object], extra: dict[str, object]) -> list[str]:
        subscription, pairs = request.get("subscription"), request.get("pair")
        if not isinstance(subscription, dict):
            return [_status_error("Subscription field must be an object", extra)]
        extra = {"subscription": subscription, **extra}
        if subscription.get("name") not in _CHANNELS:
            return [_status_error("Subscription name invalid", extra)]
        if subscription["name"] != "trade":
            return [_status_error("Subscription name not supported by this server", extra)]
        if not isinstance(pairs, list):
            return [_status_error("Pair field must be an array", extra)]
        if not pairs:
            return [_status_error("Pair(s) not found", extra)]
        return [self._pair(event, pair, extra) for pair in pairs]

    def _pair(self, event: str, pair: object, extra: dict[str, object]) -> str:
        extra = {"pair": pair, **extra}
        if not isinstance(pair, str) or not _PAIR.fullmatch(pair):
            return _status_error(f"Currency pair not in ISO 4217-A3 format {pair}", extra)
        if pair not in self._symbols:
            return _status_error(f"Currency pair not supported {pair}", extra)
        if event == "subscribe":
            if pair in self.subscribed:
                return _status_error("Already subscribed", extra)
            self.subscribed.add(pair)
        elif pair in self.subscribed:
            self.subscribed.remove(pair)
        else:
            return _status_error("Subscription Not Found", extra)
        return compact(
            {
                "channelID": CHANNEL_ID,
                "channelName": "trade",
                "event": "subscriptionStatus",
                "status": f"{event}d",
                **extra,
            }
        )

    def trade(self, trade: SentTrade) -> str:
        """An array message with one trade."""
        seconds, microseconds = divmod(trade.exchange_time_us, 1_000_000)
        return (
            f'[{CHANNEL_ID},[["{trade.price}","{trade.size}","{seconds}.{microseconds:06d}",'
            f'"{trade.side[0]}","l",""]],"trade","{trade.symbol}"]'
        )

    def malformed(self, kind: Malformed, symbol: str) -> str:
        """See Session."""
        if kind is Malformed.JSON:
            return f'[{CHANNEL_ID},[["1.0","2.0"'
        return f'[{CHANNEL_ID},[["not-a-number","1","0.000000","b","l",""]],"trade","{symbol}"]'


def _error(message: str, extra: dict[str, object] | None = None) -> str:
    return compact({"errorMessage": message, "event": "error", "status": "error", **(extra or {})})


def _status_error(message: str, extra: dict[str, object]) -> str:
    return compact({"errorMessage": message, "event": "subscriptionStatus", "status": "error", **extra})
