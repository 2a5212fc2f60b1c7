# SPDX-License-Identifier: Apache-2.0
"""Real trades from a CSV file, by exchange, in the order of the file.

Recordings often lack the taker's side, which messages carry. A missing one follows the tick rule (Lee and Ready 1991):
a price above the symbol's last different one was a buy, below it a sell.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path
from typing import Optional

from ...core.errors import K2Error
from ...core.suggest import did_you_mean
from .records import Trade

COLUMNS = ("exchange", "symbol", "trade_id", "exchange_time_us", "side", "price", "size")
# Trades are sent over and over; more of them than this make a load no more real, only larger.
MAX_TRADES = 50_000
_DECIMAL = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?")
_SIDES = ("buy", "sell", "")


class DataFileError(K2Error):
    """The file of trades cannot be read, or not be used."""


def read_trades(path: Path, exchanges: Collection[str]) -> dict[str, list[Trade]]:
    """The first ``MAX_TRADES`` trades of each of ``exchanges``.

    :raises DataFileError: no such file, other columns, a field that is none, an exchange that is not among
        ``exchanges``, or one of them without a trade.
    """
    trades: dict[str, list[Trade]] = {exchange: [] for exchange in exchanges}
    ticks: dict[tuple[str, str], _Tick] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
                raise DataFileError(
                    f"{path} is no file of trades",
                    expected=f"the columns {','.join(COLUMNS)}",
                    seen=f"none called {', '.join(missing)}",
                )
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                known = trades.get(row["exchange"])
                if known is None:
                    raise DataFileError(
                        f"{where}: an exchange of which k2_load.records has no format",
                        expected=f"one of {', '.join(sorted(exchanges))}",
                        seen=repr(row["exchange"]),
                        action=did_you_mean(row["exchange"] or "", exchanges),
                    )
                if len(known) < MAX_TRADES:
                    known.append(_trade(row, where, ticks.setdefault((row["exchange"], row["symbol"]), _Tick())))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataFileError(
            "the trades cannot be read",
            expected=f"a CSV file on the target at {path}",
            seen=str(error),
            action="copy it there, or correct data_file",
        ) from error
    if empty := [exchange for exchange, found in trades.items() if not found]:
        raise DataFileError(
            f"{path} has no trade of {', '.join(empty)}",
            expected="at least one of each exchange of k2_load.records",
            seen="none",
            action="add some, or take that exchange out of k2_load.records",
        )
    return trades


class _Tick:
    """The side that a symbol's prices tell, trade by trade."""

    def __init__(self) -> None:
        self._last: Optional[Decimal] = None
        self._side = "buy"

    def side(self, price: Decimal) -> str:
        """The side of a trade at ``price``."""
        if self._last is not None and price != self._last:
            self._side = "buy" if price > self._last else "sell"
        self._last = price
        return self._side


def _trade(row: dict[str, str], where: str, tick: _Tick) -> Trade:
    for name in ("price", "size"):
        if not _DECIMAL.fullmatch(row[name] or ""):
            raise DataFileError(f"{where}: no {name}", expected="a decimal number", seen=repr(row[name]))
    if row["side"] not in _SIDES:
        raise DataFileError(f"{where}: no side", expected="buy, sell or nothing", seen=repr(row["side"]))
    return Trade(row["price"], row["size"], row["side"] or tick.side(Decimal(row["price"])))
