# SPDX-License-Identifier: Apache-2.0
"""A platform unlike the lab in every name: bets in a real broker and a real ClickHouse, with faults put in by hand."""

from __future__ import annotations

import hashlib
import json
import random
import secrets
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import confluent_kafka
from confluent_kafka.admin import AdminClient  # type: ignore[attr-defined]

from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.audit import Options, audit
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.result import Audit
from ansible_collections.k2.hardening.plugins.module_utils.platform.broker import BrokerReader
from ansible_collections.k2.hardening.plugins.module_utils.platform.clickhouse import ClickHouseClient
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from k2lab.clickhouse_http import ClickHouse
from k2lab.topics import ensure_topics

from .lab import ROOT
from .stores import PASSWORD, USER, Service, free_ports, until

HOUSES = {"north": 2, "south": 1}
BEGIN_US = 1_790_000_000_000_000
TABLES = """
CREATE TABLE {db}.landing
  (src String, part UInt16, pos UInt64, body String, landed DateTime64(6, 'UTC') DEFAULT now64(6))
  ENGINE = MergeTree ORDER BY (src, part, pos);
CREATE TABLE {db}.typed
  (house LowCardinality(String), horse String, odds Nullable(Decimal(18, 5)), stake Nullable(Decimal(18, 5)),
  placed DateTime64(6, 'UTC'), ticket UInt64, src String, part UInt16, pos UInt64,
  typed_at DateTime('UTC') DEFAULT now()) ENGINE = MergeTree ORDER BY (house, horse);
CREATE TABLE {db}.clean
  (book LowCardinality(String), horse String, odds Decimal(38, 9), stake Decimal(38, 9),
  placed_at DateTime64(6, 'UTC'), ticket UInt64, good Bool, src String, part UInt16, pos UInt64,
  cleaned DateTime64(6, 'UTC') DEFAULT now64(6)) ENGINE = MergeTree ORDER BY (book, horse, placed_at);
"""
BARS = """
CREATE TABLE {db}.bars_{span} (book LowCardinality(String), horse String, bar DateTime('UTC'), o Decimal(38, 9),
  h {max}, l {min}, c Decimal(38, 9), staked {sum}, bets {count}) ENGINE = {engine} ORDER BY (book, horse, bar)
  {settings}
"""
SPANS = {"1m": 60, "1h": 3600}


@dataclass(frozen=True)
class Bet:
    """One record, as the tables hold it."""

    house: str
    horse: str
    odds: Decimal
    stake: Decimal
    placed_us: int
    ticket: int
    src: str
    part: int
    pos: int
    good: bool = True

    @property
    def id(self) -> str:
        return f"{self.src}/{self.part}/{self.pos}"


def clickhouse_alone(directory: Path) -> tuple[Service, int]:
    """A ClickHouse of a test's own; start and end it."""
    (port,) = free_ports(1)
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    users = [
        {"name": USER, "password_sha256": digest, "readonly": 0, "settings": {}},
        {"name": "auditor", "password_sha256": digest, "readonly": 2, "settings": {}},
    ]
    (directory / "users.json").write_text(json.dumps(users))

    def ready() -> bool:
        try:
            with ClickHouse(f"http://127.0.0.1:{port}", USER, PASSWORD, 2.0) as client:
                return client.execute("SELECT 1") == "1\n"
        except Exception:  # noqa: BLE001 - not yet
            return False

    command = [
        sys.executable, "-m", "k2lab.clickhouse_front", "--host", "127.0.0.1", "--port", str(port),
        "--data-dir", str(directory / "clickhouse"), "--users", str(directory / "users.json"),
    ]  # fmt: skip
    environment = {"PYTHONPATH": str(ROOT / "lab")}
    return Service("clickhouse", command, directory / "clickhouse.log", ready, environment), port


