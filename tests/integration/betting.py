# SPDX-License-Identifier: Apache-2.0
"""A platform of other names than the lab's, on a ClickHouse of the tests' own: stakes become odds."""

from __future__ import annotations

import hashlib
import json
import secrets
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from k2lab.clickhouse_http import ClickHouse

from .lab import ROOT
from .stores import Service, free_ports

SECOND_US = 1_000_000
USERS = {"owner": 0, "strict": 1, "reader": 2}


@dataclass(frozen=True)
class Stake:
    """A record: when it was placed, and when its insert block was written (microseconds since the epoch)."""

    placed_us: int
    written_us: int
    house: str = "ascot"
    horse: str = "Shergar"
    good: bool = True
    ticket: int = 0


@dataclass(frozen=True)
class Part:
    """What the log says of a part: its insert, table, number of rows and when it was committed."""

    insert: str
    table: str
    rows: int
    committed_us: int
    partition: str = "all"


class Bookmaker:
    """A database with records, two candle tables that are written as one likes, and a log of parts to be forged."""

    def __init__(self, port: int, partition_by: str = "tuple()", placed: str = "DateTime64(6, 'UTC')") -> None:
        self.port = port
        self.name = f"bets_{secrets.token_hex(4)}"
        self.client = ClickHouse(f"http://127.0.0.1:{port}", "owner", "")
        self.client.execute(f"CREATE DATABASE {self.name}")
        self.client.execute(
            f"CREATE TABLE {self.name}.stakes (house LowCardinality(String), horse String, ticket UInt64, "
            f"placed {placed}, written DateTime64(6, 'UTC'), valid Bool) "
            f"ENGINE = MergeTree PARTITION BY {partition_by} ORDER BY (house, placed)"
        )
        for table in ("odds_1m", "odds_1h"):
            self.client.execute(
                f"CREATE TABLE {self.name}.{table} (house String, horse String, minute DateTime('UTC'), stakes UInt64) "
                "ENGINE = SummingMergeTree ORDER BY (house, horse, minute)"
            )
        self.log = f"{self.name}.parts"
        self.client.execute(
            f"CREATE TABLE {self.log} (event_type LowCardinality(String), error UInt16, query_id String, "
            "event_date Date, event_time DateTime, event_time_microseconds DateTime64(6), "
            "database String, table String, partition_id String, part_name String, rows UInt64) "
            "ENGINE = MergeTree ORDER BY event_time"
        )

    def close(self) -> None:
        self.client.execute(f"DROP DATABASE {self.name}")
        self.client.close()

    def add(self, stakes: Sequence[Stake]) -> None:
        lines = [
            json.dumps(
                {
                    "house": stake.house,
                    "horse": stake.horse,
                    "ticket": stake.ticket or number,
                    "placed": decimal(stake.placed_us).removesuffix(".000000"),
                    "written": decimal(stake.written_us),
                    "valid": stake.good,
                }
            )
            for number, stake in enumerate(stakes, 1)
        ]
        self.client.execute(f"INSERT INTO {self.name}.stakes FORMAT JSONEachRow", body="\n".join(lines).encode())

    def forge(self, parts: Sequence[Part]) -> None:
        lines = [
            json.dumps(
                {
                    "event_type": "NewPart",
                    "query_id": part.insert,
                    "event_date": part.committed_us // 86_400_000_000,
                    "event_time": part.committed_us // SECOND_US,
                    "event_time_microseconds": decimal(part.committed_us),
                    "database": self.name,
                    "table": part.table,
                    "partition_id": part.partition,
                    "part_name": f"{part.partition}_{number:09}",
                    "rows": part.rows,
                }
            )
            for number, part in enumerate(parts)
        ]
        self.client.execute(f"INSERT INTO {self.log} FORMAT JSONEachRow", body="\n".join(lines).encode())

    def insert(self, name: str, stakes: Sequence[Stake], parts_us: Mapping[str, int]) -> None:
        """Write one block of ``stakes`` and log its insert: the time of each table's part."""
        self.add(stakes)
        self.forge([Part(name, table, len(stakes), at) for table, at in parts_us.items()])

    def profile(self, user: str = "reader", **changed: Any) -> Profile:
        return parse_profile({**self.variables(user), **changed})

    def variables(self, user: str = "reader") -> dict[str, Any]:
        hour = {"window": "minute", "trade_count": "stakes"}
        odds = {"store": "clickhouse", "source": "stakes", "exchange_column": "house", "columns": hour,
                "key_columns": ["house", "horse", "minute"]}  # fmt: skip
        return {
            "k2_platform": {
                "name": "bookmaker", "scale": "lab", "runtime": "docker",
                "clock": {"host": "localhost", "exchanges_share_it": True},
            },
            "k2_services": {
                "till": {"kind": "feed-handler", "exchange": "ascot"},
                "phone": {"kind": "feed-handler", "exchange": "epsom"},
            },
            "k2_clickhouse": {
                "host": "127.0.0.1", "port": self.port, "username": user, "password": "", "database": self.name,
            },
            "k2_tiers": [
                {"name": "stakes", "store": "clickhouse", "table": "stakes", "exchange_column": "house",
                 "key_columns": ["house", "ticket"], "valid_column": "valid",
                 "time_columns": {"exchange": {"column": "placed"}, "committed": {"column": "written"}}},
                {"name": "odds_1m", "table": "odds_1m", "timeframe": "1m", **odds},
                {"name": "odds_1h", "table": "odds_1h", "timeframe": "1h", **odds},
            ],
            "k2_load": {"segments": [{"name": "to_odds", "from": "stakes", "to": "candles", "target_ms": 200}]},
        }  # fmt: skip


def decimal(us: int) -> str:
    """Microseconds as seconds with six decimals."""
    sign = "-" if us < 0 else ""
    return f"{sign}{abs(us) // SECOND_US}.{abs(us) % SECOND_US:06d}"


@contextmanager
def clickhouse(directory: Path) -> Iterator[int]:
    """A ClickHouse server of one's own, with a user of each kind and no passwords; its port."""
    (port,) = free_ports(1)
    digest = hashlib.sha256(b"").hexdigest()
    users = [{"name": name, "password_sha256": digest, "readonly": level} for name, level in USERS.items()]
    (directory / "users.json").write_text(json.dumps(users))

    def ready() -> bool:
        try:
            with ClickHouse(f"http://127.0.0.1:{port}", "owner", "", 2.0) as client:
                return client.execute("SELECT 1") == "1\n"
        except Exception:  # noqa: BLE001 - not yet
            return False

    server = Service(
        "clickhouse",
        [sys.executable, "-m", "k2lab.clickhouse_front", "--host", "127.0.0.1", "--port", str(port),
         "--data-dir", str(directory / "data"), "--users", str(directory / "users.json")],
        directory / "clickhouse.log",
        ready,
        {"PYTHONPATH": str(ROOT / "lab")},
    )  # fmt: skip
    server.start()
    try:
        yield port
    finally:
        server.end(signal.SIGTERM)
