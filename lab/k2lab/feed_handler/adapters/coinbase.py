# SPDX-License-Identifier: Apache-2.0
"""Coinbase Advanced Trade, channels `market_trades` and `heartbeats`.

Source: docs.cdp.coinbase.com, advanced-trade websocket overview and channels. Every message of a connection carries
the next sequence_num, so a hole in them is a lost message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from k2lab.feed_handler.adapters.base import (
    Adapter,
    UnreadableError,
    as_array,
    as_decimal,
    as_integer,
    as_object,
    as_text,
    parse_json,
)
from k2lab.feed_handler.records import Frame, Reject, Trade

_SIDES = {"BUY": "buy", "SELL": "sell"}
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?Z")
_CHANNELS = ("market_trades", "heartbeats")


class CoinbaseAdapter(Adapter):
    """Reads market_trades updates; snapshots repeat trades from before the subscription and are only counted."""

    has_message_sequence = True

    def subscriptions(self) -> list[str]:
        """One request per channel, as the API wants it."""
        trades = {"type": "subscribe", "channel": "market_trades", "product_ids": list(self._symbols)}
        return [json.dumps(trades), json.dumps({"type": "subscribe", "channel": "heartbeats"})]

    @property
    def to_confirm(self) -> frozenset[str]:
        """Each product, and the heartbeats channel."""
        return frozenset({*self._symbols, "heartbeats"})

    def _read(self, text: str) -> Frame:
        message = as_object(parse_json(text), "message")
        if message.get("type") == "error":
            return Frame(refused=(str(message.get("message")),))
        channel = as_text(message.get("channel"), "channel")
        sequence = as_integer(message.get("sequence_num"), "sequence_num")
        if channel == "subscriptions":
            return Frame(confirmed=_confirmed(message), message_sequence=sequence)
        if channel != "market_trades":
            return Frame(message_sequence=sequence)
        trades: list[Trade] = []
        rejects: list[Reject] = []
        snapshot_trades = 0
        for event in as_array(message.get("events"), "events"):
            fields = as_object(event, "event")
            entries = as_array(fields.get("trades"), "trades")
            if fields.get("type") == "snapshot":
                snapshot_trades += len(entries)
                continue
            for entry in entries:
                try:
                    trades.append(_trade(as_object(entry, "trade"), sequence))
                except UnreadableError as error:
                    rejects.append(Reject(json.dumps(entry), error.reason, str(error)))
        return Frame(tuple(trades), tuple(rejects), message_sequence=sequence, snapshot_trades=snapshot_trades)


def _confirmed(message: Mapping[str, object]) -> tuple[str, ...]:
    confirmed: list[str] = []
    for event in as_array(message.get("events"), "events"):
        state = as_object(as_object(event, "event").get("subscriptions"), "subscriptions")
        for channel in _CHANNELS:
            confirmed.extend(str(name) for name in as_array(state.get(channel, []), channel))
    return tuple(confirmed)


def _trade(entry: Mapping[str, object], sequence: int) -> Trade:
    symbol = as_text(entry.get("product_id"), "product_id")
    trade_id = as_text(entry.get("trade_id"), "trade_id")
    side = as_text(entry.get("side"), "side")
    return Trade(
        raw=json.dumps({**entry, "sequence_num": sequence}, separators=(",", ":")),
        symbol=symbol,
        canonical_symbol=symbol.replace("-", "/"),
        trade_id=trade_id,
        price=as_decimal(entry.get("price"), "price"),
        quantity=as_decimal(entry.get("size"), "size"),
        side=_SIDES.get(side, "unknown"),
        exchange_time_us=rfc3339_to_us(as_text(entry.get("time"), "time")),
        sequence=sequence,
    )


def rfc3339_to_us(text: str) -> int:
    """RFC 3339 in UTC in microseconds since the epoch; finer digits are cut off. Raises UnreadableError."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise UnreadableError("invalid_time", f"time: expected RFC 3339 in UTC, got {text!r}")
    try:
        seconds = int(datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise UnreadableError("invalid_time", f"time: {error}") from error
    return seconds * 1_000_000 + int((match[2] or "")[:6].ljust(6, "0"))
