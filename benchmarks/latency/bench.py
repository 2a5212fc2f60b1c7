# SPDX-License-Identifier: Apache-2.0
"""Time, rows and bytes of a measurement by ``k2_latency``, beside the query that one would write first.

The naive query, a quantile of ``processed_at - timestamp``, answers in decimal seconds and ends where a row was
written, before its candles were committed; it is here for its cost.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.measure import Wish, measure
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.model import Latency, Span
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.plan import CommitSource
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.session import Limits
from ansible_collections.k2.hardening.plugins.module_utils.platform.clickhouse import ClickHouseClient
from benchmarks.latency.platform import client, create, fill, profile, server

NAIVE = "SELECT quantile(0.99)(processed_at - timestamp) FROM silver"
LIMITS = Limits(query_timeout_s=120, max_rows_to_read=1_000_000_000)
DRAIN_S = 60.0


@dataclass(frozen=True)
class Cost:
    """What one way of measuring cost: seconds by our clock and the server's, rows and bytes read there."""

    way: str
    queries: int
    wall_s: float
    server_s: float
    rows_read: int
    bytes_read: int
    p99_ms: float


def main(arguments: list[str] | None = None) -> int:
    """Fill, measure, print a table, write the JSON file; 0 when every row was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="trades (default %(default)s)")
    parser.add_argument("--blocks", type=int, default=200, help="inserts they come in (default %(default)s)")
    parser.add_argument("--output-dir", type=Path, default=Path("artifacts/bench"), help="(default %(default)s)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="k2-bench-") as directory, server(Path(directory)) as port:
        began_us, began = time.time_ns() // 1000, time.monotonic()
        with client(port) as clickhouse:
            create(clickhouse)
            fill(clickhouse, options.rows, options.blocks, lambda done: _tell(done, options.blocks))
        filled_s = time.monotonic() - began
        window = Span(began_us - 1_000_000, time.time_ns() // 1000)
        wish = Wish(window, 1000.0, CommitSource.PART_LOG, DRAIN_S, LIMITS, None, cut_warm_up=True)
        started = time.monotonic()
        latency = measure(profile(port), wish, None)
        own = _cost_of(latency, time.monotonic() - started)
        naive = _naive(port)
    n = sum(cell.n + cell.invalid for cell in latency.cells if cell.kind == "exchange")
    lost = sum(cell.unattributed for cell in latency.cells if cell.kind == "exchange")
    print(f"{options.rows} trades in {options.blocks} inserts through six views, {filled_s:.0f} s")
    print(f"measured {n}, without a known commit {lost}, cut as warm-up {latency.rows_in_window - n - lost}")
    print(f"{'':12}{'queries':>8}{'wall s':>9}{'server s':>10}{'rows read':>14}{'MB read':>10}{'p99 ms':>10}")
    for cost in (own, naive):
        print(
            f"{cost.way:12}{cost.queries:8}{cost.wall_s:9.2f}{cost.server_s:10.2f}{cost.rows_read:14,}"
            f"{cost.bytes_read / 1e6:10.1f}{cost.p99_ms:10.3f}"
        )
    path = options.output_dir / f"latency-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"rows": options.rows, "blocks": options.blocks, "measured": n, "unattributed": lost,
                "fill_s": round(filled_s, 1), "ways": [asdict(own), asdict(naive)]}  # fmt: skip
    path.write_text(json.dumps(document, indent=2) + "\n")
    print(f"written to {path}")
    return 0 if latency.rows_in_window == options.rows and not lost else 1


def _cost_of(latency: Latency, wall_s: float) -> Cost:
    worst = max(
        cell.quantiles.high_ms[cell.quantiles.levels.index(0.99)]
        for cell in latency.cells
        if cell.kind == "exchange" and cell.quantiles is not None
    )
    cost = latency.cost
    return Cost("k2_latency", cost.queries, wall_s, cost.elapsed_s, cost.rows_read, cost.bytes_read, worst)


def _naive(port: int) -> Cost:
    section = profile(port).clickhouse
    assert section is not None
    started = time.monotonic()
    answer = ClickHouseClient(section).query(NAIVE, timeout_s=LIMITS.query_timeout_s)
    p99_ms = float(str(answer.scalar())) * 1000
    wall_s = time.monotonic() - started
    return Cost("naive", 1, wall_s, float(answer.elapsed_s), answer.rows_read, answer.bytes_read, p99_ms)


def _tell(done: int, blocks: int) -> None:
    if done % 100 == 0 or done == blocks:
        print(f"\r{done} of {blocks} inserts", end="\n" if done == blocks else "", file=sys.stderr, flush=True)
