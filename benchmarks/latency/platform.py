# SPDX-License-Identifier: Apache-2.0
"""A ClickHouse of the benchmark's own, in which views make six candle tables of millions of trades."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from k2lab.clickhouse_http import ClickHouse, ClickHouseError

ROOT = Path(__file__).resolve().parents[2]
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 30.0
CANDLES = {"1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "1d": 86400}
EXCHANGES = ("binance", "coinbase", "kraken")
SYMBOLS = 34


@contextmanager
def server(directory: Path) -> Iterator[int]:
    """A server in ``directory``; its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    user = {"name": "default", "password_sha256": hashlib.sha256(b"").hexdigest(), "readonly": 0}
    (directory / "users.json").write_text(json.dumps([user]))
    process = subprocess.Popen(
        [sys.executable, "-m", "k2lab.clickhouse_front", "--port", str(port), "--data-dir", str(directory / "data"),
         "--users", str(directory / "users.json")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "lab")},
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _await(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(STOP_DEADLINE_S)


def client(port: int) -> ClickHouse:
    """A connection to the server."""
    return ClickHouse(f"http://127.0.0.1:{port}", "default", "", 120.0)


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while True:
        try:
            with client(port) as asking:
                asking.execute("SELECT 1")
            return
        except ClickHouseError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def create(clickhouse: ClickHouse) -> None:
    """The tables and views."""
    clickhouse.execute("CREATE DATABASE bench")
    clickhouse.execute(
        "CREATE TABLE bench.silver (exchange LowCardinality(String), symbol LowCardinality(String), trade_id UInt64, "
        "price Decimal(38, 8), quantity Decimal(38, 8), timestamp DateTime64(6, 'UTC'), "
        "processed_at DateTime64(6, 'UTC'), is_valid Bool) ENGINE = MergeTree PARTITION BY toDate(processed_at) "
        "ORDER BY (exchange, symbol, timestamp)"
    )
    for name, seconds in CANDLES.items():
        clickhouse.execute(
            f"CREATE TABLE bench.candles_{name} (exchange LowCardinality(String), symbol LowCardinality(String), "
            "window_start DateTime('UTC'), volume Decimal(38, 8), trades UInt64) "
            "ENGINE = SummingMergeTree ORDER BY (exchange, symbol, window_start)"
        )
        clickhouse.execute(
            f"CREATE MATERIALIZED VIEW bench.candles_{name}_view TO bench.candles_{name} AS SELECT exchange, symbol, "
            f"toStartOfInterval(timestamp, INTERVAL {seconds} SECOND, 'UTC') AS window_start, "
            "sum(quantity) AS volume, count() AS trades FROM bench.silver WHERE is_valid "
            "GROUP BY exchange, symbol, window_start"
        )


def fill(clickhouse: ClickHouse, rows: int, blocks: int, progress: Callable[[int], None]) -> None:
    """Insert ``rows`` trades in ``blocks`` inserts; each trade is up to 0.1 s old when its block is written."""
    size = rows // blocks
    exchanges = ", ".join(f"'{name}'" for name in EXCHANGES)
    for number in range(blocks):
        clickhouse.execute(
            "INSERT INTO bench.silver (exchange, symbol, trade_id, price, quantity, timestamp, processed_at, is_valid) "
            f"SELECT [{exchanges}][1 + number % 3], concat('S', toString(intDiv(number, 3) % {SYMBOLS})), "
            f"number + {number * size}, 1 + number / 7, 0.5, "
            f"now64(6) - toIntervalMicrosecond(rand() % 100000), now64(6), number % 1000 != 0 FROM numbers({size})",
            settings={"async_insert": 0, "max_block_size": size, "min_insert_block_size_rows": size},
        )
        progress(number + 1)


def profile(port: int) -> Profile:
    """The platform as the tool sees it."""
    candle = {
        "store": "clickhouse", "source": "silver", "exchange_column": "exchange",
        "key_columns": ["exchange", "symbol", "window_start"],
        "columns": {"window": "window_start", "trade_count": "trades"},
    }  # fmt: skip
    silver = {
        "name": "silver", "store": "clickhouse", "table": "silver", "exchange_column": "exchange",
        "key_columns": ["exchange", "symbol", "trade_id"], "valid_column": "is_valid",
        "time_columns": {"exchange": {"column": "timestamp"}, "committed": {"column": "processed_at"}},
    }  # fmt: skip
    tiers = [{"name": f"candle_{name}", "table": f"candles_{name}", "timeframe": name, **candle} for name in CANDLES]
    return parse_profile(
        {
            "k2_platform": {
                "name": "bench", "scale": "lab", "runtime": "docker",
                "clock": {"host": "localhost", "exchanges_share_it": True},
            },
            "k2_services": {name: {"kind": "feed-handler", "exchange": name} for name in EXCHANGES},
            "k2_clickhouse": {
                "host": "127.0.0.1", "port": port, "username": "default", "password": "", "database": "bench",
            },
            "k2_tiers": [silver, *tiers],
            "k2_load": {"segments": [{"name": "whole", "from": "silver", "to": "candles", "target_ms": 100}]},
        }
    )  # fmt: skip
