# SPDX-License-Identifier: Apache-2.0
"""ClickHouse, MinIO and PostgreSQL of the tests' own, without broker or scheduler: what the offload moves between."""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import clickhouse_connect
import psycopg
import pyarrow as pa
import pytest
from ports import is_free, own_part
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table as IcebergTable

from k2lab.clickhouse_http import ClickHouse
from k2lab.offload.config import (
    ClickHouseAccess,
    ObjectStore,
    OffloadConfig,
    Orchestrator,
    PostgresAccess,
    Variant,
)
from k2lab.postgres.cluster import Cluster
from k2lab.postgres.databases import Access, ensure_databases
from k2lab.provision.paths import Paths
from k2lab.provision.tools import find_tool
from k2lab.schema import CANDLE_TABLES, CandleEngine
from k2lab.schema.apply import apply_schema

from .lab import ROOT

DEADLINE_S = 90.0
PARTITIONS = {"binance": 4, "kraken": 2, "coinbase": 2}
TRADE_TABLES = ("bronze_trades_binance", "bronze_trades_kraken", "bronze_trades_coinbase", "silver_trades")
ALL_TABLES = (*TRADE_TABLES, *CANDLE_TABLES)
USER, PASSWORD = "k2lab", "a-secret-of-tests"

Row = tuple[object, ...]


