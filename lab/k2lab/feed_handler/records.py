# SPDX-License-Identifier: Apache-2.0
"""A trade between the exchange's message and the topics; prices and sizes stay the exchange's own strings."""

from __future__ import annotations

import json
from dataclasses import dataclass

SIDES = ("buy", "sell", "unknown")


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade as read from a message.

    raw: the exchange's own fields as JSON text. symbol: as the exchange spells it. trade_id, sequence: None where the
    exchange has none. price, quantity: exact decimal strings. side: one of SIDES, of the taker.
    exchange_time_us: microseconds since the epoch, finer digits cut off.
    """

    raw: str
    symbol: str
    canonical_symbol: str
    trade_id: str | None
    price: str
    quantity: str
    side: str
    exchange_time_us: int
    sequence: int | None

    def normalised(self, exchange: str, received_at_us: int) -> str:
        """The value of the normalised topic, JSON text."""
        return json.dumps(
            {
                "exchange": exchange,
                "symbol": self.symbol,
                "canonical_symbol": self.canonical_symbol,
                "trade_id": self.trade_id,
                "price": self.price,
                "quantity": self.quantity,
                "side": self.side,
                "exchange_time_us": self.exchange_time_us,
                "received_at_us": received_at_us,
                "sequence": self.sequence,
            },
            separators=(",", ":"),
        )


@dataclass(frozen=True, slots=True)
class Reject:
    """A part of a frame that is no readable trade: its text, a short reason for labels, and what exactly was wrong."""

    text: str
    reason: str
    error: str


@dataclass(frozen=True, slots=True)
class Frame:
    """What one frame meant.

    confirmed / refused: symbols (or channels) whose subscription the exchange accepted / refused, the latter with its
    words. message_sequence: the connection-wide sequence number, where the exchange has one. snapshot_trades: trades
    of a snapshot, which repeat what was traded before and are not produced.
    """

    trades: tuple[Trade, ...] = ()
    rejects: tuple[Reject, ...] = ()
    confirmed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    message_sequence: int | None = None
    snapshot_trades: int = 0


NOTHING = Frame()
