# SPDX-License-Identifier: Apache-2.0
"""Coinbase Advanced Trade market data: channels `market_trades`, `heartbeats` and the `subscriptions` replies.

Source: docs.cdp.coinbase.com, advanced-trade websocket overview and channels. One difference on purpose: the real
exchange collects trades over 250 ms; here each trade goes out when it is due, so that the path can be measured.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from k2lab.exchange_simulator.protocols.base import Malformed, Session, compact
from k2lab.exchange_simulator.truth import SentTrade

CHANNELS = ("heartbeats", "market_trades")
SUBSCRIBE_WITHIN_S = 5.0  # a client that subscribes to nothing is dropped after this time
SNAPSHOT_TRADES = 5  # the real exchange sends more; the shape is what counts


class CoinbaseSession(Session):
    """One Coinbase connection; `recent` holds each product's last trades, for the snapshots."""

    def __init__(self, symbols: Collection[str], recent: Mapping[str, deque[SentTrade]]) -> None:
        super().__init__()
        self._symbols = symbols
        self._recent = recent
        self._sequence = 0
        self._heartbeats = False
        self._heartbeat_counter = 0

    @property
    def has_subscribed(self) -> bool:
        """True while it listens to anything."""
        return self._heartbeats or bool(self.subscribed)

    def greeting(self) -> list[str]:
        """Coinbase greets nobody."""
        return []

    def heartbeat(self, idle_s: float) -> list[str]:  # noqa: ARG002 - sent every second, whatever the traffic
        """A message of the heartbeats channel, every second."""
        if not self._heartbeats:
            return []
        self._heartbeat_counter += 1
        now_ns = time.time_ns()
        current = f"{rfc3339(now_ns)[:-1].replace('T', ' ')} +0000 UTC m=+{time.monotonic():.9f}"
        return [
            self._envelope(
                "heartbeats",
                f'[{{"current_time":"{current}","heartbeat_counter":"{self._heartbeat_counter}"}}]',
                now_ns,
            )
        ]

    def answer(self, text: str) -> list[str]:
        """Answer one request."""
        try:
            request = json.loads(text)
        except ValueError:
            return [_error("invalid JSON")]
        if not isinstance(request, dict) or request.get("type") not in {"subscribe", "unsubscribe"}:
            return [_error("type must be subscribe or unsubscribe")]
        channel, products = request.get("channel"), request.get("product_ids", [])
        if channel not in CHANNELS:
            return [_error(f"channel {channel} is not a valid channel, expected one of {', '.join(CHANNELS)}")]
        if not isinstance(products, list) or not all(isinstance(product, str) for product in products):
            return [_error("product_ids must be an array of strings")]
        unknown = [product for product in products if product not in self._symbols]
        if unknown:
            return [_error(f"{', '.join(unknown)} is not a valid product")]
        subscribe = request["type"] == "subscribe"
        if channel == "heartbeats":
            self._heartbeats = subscribe
            return [self._subscriptions()]
        if not subscribe:
            # Without product ids the whole channel goes.
            self.subscribed.difference_update(products or set(self.subscribed))
            return [self._subscriptions()]
        chosen = products or sorted(self._symbols)
        new = [product for product in chosen if product not in self.subscribed]
        self.subscribed.update(new)
        return [self._snapshot(new), self._subscriptions()]

    def trade(self, trade: SentTrade) -> str:
        """A market_trades update with one trade."""
        return self._trades("update", _trade(trade), trade.exchange_time_ns)

    def malformed(self, kind: Malformed, symbol: str) -> str:
        """See Session."""
        if kind is Malformed.JSON:
            return '{"channel":"market_trades","events":['
        broken = {
            "trade_id": "0",
            "product_id": symbol,
            "price": "not-a-number",
            "size": "1",
            "side": "BUY",
            "time": "",
        }
        return self._trades("update", compact(broken), time.time_ns())

    def _snapshot(self, products: Collection[str]) -> str:
        trades = [trade for product in products for trade in self._recent.get(product, ())]
        trades.sort(key=lambda trade: trade.exchange_time_ns, reverse=True)  # newest first, as the real ones
        return self._trades("snapshot", ",".join(map(_trade, trades)), time.time_ns())

    def _trades(self, kind: str, trades: str, at_ns: int) -> str:
        return self._envelope("market_trades", f'[{{"type":"{kind}","trades":[{trades}]}}]', at_ns)

    def _subscriptions(self) -> str:
        state: dict[str, list[str]] = {}
        if self._heartbeats:
            state["heartbeats"] = ["heartbeats"]
        if self.subscribed:
            state["market_trades"] = sorted(self.subscribed)
        return self._envelope("subscriptions", f'[{{"subscriptions":{compact(state)}}}]', time.time_ns())

    def _envelope(self, channel: str, events: str, at_ns: int) -> str:
        sequence = self._sequence
        self._sequence += 1
        return (
            f'{{"channel":"{channel}","client_id":"","timestamp":"{rfc3339(at_ns)}",'
            f'"sequence_num":{sequence},"events":{events}}}'
        )


def rfc3339(nanoseconds: int) -> str:
    """Nanoseconds since the epoch as RFC 3339 in UTC with nine decimals."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def _trade(trade: SentTrade) -> str:
    return (
        f'{{"trade_id":"{trade.trade_id}","product_id":"{trade.symbol}","price":"{trade.price}",'
        f'"size":"{trade.size}","side":"{trade.side.upper()}","time":"{rfc3339(trade.exchange_time_ns)}"}}'
    )


def _error(message: str) -> str:
    return compact({"type": "error", "message": message})
