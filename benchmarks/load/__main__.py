# SPDX-License-Identifier: Apache-2.0
"""Benchmark of k2_load's sender on a broker of its own: ``python -m benchmarks.load``."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from own_kafka import kafka

from ansible_collections.k2.hardening.plugins.module_utils.measure.load.request import Request, Source
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.run import run_load
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from benchmarks.load.peers import PerfTest, k6_arrivals, producer_perf_test
from k2lab.common.options import positive

LATE_MS = 10.0  # p99 of the lateness of a sender that keeps its schedule
TOPIC = "bench.raw"
PARTITIONS = 4
PRICE, SIZE = "0.00141342", "23.00000000"
VALUE = (
    '{"e":"trade","E":$time_us,"s":"$symbol","t":$id,"p":"$price","q":"$size","T":$time_us,'
    '"m":$buyer_is_maker,"M":true}'
)
RECORD_BYTES = 145  # of that template, filled


@dataclass(frozen=True)
class Cell:
    """One rate: what k2_load did, and ProducerPerformance at the same rate. Latencies in milliseconds."""

    rate: float
    scheduled: int
    unsent: int
    errors: int
    lateness_p50_ms: float
    lateness_p99_ms: float
    lateness_max_ms: float
    ack_p50_ms: float
    ack_p99_ms: float
    cpu_cores: float
    interrupted: str | None
    perf_test: PerfTest

    @property
    def steady(self) -> bool:
        """Whether all was sent and acknowledged, in time."""
        return not self.unsent and not self.errors and self.lateness_p99_ms < LATE_MS


def profile(bootstrap: str) -> Profile:
    return parse_profile(
        {
            "k2_platform": {"name": "bench", "scale": "lab", "runtime": "docker"},
            "k2_services": {"kafka": {"kind": "broker"}},
            "k2_broker": {"bootstrap": bootstrap, "topics": {"one": {"raw": TOPIC}}},
            "k2_load": {
                "rates": {"bench": 1},
                "records": {"one": {"symbol": "K2LOADETH", "value": VALUE, "headers": {"received_at_us": "$time_us"}}},
            },
        }
    )


def measure(bootstrap: str, rate: float, seconds: float, directory: Path) -> Cell:
    trades = directory / "trades.csv"
    trades.write_text(
        f"exchange,symbol,trade_id,exchange_time_us,side,price,size\none,X,1,1,sell,{PRICE},{SIZE}\n", encoding="utf-8"
    )
    request = Request("bench", seconds, Source.FILE, rate=rate, data_file=trades)
    load = run_load(profile(bootstrap), request, directory, None, threading.Event())
    lateness, ack = load.lateness, load.ack
    assert ack is not None, "a broker acknowledges"
    peer = producer_perf_test(bootstrap, TOPIC, round(rate * seconds), RECORD_BYTES, rate)
    return Cell(
        rate,
        load.scheduled,
        load.unsent,
        sum(load.errors.values()),
        lateness.quantile(0.5) or 0.0,
        lateness.quantile(0.99) or 0.0,
        lateness.quantile(1.0) or 0.0,
        ack.quantile(0.5) or 0.0,
        ack.quantile(0.99) or 0.0,
        load.cpu_cores,
        load.interrupted,
        peer,
    )


def describe(cell: Cell) -> str:
    peer = cell.perf_test
    return (
        f"{cell.rate:>8.0f} {cell.unsent:>7} {cell.lateness_p50_ms:>8.2f} {cell.lateness_p99_ms:>8.2f} "
        f"{cell.lateness_max_ms:>8.1f} {cell.ack_p50_ms:>8.2f} {cell.ack_p99_ms:>8.2f} {cell.cpu_cores:>6.2f} | "
        f"{peer.rate:>9.0f} {peer.ack_p50_ms:>8} {peer.ack_p99_ms:>8}   "
        f"{'steady' if cell.steady else cell.interrupted or 'late'}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table, write the JSON file."""
    parser = argparse.ArgumentParser(prog="benchmarks.load", description=__doc__)
    parser.add_argument("--rates", default="500,2000,5000,10000,15000,20000,30000", help="messages/s (%(default)s)")
    parser.add_argument("--seconds", type=positive, default=5.0, help="of each rate (default %(default)s)")
    parser.add_argument("--k6", default=shutil.which("k6"), help="the program k6 (default: the one on PATH)")
    parser.add_argument("--output-dir", type=Path, default=Path("artifacts/bench"), help="(default %(default)s)")
    options = parser.parse_args(arguments)
    cells: list[Cell] = []
    with tempfile.TemporaryDirectory() as scratch, kafka(Path(scratch)) as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(30)
        producer_perf_test(broker.bootstrap, TOPIC, 20_000, RECORD_BYTES, None)  # the broker compiles what it needs
        print(f"{'k2_load, lateness and ack in ms':^72} | ProducerPerformance")
        print("    rate  unsent late p50 late p99 late max  ack p50  ack p99  cores |      rate  ack p50  ack p99")
        for rate in map(float, options.rates.split(",")):
            cells.append(measure(broker.bootstrap, rate, options.seconds, Path(scratch)))
            print(describe(cells[-1]), flush=True)
            if not cells[-1].steady:
                break
        fastest = producer_perf_test(broker.bootstrap, TOPIC, 200_000, RECORD_BYTES, None)
    steady = max((cell.rate for cell in cells if cell.steady), default=0.0)
    print(f"highest steady rate of k2_load (lateness p99 < {LATE_MS:g} ms, nothing unsent): {steady:g}/s")
    print(f"ProducerPerformance as fast as it goes: {fastest.rate:.0f}/s, ack p99 {fastest.ack_p99_ms} ms")
    k6 = None
    if options.k6:
        k6 = k6_arrivals(options.k6, 500, round(options.seconds))
        print(
            f"k6 at {k6.rate:g} requests/s: {k6.sent} of {k6.scheduled}, "
            f"lateness p50 {k6.lateness_p50_ms:.2f} ms, p99 {k6.lateness_p99_ms:.2f} ms"
        )
    path = options.output_dir / f"load-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "record_bytes": RECORD_BYTES,
        "acks": "all",
        "highest_steady_rate": steady,
        "cells": [asdict(cell) | {"steady": cell.steady} for cell in cells],
        "producer_performance_unthrottled": asdict(fastest),
        "k6": None if k6 is None else asdict(k6),
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
