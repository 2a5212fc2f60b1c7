# SPDX-License-Identifier: Apache-2.0
"""The real trades that are replayed: prices, sizes and sides as they happened."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from k2lab.common.errors import LabError

EXCHANGES = ("binance", "kraken", "coinbase")
COLUMNS = ("exchange", "symbol", "trade_id", "exchange_time_us", "side", "price", "size")

# What may stand inside a message without escaping, and what ClickHouse's Decimal(38, 8) and its checks are fed with.
SYMBOL = re.compile(r"[A-Z0-9]{2,20}(?:[/-][A-Z0-9]{2,20})?")
DECIMAL = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,18})?")

_BINANCE_DECIMALS = 8  # Binance pads prices and quantities of spot trades to eight decimals


@dataclass(frozen=True, slots=True)
class Template:
    """A real trade without its time: what is replayed. Price and size are the exact strings to send."""

    symbol: str
    side: str
    price: str
    size: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """The trades of one exchange in replay order, and the highest trade id the real exchange gave per symbol."""

    exchange: str
    templates: tuple[Template, ...]
    last_trade_ids: Mapping[str, int]

    @property
    def symbols(self) -> frozenset[str]:
        """Every symbol this exchange lists."""
        return frozenset(self.last_trade_ids)


@dataclass(frozen=True, slots=True)
class _Row:
    symbol: str
    trade_id: int
    time_us: int
    side: str
    price: str
    size: str


def load(path: Path) -> dict[str, Dataset]:
    """Read the CSV file at `path` (columns: COLUMNS) and return a Dataset for each of EXCHANGES.

    Raises LabError when the file is missing, a column or an exchange is missing, or a field cannot be replayed.
    """
    by_exchange: dict[str, list[_Row]] = {name: [] for name in EXCHANGES}
    try:
        with path.open(newline="", encoding="ascii") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise _unusable(path, f"the header {','.join(reader.fieldnames or ())!r}")
            for fields in reader:
                exchange = fields["exchange"]
                if exchange not in by_exchange:
                    raise _unusable(path, f"exchange {exchange!r} in line {reader.line_num}")
                by_exchange[exchange].append(_row(path, reader.line_num, fields))
    except OSError as error:
        raise _unusable(path, str(error)) from error
    empty = [name for name, rows in by_exchange.items() if not rows]
    if empty:
        raise _unusable(path, f"no trade of {', '.join(empty)}")
    return {name: _dataset(name, rows) for name, rows in by_exchange.items()}


def _unusable(path: Path, seen: str) -> LabError:
    return LabError(
        f"real trades in {path} (CSV, columns {','.join(COLUMNS)}, exchanges {', '.join(EXCHANGES)})",
        seen,
        "give the project's lab/data/real_trades.csv with --data",
    )


def _row(path: Path, line: int, fields: Mapping[str, str]) -> _Row:
    if not SYMBOL.fullmatch(fields["symbol"]):
        raise _unusable(path, f"symbol {fields['symbol']!r} in line {line}")
    for column in ("price", "size"):
        if not DECIMAL.fullmatch(fields[column]):
            raise _unusable(path, f"{column} {fields[column]!r} in line {line}")
    if fields["side"] not in {"buy", "sell", ""}:
        raise _unusable(path, f"side {fields['side']!r} in line {line}")
    try:
        trade_id, time_us = int(fields["trade_id"] or 0), int(fields["exchange_time_us"])
    except ValueError as error:
        raise _unusable(path, f"{error} in line {line}") from error
    return _Row(fields["symbol"], trade_id, time_us, fields["side"], fields["price"], fields["size"])


def _dataset(exchange: str, rows: Iterable[_Row]) -> Dataset:
    by_symbol: dict[str, list[_Row]] = {}
    for row in sorted(rows, key=lambda row: (row.time_us, row.trade_id)):
        by_symbol.setdefault(row.symbol, []).append(row)
    positioned: list[tuple[float, str, Template]] = []
    for symbol, own in by_symbol.items():
        for index, (row, side) in enumerate(zip(own, _sides(own), strict=True)):
            template = Template(symbol, side, _padded(exchange, row.price), _padded(exchange, row.size))
            # The recordings of the symbols are years apart: each is spread evenly over the cycle, so that every symbol
            # trades all the time, and keeps its own order.
            positioned.append(((index + 0.5) / len(own), symbol, template))
    positioned.sort(key=lambda item: item[:2])
    return Dataset(
        exchange,
        tuple(template for _, _, template in positioned),
        {symbol: max(row.trade_id for row in own) for symbol, own in by_symbol.items()},
    )


def _sides(rows: list[_Row]) -> list[str]:
    """Sides of one symbol's trades in time order; a missing one follows the tick rule.

    Most of the Kraken recording has no side, but its messages always carry one. The tick rule (Lee and Ready 1991):
    a price above the last different one was a buy, below it a sell.
    """
    sides: list[str] = []
    last_price: Decimal | None = None
    tick = "buy"
    for row in rows:
        price = Decimal(row.price)
        if last_price is not None and price != last_price:
            tick = "buy" if price > last_price else "sell"
        last_price = price
        sides.append(row.side or tick)
    return sides


def _padded(exchange: str, number: str) -> str:
    if exchange != "binance":
        return number
    whole, _, fraction = number.partition(".")
    return f"{whole}.{fraction.ljust(_BINANCE_DECIMALS, '0')}"
