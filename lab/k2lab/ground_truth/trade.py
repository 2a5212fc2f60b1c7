# SPDX-License-Identifier: Apache-2.0
"""One trade as it is compared, whichever tier it was read from."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from k2lab.common.errors import LabError

EXCHANGES = ("binance", "kraken", "coinbase")
MICROS = Decimal(1_000_000)
Key = tuple[str | int | Decimal, ...]


class Trade(NamedTuple):
    """The values a trade must keep on its whole way. `time_us`: the exchange's clock, microseconds since the epoch."""

    symbol: str
    trade_id: str
    side: str
    price: Decimal
    size: Decimal
    time_us: int

    def key(self, exchange: str) -> Key:
        """What identifies it. Kraken has no trade ids: there all values together, so equal trades form a multiset."""
        if exchange == "kraken":
            return (self.symbol, self.time_us, self.price, self.size)
        return (self.symbol, self.trade_id)


class SentTrade(NamedTuple):
    """A trade the simulator put on the wire: when it did, and when it was due (its clock, microseconds)."""

    trade: Trade
    sent_us: int
    scheduled_us: int


@dataclass(frozen=True)
class Gap:
    """A window in which an exchange's trades may be lost upstream: a dead handler or simulator hears nothing."""

    exchange: str
    start_us: int
    end_us: int


def sent_trades(truth_dir: Path, exchange: str) -> Iterator[SentTrade]:
    """The trades of `exchange` that somebody was subscribed to, from `<truth_dir>/<exchange>*.csv` in order.

    A last line without its newline was cut by a crash of the simulator: the trade was not sent (it logs first) or is
    found as unexpected. Raises LabError when there is no file.
    """
    files = sorted(truth_dir.glob(f"{exchange}*.csv"))
    if not files:
        raise LabError(
            f"a log of sent trades {truth_dir}/{exchange}*.csv", "no such file", "start the exchange simulator"
        )
    for path in files:
        with path.open(newline="") as file:
            complete = (line for line in file if line.endswith("\n"))
            for row in csv.DictReader(complete):
                if int(row["subscribers"]) > 0:
                    trade = Trade(
                        row["symbol"], row["trade_id"], row["side"] or "unknown",
                        Decimal(row["price"]), Decimal(row["size"]), int(row["exchange_time_us"]),
                    )  # fmt: skip
                    yield SentTrade(trade, int(row["sent_us"]), int(row["scheduled_us"]))


def raw_trade(exchange: str, payload: bytes) -> Trade:
    """Read a raw record, independently of the SQL that the platform uses; raises ValueError when it is not one."""
    fields = json.loads(payload)
    try:
        if exchange == "binance":
            side = "sell" if fields["m"] else "buy"
            return Trade(
                fields["s"], str(fields["t"]), side, Decimal(fields["p"]), Decimal(fields["q"]), int(fields["T"])
            )
        if exchange == "kraken":
            side = {"b": "buy", "s": "sell"}.get(fields["side"], "unknown")
            time_us = int(Decimal(fields["timestamp"]) * MICROS)
            return Trade(fields["pair"], "", side, Decimal(fields["price"]), Decimal(fields["volume"]), time_us)
        side = {"BUY": "buy", "SELL": "sell"}.get(fields["side"], "unknown")
        return Trade(
            fields["product_id"],
            fields["trade_id"],
            side,
            Decimal(fields["price"]),
            Decimal(fields["size"]),
            _rfc3339_us(fields["time"]),
        )
    except (KeyError, TypeError, ArithmeticError) as error:
        raise ValueError(f"not a raw {exchange} record: {payload[:200]!r}") from error


def _rfc3339_us(text: str) -> int:
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    whole = int(datetime.fromisoformat(f"{seconds}+00:00").timestamp())
    return whole * 1_000_000 + int(fraction.ljust(6, "0")[:6])
