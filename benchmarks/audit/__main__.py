# SPDX-License-Identifier: Apache-2.0
"""Audit ten million rows: ``PYTHONPATH=lab:collections:tests/tools:. python -m benchmarks.audit``.

ClickHouse is a server of the benchmark's own, filled by INSERT SELECT; what the broker holds is known beforehand, and
handed over in batches as a broker would; how fast a broker is read is measured on one of a million records. Beside it
in the same run: counting the rows of each tier, which finds nothing when as many are lost as doubled.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import confluent_kafka
import psutil
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from own_kafka import kafka

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.audit import Options, audit
from ansible_collections.k2.hardening.plugins.module_utils.platform.broker import (
    Batch,
    BrokerReader,
    Extent,
    Partition,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.clickhouse import ClickHouseClient
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from k2lab.clickhouse_http import ClickHouse

TOPIC = "bench"
PARTITIONS = 4
BATCH = 10_000
BEGIN_S = 1_790_000_000
LOST, DOUBLED = 5, 5
PLACE = "'bench' AS topic, number % {p} AS part, intDiv(number, {p}) AS pos"
VALUES = (
    "concat('S', toString(number % 50)) AS symbol, toDecimal128(100 + number % 997 / 100, 8) AS price, "
    "toDecimal128(1 + number % 89 / 10, 8) AS size, "
    "toDateTime64({b} + number / 10000, 6, 'UTC') AS at, number AS sequence"
)
OFFSETS = "topic LowCardinality(String), part UInt32, pos UInt64"
TYPED = (
    f"{OFFSETS}, symbol LowCardinality(String), price Decimal(38, 8), size Decimal(38, 8), at DateTime64(6, 'UTC'), "
)
TABLES = {
    "raw": (f"{OFFSETS}, payload String", "topic, part, pos"),
    "bronze": (f"{TYPED} sequence UInt64", "symbol, pos"),
    "silver": (f"{TYPED} sequence UInt64", "symbol, at, pos"),
}
CANDLES = {"1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "1d": 86400}


class KnownBroker:
    """A broker of which everything is known: every offset of every partition exists."""

    def __init__(self, records: int) -> None:
        self._each = records // PARTITIONS

    def partitions(self, topics: tuple[str, ...]) -> tuple[Partition, ...]:
        return tuple(Partition(topic, number) for topic in topics for number in range(PARTITIONS))

    def extents(self, partitions: tuple[Partition, ...]) -> dict[Partition, Extent]:
        return {partition: Extent(0, self._each) for partition in partitions}

    def committed(self, _group: str, partitions: tuple[Partition, ...]) -> dict[Partition, int | None]:
        return dict.fromkeys(partitions, self._each)

    def is_compacted(self, _topic: str) -> bool:
        return False

    def read(self, _partition: Partition, extent: Extent, _deadline: Deadline) -> Iterator[Batch]:
        for start in range(extent.low, extent.high, BATCH):
            yield Batch(list(range(start, min(start + BATCH, extent.high))), BEGIN_S * 1000, BEGIN_S * 1000)


@contextmanager
def clickhouse(directory: Path, port: int) -> Iterator[tuple[ClickHouse, dict[str, Any], int]]:
    """A server, a client that may write, the profile's section for reading, and the server's pid."""
    password = secrets.token_hex(8)
    digest = hashlib.sha256(password.encode()).hexdigest()
    users = [{"name": name, "password_sha256": digest, "readonly": kind} for name, kind in (("w", 0), ("r", 2))]
    (directory / "users.json").write_text(json.dumps(users))
    command = [
        sys.executable, "-m", "k2lab.clickhouse_front", "--port", str(port), "--data-dir", str(directory / "data"),
        "--users", str(directory / "users.json"),
    ]  # fmt: skip
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": "lab"})
    client = ClickHouse(f"http://127.0.0.1:{port}", "w", password, 300.0)
    section = {
        "host": "127.0.0.1",
        "port": port,
        "username": "r",
        "password": password,
        "database": "bench",
        "timeout_s": 60,
    }
    deadline = Deadline.after(60)
    try:
        while True:
            try:
                client.execute("CREATE DATABASE bench")
                break
            except Exception:
                client.close()
                if deadline.passed or server.poll() is not None:
                    raise
                time.sleep(0.1)
        yield client, section, server.pid
    finally:
        client.close()
        server.terminate()
        server.wait(30)


def fill(client: ClickHouse, records: int) -> None:
    """Raw and bronze whole; silver with a few rows lost, and as many doubled; candles of all trades."""
    place, values = PLACE.format(p=PARTITIONS), VALUES.format(b=BEGIN_S)
    for table, (columns, order) in TABLES.items():
        client.execute(f"CREATE TABLE bench.{table} ({columns}) ENGINE = MergeTree ORDER BY ({order})")
    client.execute(f"INSERT INTO bench.raw SELECT {place}, 'as it came' FROM numbers({records})")
    client.execute(f"INSERT INTO bench.bronze SELECT {place}, {values} FROM numbers({records})")
    client.execute(f"INSERT INTO bench.silver SELECT * FROM bench.bronze WHERE sequence >= {LOST}")
    client.execute(f"INSERT INTO bench.silver SELECT * FROM bench.bronze WHERE sequence >= {records - DOUBLED}")
    for span, seconds in CANDLES.items():
        client.execute(
            f"CREATE TABLE bench.candle_{span} (symbol String, window DateTime('UTC'), o Decimal(38, 8), "
            "h Decimal(38, 8), l Decimal(38, 8), c Decimal(38, 8), v Decimal(38, 8), n UInt64) "
            "ENGINE = MergeTree ORDER BY (symbol, window)"
        )
        client.execute(
            f"INSERT INTO bench.candle_{span} SELECT symbol, toStartOfInterval(at, INTERVAL {seconds} SECOND, 'UTC') "
            "AS window, argMin(price, (at, sequence)), max(price), min(price), argMax(price, (at, sequence)), "
            f"sum(size), count() FROM bench.bronze WHERE sequence >= {LOST} GROUP BY symbol, window"
        )


def profile(section: dict[str, Any]) -> dict[str, Any]:
    """The platform of the benchmark."""
    offsets = ["topic", "part", "pos"]
    typed = {
        "offset_columns": offsets,
        "sequence_columns": ["symbol", "sequence"],
        "price_column": "price",
        "size_column": "size",
        "time_columns": {"exchange": {"column": "at"}},
    }
    candle = {
        "window": "window", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "trade_count": "n",
    }  # fmt: skip
    return {
        "k2_platform": {"name": "bench", "scale": "lab", "runtime": "docker"},
        "k2_services": {"writer": {"kind": "processor"}},
        "k2_broker": {
            "bootstrap": "127.0.0.1:1",
            "topics": {"bench": {"raw": TOPIC, "partitions": PARTITIONS}},
            "groups": [{"name": "writer", "service": "writer", "topics": [TOPIC]}],
        },
        "k2_clickhouse": section,
        "k2_tiers": [
            {"name": "raw", "store": "clickhouse", "table": "raw", "offset_columns": offsets},
            {"name": "bronze", "store": "clickhouse", "table": "bronze", "source": "raw", **typed},
            {"name": "silver", "store": "clickhouse", "table": "silver", "source": "bronze", **typed},
            *(
                {
                    "name": f"candle_{span}", "store": "clickhouse", "table": f"candle_{span}", "source": "silver",
                    "key_columns": ["symbol", "window"], "timeframe": span, "columns": candle,
                }
                for span in CANDLES
            ),
        ],
    }  # fmt: skip


class Peak:
    """The greatest resident memory of a process while this is open, in bytes."""

    def __init__(self, pid: int) -> None:
        self._process, self._stop, self.before, self.bytes = psutil.Process(pid), threading.Event(), 0, 0

    def __enter__(self) -> Peak:
        self.before = self.bytes = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.bytes = max(self.bytes, self._process.memory_info().rss)


def naive(client: ClickHouse) -> dict[str, Any]:
    """Count each tier."""
    began = time.monotonic()
    counts = {
        table: int(client.execute(f"SELECT count() FROM bench.{table} WHERE NOT ignore(pos)")) for table in TABLES
    }
    return {"elapsed_s": round(time.monotonic() - began, 3), "counts": counts, "finds": len(set(counts.values())) > 1}


def read_rate(bootstrap: str, records: int) -> dict[str, Any]:
    """How fast a real broker is read."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(30)
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 50, "queue.buffering.max.messages": 200_000}
    )
    for number in range(records):
        while True:
            try:
                producer.produce(TOPIC, b"x" * 120, partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0
    reader = BrokerReader(bootstrap)
    began, seen = time.monotonic(), 0
    for partition, extent in reader.extents(reader.partitions([TOPIC])).items():
        seen += sum(len(batch.offsets) for batch in reader.read(partition, extent, Deadline.after(120)))
    elapsed = time.monotonic() - began
    assert seen == records
    return {"records": records, "elapsed_s": round(elapsed, 3), "records_per_s": round(records / elapsed)}


def main() -> int:
    """Run it, print it, write it."""
    parser = argparse.ArgumentParser(prog="benchmarks.audit", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="records of the range (default %(default)s)")
    parser.add_argument("--bootstrap", help="a broker in which a topic may be made, to measure how fast it is read")
    parser.add_argument(
        "--broker-rows", type=int, default=1_000_000, help="records of that topic (default %(default)s)"
    )
    parser.add_argument("--port", type=int, default=25990, help="of the benchmark's ClickHouse (default %(default)s)")
    parser.add_argument("--output-dir", type=Path, default=Path("artifacts/bench"), help="(default %(default)s)")
    options = parser.parse_args()
    document: dict[str, Any] = {"rows": options.rows, "partitions": PARTITIONS, "candle_tables": len(CANDLES)}
    with tempfile.TemporaryDirectory() as name, clickhouse(Path(name), options.port) as (client, section, pid):
        began = time.monotonic()
        fill(client, options.rows)
        document["fill_s"] = round(time.monotonic() - began, 1)
        document["naive"] = naive(client)
        parsed = parse_profile(profile(section))
        assert parsed.clickhouse is not None
        limits = Options(max_records=options.rows)
        memory_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        began = time.monotonic()
        with Peak(pid) as peak:
            found = audit(parsed, KnownBroker(options.rows), ClickHouseClient(parsed.clickhouse), limits, None)
        document["audit"] = {
            "elapsed_s": round(time.monotonic() - began, 2),
            "verdict": str(found.verdict),
            "reason": found.reason,
            "cost": asdict(found.cost),
            "tool_memory_growth_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - memory_before,
            "clickhouse_peak_bytes": peak.bytes,
            "clickhouse_growth_bytes": peak.bytes - peak.before,
            "silver": asdict(next(tier for tier in found.tiers if tier.tier == "silver")),
            "values": asdict(found.values) if found.values else None,
            "candles": [asdict(candle) for candle in found.candles],
        }
        silver = document["audit"]["silver"]
        document["finds_lost_and_doubled"] = (silver["missing"], silver["duplicated"]) == (LOST, DOUBLED)
    with tempfile.TemporaryDirectory() as name, kafka(Path(name)) as broker:
        document["broker"] = read_rate(broker.bootstrap, options.broker_rows)
    path = options.output_dir / f"audit-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, default=str) + "\n")
    print(json.dumps(document, indent=1, default=str))
    print(f"written to {path}")
    return 0 if document["finds_lost_and_doubled"] else 1


if __name__ == "__main__":
    sys.exit(main())