def until(condition: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on; away from those labs take."""
    mine = own_part(range(25000, 25200))
    found = [port for port in random.sample(mine, len(mine)) if is_free(port)][:count]
    assert len(found) == count, "no free ports from 25000 to 25199"
    return found


@dataclass
class Service:
    """A server process: started, stopped, killed, frozen."""

    name: str
    command: Sequence[str]
    log: Path
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert self._runs(), self.log.read_text()[-2000:]

    def _runs(self) -> bool:
        """Start it; False when it ends before it is ready."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(self.command, stdout=log, stderr=log, env={**os.environ, **self.environment})
        self.process = process
        until(lambda: process.poll() is not None or self.ready(), f"{self.name} is ready, see {self.log}")
        return process.poll() is None

    def end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(DEADLINE_S)
            self.process = None

    @contextmanager
    def down(self) -> Iterator[None]:
        self.end(signal.SIGKILL)
        try:
            yield
        finally:
            # Processes that the killed one had started may hold its memory for a moment: as its supervisor would.
            until(self._runs, f"{self.name} comes back, see {self.log}")


class Stores:
    """The three servers, shared by a session's tests; each test has its own databases and bucket in them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        clickhouse_port, self.minio_port, self.postgres_port = free_ports(3)
        self.clickhouse_url = f"http://127.0.0.1:{clickhouse_port}"
        self.minio_url = f"http://127.0.0.1:{self.minio_port}"
        (directory / "password").write_text(PASSWORD)
        digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
        user = {"name": USER, "password_sha256": digest, "readonly": 0, "settings": {}}
        (directory / "users.json").write_text(json.dumps([user]))
        self.clickhouse = Service(
            "clickhouse",
            [sys.executable, "-m", "k2lab.clickhouse_front", "--host", "127.0.0.1", "--port", str(clickhouse_port),
             "--data-dir", str(directory / "clickhouse"), "--users", str(directory / "users.json")],
            directory / "clickhouse.log",
            self._clickhouse_ready,
            {"PYTHONPATH": str(ROOT / "lab")},
        )  # fmt: skip
        self.minio = minio(directory / "minio", self.minio_port, directory / "minio.log")
        cluster = Cluster(tool("postgres"), directory / "postgres")
        cluster.root.mkdir()
        cluster.ensure(directory / "password")
        configuration = directory / "postgresql.conf"
        configuration.write_text(
            f"listen_addresses = '127.0.0.1'\nport = {self.postgres_port}\nunix_socket_directories = ''\n"
            f"hba_file = '{cluster.directory}/pg_hba.conf'\nident_file = '{cluster.directory}/pg_ident.conf'\n"
            "max_connections = 30\nfsync = off\n"
        )
        configuration.chmod(0o644)
        self.postgres = Service(
            "postgres", cluster.serve_command(configuration), directory / "postgres.log", self._postgres_ready
        )
        self.services = (self.clickhouse, self.minio, self.postgres)

    def client(self, timeout_s: float = 30.0) -> ClickHouse:
        return ClickHouse(self.clickhouse_url, USER, PASSWORD, timeout_s)

    def connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1", port=self.postgres_port, dbname=database, user="k2", password=PASSWORD, connect_timeout=5
        )

    def _clickhouse_ready(self) -> bool:
        try:
            with self.client(2.0) as client:
                return client.execute("SELECT 1") == "1\n"
        except Exception:  # noqa: BLE001 - not yet
            return False

    def _postgres_ready(self) -> bool:
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True


def tool(name: str) -> Path:
    found = find_tool(Paths.discover(), name)
    if found.path is None:
        pytest.skip(f"{name} is not available: {found.reason}")
    return found.path


def minio(data: Path, port: int, log: Path) -> Service:
    """A MinIO server over a directory."""

    def ready() -> bool:
        with subprocess.Popen(
            ["curl", "-fso", "/dev/null", "-m", "2", f"http://127.0.0.1:{port}/minio/health/ready"]
        ) as curl:
            return curl.wait() == 0

    environment = {"MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": PASSWORD, "MINIO_BROWSER": "off", "HOME": str(data)}
    data.mkdir(exist_ok=True)
    return Service(
        "minio", [str(tool("minio")), "server", "--address", f"127.0.0.1:{port}", str(data)], log, ready, environment
    )


@dataclass(frozen=True)
class Outcome:
    """How a command of the offload ended."""

    code: int
    output: str


class World:
    """One test's hot tier, cold tier and catalog, with the program that moves between them."""

    def __init__(self, stores: Stores, directory: Path) -> None:
        self.stores = stores
        self.directory = directory
        name = f"t{secrets.token_hex(4)}"
        ensure_databases(Access(stores.postgres_port, PASSWORD), [name], PASSWORD, DEADLINE_S)
        self.hot = stores.client()
        apply_schema(self.hot, name, CandleEngine.AGGREGATING)
        self.config = OffloadConfig(
            clickhouse=ClickHouseAccess(stores.clickhouse_url, USER, PASSWORD, name),
            postgres=PostgresAccess("127.0.0.1", stores.postgres_port, name, "k2", PASSWORD),
            object_store=ObjectStore(stores.minio_url, name, USER, PASSWORD),
            orchestrator=Orchestrator("http://127.0.0.1:1/api", "iceberg-offload", 60),
            lab_id=name,
            variant=Variant.EXACTLY_ONCE,
            namespace="k2",
        )
        self.name = name
        self._random = random.Random(name)
        self._next: dict[tuple[str, int], int] = {}

    def close(self) -> None:
        self.hot.close()  # a test may have restarted the server
        self.hot.execute(f"DROP DATABASE {self.name}")
        self.hot.close()

    # The program

    def write_config(self, config: OffloadConfig) -> Path:
        path = self.directory / f"offload-{secrets.token_hex(3)}.json"
        sections = ("clickhouse", "postgres", "object_store", "orchestrator")
        document = {section: vars(getattr(config, section)) for section in sections}
        document |= {"lab_id": config.lab_id, "variant": config.variant.value, "namespace": config.namespace}
        path.write_text(json.dumps(document))
        return path

    def start(self, *arguments: str, config: OffloadConfig | None = None) -> subprocess.Popen[str]:
        path = self.write_config(config or self.config)
        return subprocess.Popen(
            [sys.executable, "-m", "k2lab.offload", arguments[0], "--config", str(path), *arguments[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "lab")},
        )

    def offload(self, *arguments: str, config: OffloadConfig | None = None) -> Outcome:
        """Run one command to its end."""
        process = self.start(*arguments, config=config)
        output, _ = process.communicate(timeout=DEADLINE_S)
        return Outcome(process.returncode, output)

    def succeed(self, *arguments: str, config: OffloadConfig | None = None) -> str:
        done = self.offload(*arguments, config=config)
        assert done.code == 0, done.output
        return done.output

    def fail(self, *arguments: str, config: OffloadConfig | None = None) -> str:
        """Run a command that must end with one readable error."""
        done = self.offload(*arguments, config=config)
        assert done.code == 1, done.output
        assert "Traceback" not in done.output
        assert "what to do:" in done.output
        return done.output

    # The hot tier

    def insert(self, rows: int, *, first_new: Mapping[tuple[str, int], int] | None = None) -> None:
        """Trades as the silver processor writes them: one insert, offsets of each partition without a gap."""
        self._next.update(first_new or {})
        lines = []
        for _ in range(rows):
            exchange = self._random.choice(list(PARTITIONS))
            number = self._random.randrange(PARTITIONS[exchange])
            offset = self._next.get((exchange, number), 0)
            self._next[exchange, number] = offset + 1
            lines.append(json.dumps(self.record(exchange, number, offset)))
        self.insert_records(lines)

    def next_offset(self, exchange: str, number: int) -> int:
        return self._next.get((exchange, number), 0)

    def insert_records(self, lines: Sequence[str]) -> None:
        columns = "topic, kafka_partition, kafka_offset, payload, broker_timestamp, received_at"
        self.hot.execute(
            f"INSERT INTO {self.name}.raw_trades ({columns}) FORMAT JSONEachRow",
            body="\n".join(lines).encode(),
            settings={"async_insert": 0, "deduplicate_blocks_in_dependent_materialized_views": 1},
        )

    def record(self, exchange: str, number: int, offset: int) -> dict[str, object]:
        now_us = time.time_ns() // 1000
        return {
            "topic": f"market.crypto.trades.{exchange}.raw",
            "kafka_partition": number,
            "kafka_offset": offset,
            "payload": json.dumps(self._payload(exchange, offset, now_us - self._random.randrange(5_000_000))),
            "broker_timestamp": now_us // 1000 / 1000,
            "received_at": None if offset % 7 == 0 else now_us / 1e6,
        }

    def _payload(self, exchange: str, offset: int, time_us: int) -> dict[str, object]:
        price, quantity = f"{self._random.random() * 1e5:.8f}", f"{self._random.random():.8f}"
        if offset % 11 == 0:
            price = self._random.choice(["unreadable", "999999999999999.99999999", "0.00000001", "-1", "0"])
        coin = self._random.choice(["BTC", "ETH", "Ünïcode☃"])
        if exchange == "binance":
            number = 2**64 - 1 - offset if offset % 5 == 0 else offset
            return {"s": f"{coin}USDT", "t": number, "p": price, "q": quantity, "T": time_us, "m": offset % 2 == 0}
        if exchange == "kraken":
            seconds = f"{time_us // 1_000_000}.{time_us % 1_000_000:06d}"
            sides = {"side": "b", "order_type": "l"}
            return {"pair": f"{coin}/EUR", "price": price, "volume": quantity, "timestamp": seconds, **sides}
        moment = datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        sides = {"side": "SELL", "sequence_num": offset}
        return {
            "trade_id": str(offset),
            "product_id": f"{coin}-USD",
            "price": price,
            "size": quantity,
            "time": moment,
            **sides,
        }

    def hot_rows(self, table: str) -> Counter[Row]:
        """What ClickHouse shows, by a client that shares no code with the offload."""
        port = int(self.stores.clickhouse_url.rpartition(":")[2])
        client = clickhouse_connect.get_client(host="127.0.0.1", port=port, username=USER, password=PASSWORD)
        try:
            described = client.query(f"DESCRIBE TABLE {self.name}.{table}").result_rows
            names = [str(row[0]) for row in described if str(row[0]) not in {"first_trade", "last_trade"}]
            final = "FINAL" if table in CANDLE_TABLES else ""
            columns = ", ".join(f"`{name}`" for name in names)
            rows = client.query(f"SELECT {columns} FROM {self.name}.{table} {final}").result_rows
        finally:
            client.close()
        order = sorted(range(len(names)), key=names.__getitem__)
        return Counter(tuple(plain(row[index]) for index in order) for row in rows)

    # The cold tier

    def catalog(self) -> SqlCatalog:
        postgres = self.config.postgres
        return SqlCatalog(
            "k2",
            uri=f"postgresql+psycopg://k2:{PASSWORD}@127.0.0.1:{postgres.port}/{postgres.database}",
            warehouse=f"s3://{self.name}",
            **{
                "s3.endpoint": self.stores.minio_url,
                "s3.access-key-id": USER,
                "s3.secret-access-key": PASSWORD,
                "s3.region": "us-east-1",
            },
        )

    def iceberg(self, table: str) -> IcebergTable:
        catalog = self.catalog()
        try:
            return catalog.load_table((self.config.namespace, table))
        finally:
            catalog.close()

    def cold_table(self, table: str) -> pa.Table:
        return self.iceberg(table).scan().to_arrow()

    def cold_rows(self, table: str) -> Counter[Row]:
        data = self.cold_table(table)
        names = sorted(data.column_names)
        return Counter(tuple(plain(row[name]) for name in names) for row in data.select(names).to_pylist())

    def snapshots(self) -> dict[str, int | None]:
        """The current snapshot of each table."""
        current = {table: self.iceberg(table).current_snapshot() for table in ALL_TABLES}
        return {table: None if snapshot is None else snapshot.snapshot_id for table, snapshot in current.items()}

    def snapshots_or_none(self) -> dict[str, int]:
        """The number of snapshots of those tables that are there."""
        catalog = self.catalog()
        try:
            names = [name for _, name in catalog.list_tables(self.config.namespace)]
        finally:
            catalog.close()
        return {name: len(self.iceberg(name).snapshots()) for name in names}

    def assert_same(self, tables: Sequence[str] = ALL_TABLES) -> None:
        """Both tiers hold the same rows, each as often, every value equal."""
        for table in tables:
            hot, cold = self.hot_rows(table), self.cold_rows(table)
            assert hot, f"{table}: nothing to compare"
            assert not hot - cold, f"{table}: {len(hot - cold)} of {hot.total()} rows missing, {next(iter(hot - cold))}"
            assert not cold - hot, f"{table}: {len(cold - hot)} rows too many, {next(iter(cold - hot))}"

    # Postgres

    def ask(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        with self.stores.connect(self.name) as connection:
            return connection.execute(query, parameters).fetchall()  # type: ignore[arg-type]

    def watermarks(self) -> dict[str, tuple[object, ...]]:
        rows = self.ask("SELECT table_name, positions::text, rows_total FROM offload_watermarks")
        return {str(row[0]): row[1:] for row in rows}


def plain(value: object) -> object:
    """A value such that equal ones compare equal whichever client read them."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, dict):
        return tuple(sorted(value.items()))
    if isinstance(value, list | tuple):
        pairs = [tuple(item) if isinstance(item, list | tuple) else item for item in value]
        return tuple(sorted(pairs)) if pairs and isinstance(pairs[0], tuple) else tuple(pairs)
    if isinstance(value, Decimal):
        return value + 0  # the same number of zeros behind the point means nothing
    return value


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """The three servers, up."""
    stores = Stores(tmp_path_factory.mktemp("stores"))
    try:
        for service in stores.services:
            service.start()
        yield stores
    finally:
        for service in stores.services:
            service.end(signal.SIGINT if service.name == "postgres" else signal.SIGTERM)


@pytest.fixture
def world(stores: Stores, tmp_path: Path) -> Iterator[World]:
    """Databases and a bucket of the test's own, ready for the first run."""
    world = World(stores, tmp_path)
    world.succeed("init")
    yield world
    world.close()


def wrong_variant(world: World) -> OffloadConfig:
    """The configuration that is known to double rows when killed."""
    return replace(world.config, variant=Variant.APPEND_THEN_WATERMARK)
