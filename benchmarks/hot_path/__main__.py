# SPDX-License-Identifier: Apache-2.0
"""Benchmark of a running lab: ``python -m benchmarks.hot_path --lab-dir .lab``; its own simulator makes the load."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.hot_path.latency import COMMIT_SOURCE, Latency, measure
from benchmarks.hot_path.resources import Meter, Usage
from k2lab.common.clock import now_us
from k2lab.common.errors import LabError, run_program
from k2lab.common.logs import configure_logging
from k2lab.common.options import positive
from k2lab.crash_test.target import Target

_WARM_UP_S = 3.0
_DRAIN_S = 60.0
_CLICKHOUSE_TIMEOUT_S = 60.0
# Records a processor that keeps up may have in flight: what comes in while it gathers and inserts, with room.
_LAG_S = 0.5


@dataclass(frozen=True)
class Cell:
    """One rate: latency, use, and the lag (records) half way and at the end of the load."""

    rate: float
    seconds: float
    latency: Latency
    usage: dict[str, Usage]
    lag_half_way: int
    lag_end: int

    @property
    def sustained(self) -> bool:
        """Whether the lag did not grow: at most half a second's records, or no more than half way."""
        return self.lag_end <= max(self.rate * _LAG_S, self.lag_half_way)

    def cpu_cores(self, *, hot_path_only: bool) -> float:
        """CPU of the hot path's services, or of the whole lab's."""
        return round(sum(usage.cpu_cores for usage in self._counted(hot_path_only)), 3)

    def memory_bytes(self, *, hot_path_only: bool) -> int:
        """Memory (PSS) of the hot path's services, or of the whole lab's."""
        return sum(usage.memory_bytes for usage in self._counted(hot_path_only))

    def _counted(self, hot_path_only: bool) -> list[Usage]:
        return [usage for usage in self.usage.values() if usage.on_hot_path or not hot_path_only]


def run_cell(target: Target, rate: float, seconds: float) -> Cell:
    """Load at `rate` for `seconds` after a warm-up, then drain and measure."""
    target.set_rate(rate)
    time.sleep(_WARM_UP_S)  # a measurement's length, as are the two below
    meter, start_us, started = Meter(target), now_us(), time.monotonic()
    time.sleep(seconds / 2)
    lag_half_way = target.lag().unfinished
    time.sleep(max(0.0, started + seconds - time.monotonic()))
    usage, end_us, lag_end = meter.usage(time.monotonic() - started), now_us(), target.lag().unfinished
    target.stop_load()
    target.drain(_DRAIN_S)
    with target.clickhouse(_CLICKHOUSE_TIMEOUT_S) as clickhouse:
        latency = measure(
            clickhouse, target.plan.clickhouse_database, target.lab.truth, target.exchanges, start_us, end_us
        )
    return Cell(rate, seconds, latency, usage, lag_half_way, lag_end)


def main(arguments: list[str] | None = None) -> int:
    """Run all cells, print a table, write the JSON file; 0 unless something could not be measured."""
    parser = argparse.ArgumentParser(prog="benchmarks.hot_path", description=__doc__)
    parser.add_argument("--lab-dir", type=Path, required=True)
    parser.add_argument("--rates", default="50,250,500", help="trades/s, separated by commas (default %(default)s)")
    parser.add_argument("--seconds", type=positive, default=30.0, help="of each rate (default %(default)s)")
    parser.add_argument(
        "--first-seconds",
        type=positive,
        default=180.0,
        help="of the first rate: a few runs of the offload belong to what the lab uses (default %(default)s)",
    )
    parser.add_argument("--step-rates", default="1000,1500,2000", help="for the highest sustained rate")
    parser.add_argument("--step-seconds", type=positive, default=15.0, help="of each of those (default %(default)s)")
    parser.add_argument("--rate-after", type=positive, default=50.0, help="trades/s afterwards (default %(default)s)")
    parser.add_argument("--output-dir", type=Path, default=Path("artifacts/bench"), help="(default %(default)s)")
    options = parser.parse_args(arguments)
    configure_logging("warning")
    target = Target(options.lab_dir)
    cells: list[Cell] = []
    stages = [(float(rate), options.seconds) for rate in options.rates.split(",")]
    stages[0] = (stages[0][0], options.first_seconds)
    stages += [(float(rate), options.step_seconds) for rate in options.step_rates.split(",") if rate]
    try:
        for rate, seconds in stages:
            try:
                cell = run_cell(target, rate, seconds)
            except LabError as error:
                print(f"{rate:g}/s: not measured: {error}")
                break
            cells.append(cell)
            print(describe(cell), flush=True)
            if not cell.sustained:
                break
    finally:
        target.set_rate(options.rate_after)
    sustained = max((cell.rate for cell in cells if cell.sustained), default=0.0)
    print(f"highest rate without growing lag: {sustained:g}/s (highest tried {stages[len(cells) - 1][0]:g}/s)")
    path = options.output_dir / f"hot-path-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "latency": f"scheduled send -> {COMMIT_SOURCE}",
        "cells": [
            asdict(cell)
            | {
                "sustained": cell.sustained,
                "hot_path_cpu_cores": cell.cpu_cores(hot_path_only=True),
                "hot_path_memory_bytes": cell.memory_bytes(hot_path_only=True),
                "lab_cpu_cores": cell.cpu_cores(hot_path_only=False),
                "lab_memory_bytes": cell.memory_bytes(hot_path_only=False),
            }
            for cell in cells
        ],
        "highest_sustained_rate": sustained,
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
    print(f"written to {path}")
    return 0 if len(cells) == len(stages) or not cells[-1:] or not cells[-1].sustained else 1


def describe(cell: Cell) -> str:
    """One rate in one paragraph."""
    head = (
        f"{cell.rate:g}/s: sent -> committed in all six candles p50 {cell.latency.p50_ms:.1f} ms, "
        f"p99 {cell.latency.p99_ms:.1f} ms (n={cell.latency.n}, {cell.latency.batches} batches, "
        f"{cell.latency.missing} missing); lag {cell.lag_half_way} -> {cell.lag_end}; "
        f"hot path {cell.cpu_cores(hot_path_only=True):.2f} cores, "
        f"{cell.memory_bytes(hot_path_only=True) / 2**20:.0f} MiB; "
        f"whole lab {cell.cpu_cores(hot_path_only=False):.2f} cores, "
        f"{cell.memory_bytes(hot_path_only=False) / 2**20:.0f} MiB"
    )
    services = [
        f"    {service}: {usage.cpu_cores:.3f} cores, {usage.memory_bytes / 2**20:.0f} MiB"
        for service, usage in sorted(cell.usage.items())
    ]
    return "\n".join([head, *services])


if __name__ == "__main__":
    run_program(main)
