# SPDX-License-Identifier: Apache-2.0
"""One adapter per exchange; `create` picks it by name."""

from __future__ import annotations

from collections.abc import Sequence

from yarl import URL

from k2lab.feed_handler.adapters.base import Adapter
from k2lab.feed_handler.adapters.binance import BinanceAdapter
from k2lab.feed_handler.adapters.coinbase import CoinbaseAdapter
from k2lab.feed_handler.adapters.kraken import KrakenAdapter

EXCHANGES = ("binance", "kraken", "coinbase")


def create(exchange: str, url: URL, symbols: Sequence[str]) -> Adapter:
    """The adapter of `exchange` (one of EXCHANGES) for a connection to `url`."""
    if exchange == "binance":
        return BinanceAdapter(symbols, microseconds=url.query.get("timeUnit", "").upper() == "MICROSECOND")
    if exchange == "kraken":
        return KrakenAdapter(symbols)
    if exchange == "coinbase":
        return CoinbaseAdapter(symbols)
    raise ValueError(f"exchange: expected one of {', '.join(EXCHANGES)}, got {exchange!r}")