@dataclass
class Racing:
    """Topics, tables and a profile of one test's own."""

    bootstrap: str
    port: int
    name: str = field(default_factory=lambda: f"b{secrets.token_hex(4)}")
    bets: list[Bet] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database = ClickHouse(f"http://127.0.0.1:{self.port}", USER, PASSWORD)
        self.database.execute(f"CREATE DATABASE {self.name}")
        for statement in TABLES.format(db=self.name).split(";"):
            if statement.strip():
                self.database.execute(statement)
        self.make_bars()
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        ensure_topics(admin, {}, {self.topic(house): partitions for house, partitions in HOUSES.items()})
        self._random = random.Random(7)

    def make_bars(self, engine: str = "AggregatingMergeTree") -> None:
        def kind(function: str, plain: str) -> str:
            return f"SimpleAggregateFunction({function}, {plain})" if engine == "AggregatingMergeTree" else plain

        decimal = "Decimal(38, 9)"
        for span in SPANS:
            self.database.execute(f"DROP TABLE IF EXISTS {self.name}.bars_{span}")
            self.database.execute(
                BARS.format(
                    db=self.name, span=span, engine=engine, max=kind("max", decimal), min=kind("min", decimal),
                    sum=kind("sum", decimal), count=kind("sum", "UInt64"),
                    # Open and close of whichever part came first is what some platforms live with.
                    settings="" if engine == "MergeTree" else "SETTINGS allow_dimensions_outside_sorting_key = 1",
                )
            )  # fmt: skip

    def close(self) -> None:
        self.database.execute(f"DROP DATABASE {self.name}")
        self.database.close()

    def topic(self, house: str) -> str:
        return f"{self.name}.bets.{house}"

    # What the platform does

    def produce(self, each: int, producer: confluent_kafka.Producer | None = None) -> list[Bet]:
        """``each`` bets into every partition; they are where the producer's acknowledgements say."""
        producer = producer or confluent_kafka.Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5})
        made: list[Bet] = []

        def delivered(error: Any, message: Any) -> None:
            assert error is None, error
            fields = json.loads(message.value())
            bet = Bet(
                fields["house"], fields["horse"], Decimal(fields["odds"]), Decimal(fields["stake"]), fields["us"],
                fields["ticket"], message.topic(), message.partition(), message.offset(),
            )  # fmt: skip
            made.append(bet)

        for house, partitions in HOUSES.items():
            for number in range(partitions):
                for _ in range(each):
                    producer.produce(
                        self.topic(house), json.dumps(self._bet(house)), partition=number, on_delivery=delivered
                    )
        assert producer.flush(30) == 0
        made.sort(key=lambda bet: (bet.src, bet.part, bet.pos))
        self.bets += made
        return made

    def _bet(self, house: str) -> dict[str, object]:
        ticket = self._random.getrandbits(48)
        return {
            "house": house,
            "horse": self._random.choice(["Arkle", "Ünïcorn", "Red Rum"]),
            "odds": f"{self._random.randrange(1, 10**7) / 10**5:.5f}",
            "stake": f"{self._random.randrange(1, 10**7) / 10**5:.5f}",
            "us": BEGIN_US + self._random.randrange(300) * 1_000_000,
            "ticket": ticket,
        }

    def commit(self) -> None:
        """Commit for the group all that was produced."""
        ends = {(bet.src, bet.part): bet.pos + 1 for bet in self.bets}
        offsets = [confluent_kafka.TopicPartition(topic, part, at) for (topic, part), at in ends.items()]
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.name})

        def committed() -> bool:
            try:
                consumer.commit(offsets=offsets, asynchronous=False)
            except confluent_kafka.KafkaException:  # a broker that is new has no coordinator yet
                return False
            return True

        until(committed, "the group's offsets are committed")
        consumer.close()

    def store(self, tiers: Iterable[str] = ("landing", "typed", "clean"), bets: Sequence[Bet] | None = None) -> None:
        """Write bets to tiers, and nothing else."""
        rows = self.bets if bets is None else bets
        for tier in tiers:
            lines = [json.dumps(self._row(tier, bet)) for bet in rows]
            columns = ", ".join(self._row(tier, rows[0]))
            self.database.execute(
                f"INSERT INTO {self.name}.{tier} ({columns}) FORMAT JSONEachRow", body="\n".join(lines).encode()
            )

    def _row(self, tier: str, bet: Bet) -> dict[str, object]:
        place = {"src": bet.src, "part": bet.part, "pos": bet.pos}
        if tier == "landing":
            return {**place, "body": "as it came"}
        moment = f"{bet.placed_us // 1_000_000}.{bet.placed_us % 1_000_000:06d}"
        values = {"horse": bet.horse, "odds": str(bet.odds), "stake": str(bet.stake), "ticket": bet.ticket}
        if tier == "typed":
            return {**place, **values, "house": bet.house, "placed": moment}
        return {**place, **values, "book": bet.house, "placed_at": moment, "good": bet.good}

    def fill_bars(self, where: str = "good") -> None:
        """Bars from what ``clean`` holds."""
        order = "(placed_at, ticket, pos)"
        for span, seconds in SPANS.items():
            self.database.execute(
                f"INSERT INTO {self.name}.bars_{span} SELECT book, horse, "
                f"toStartOfInterval(placed_at, INTERVAL {seconds} SECOND, 'UTC') AS bar, argMin(odds, {order}), "
                f"max(odds), min(odds), argMax(odds, {order}), sum(stake), count() "
                f"FROM {self.name}.clean WHERE {where} GROUP BY book, horse, bar"
            )

    def healthy(self, each: int = 100) -> list[Bet]:
        """Bets everywhere, once."""
        bets = self.produce(each)
        self.store()
        self.fill_bars()
        self.commit()
        return bets

    # Faults

    def remove(self, tier: str, bets: Iterable[Bet]) -> None:
        places = ", ".join(f"('{bet.src}', {bet.part}, {bet.pos})" for bet in bets)
        self.change(f"DELETE FROM {self.name}.{tier} WHERE (src, part, pos) IN ({places})")

    def change(self, statement: str) -> None:
        self.database.execute(statement, settings={"mutations_sync": 2, "lightweight_deletes_sync": 2})

    def dearer(self, bet: Bet, by: str) -> None:
        """Another price for one row of ``clean``."""
        self.remove("clean", [bet])
        self.store(["clean"], [replace(bet, odds=bet.odds + Decimal(by))])

    # The audit

    def profile(self, **changes: object) -> dict[str, Any]:
        offsets = ["src", "part", "pos"]
        bars = [
            {
                "name": f"bar_{span}",
                "store": "clickhouse",
                "table": f"bars_{span}",
                "source": "clean",
                "exchange_column": "book",
                "key_columns": ["book", "horse", "bar"],
                "timeframe": span,
                "columns": {
                    "window": "bar", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "staked",
                    "trade_count": "bets",
                },
            }
            for span in SPANS
        ]  # fmt: skip
        tiers = [
            {
                "name": "landing",
                "store": "clickhouse",
                "table": "landing",
                "offset_columns": offsets,
                "time_columns": {"committed": {"column": "landed"}},
            },
            {
                "name": "typed",
                "store": "clickhouse",
                "table": "typed",
                "source": "landing",
                "exchange_column": "house",
                "offset_columns": offsets,
                "sequence_columns": ["house", "horse", "ticket"],
                "price_column": "odds",
                "size_column": "stake",
                "time_columns": {
                    "exchange": {"column": "placed"},
                    "typed": {"column": "typed_at", "resolution": "s"},
                },
                "freshness": {"hop": "typed", "max_age_s": 60},
            },
            {
                "name": "clean",
                "store": "clickhouse",
                "table": "clean",
                "source": "typed",
                "exchange_column": "book",
                "offset_columns": offsets,
                "sequence_columns": ["book", "horse", "ticket"],
                "price_column": "odds",
                "size_column": "stake",
                "valid_column": "good",
                "time_columns": {"exchange": {"column": "placed_at"}, "committed": {"column": "cleaned"}},
            },
            *bars,
        ]
        sections: dict[str, Any] = {
            "k2_platform": {"name": "bets", "scale": "lab", "runtime": "docker"},
            "k2_services": {"cleaner": {"kind": "processor"}},
            "k2_broker": {
                "bootstrap": self.bootstrap,
                "topics": {house: {"raw": self.topic(house), "partitions": n} for house, n in HOUSES.items()},
                "groups": [
                    {"name": self.name, "service": "cleaner", "topics": [self.topic(house) for house in HOUSES]}
                ],
            },
            "k2_clickhouse": {
                "host": "127.0.0.1",
                "port": self.port,
                "username": "auditor",
                "password": PASSWORD,
                "database": self.name,
            },
            "k2_tiers": tiers,
        }
        return {**sections, **changes}

    def audit(self, profile: Mapping[str, Any] | None = None, **options: Any) -> Audit:
        parsed = parse_profile(dict(profile or self.profile()))
        assert parsed.broker is not None
        assert parsed.clickhouse is not None
        reader = BrokerReader(parsed.broker.bootstrap)
        return audit(parsed, reader, ClickHouseClient(parsed.clickhouse), Options(**options), None)
