# SPDX-License-Identifier: Apache-2.0
"""The cold tier of a lab that runs: what its schedule does, and whether it holds what the hot tier shows."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import clickhouse_connect
import psutil
import psycopg
from clickhouse_connect.driver.client import Client
from pyiceberg.catalog.sql import SqlCatalog

from k2lab.common.errors import LabError
from k2lab.control import processes
from k2lab.control.keeper import State
from k2lab.control.lab import Lab as LabPlaces
from k2lab.control.supervisor import Supervisor
from k2lab.offload.config import read_config
from k2lab.offload.names import OFFLOAD_DEPLOYMENT, OFFLOAD_FLOW
from k2lab.offload.prefect_api import ENDED, FlowRun, PrefectApi, RunState

from .lab import CLICKHOUSE_OFFSET, Lab
from .stores import TRADE_TABLES, Row, plain

POSTGRES_OFFSET = 51
FLOW_RUN_PROGRAM = "k2lab.offload.flow_run"
# The schedule's interval, a worker that backed off, and a machine with other things to do.
DEADLINE_S = 150.0


def until(condition: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.1)


@dataclass(frozen=True)
class Mark:
    """A watermark as Postgres shows it: offsets by (topic, partition), empty for candles."""

    as_of_us: int
    offsets: dict[tuple[str, int], int]


class LiveColdTier:
    """Cold part of a lab, seen from outside: the readers' accounts, pyiceberg, and Prefect's API."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.config = read_config(lab.directory / "run" / "offload.json")
        self.prefect = PrefectApi(self.config.orchestrator.url)
        self._places = LabPlaces.at(lab.directory)
        self.supervisor = Supervisor(self._places)

    # Services

    def pid(self, service: str) -> int:
        return self.supervisor.program(service).pid

    def kill(self, service: str) -> None:
        """SIGKILL to the program alone: what it started is the kernel's and supervisord's business."""
        process = psutil.Process(self.pid(service))
        process.kill()
        until(lambda: self.pid(service) != process.pid, f"{service} was killed")

    def restart(self, service: str) -> None:
        self.supervisor.stop([service], timeout_s=60)
        self.supervisor.start(service)

    def running(self, service: str) -> bool:
        return self.supervisor.program(service).state is State.RUNNING

    @contextlib.contextmanager
    def stopped(self, service: str) -> Iterator[None]:
        self.supervisor.stop([service], timeout_s=60)
        try:
            yield
        finally:
            self.supervisor.start(service)

    @contextlib.contextmanager
    def frozen(self, service: str) -> Iterator[None]:
        """Stopped in the middle of whatever it does; its clients wait."""
        process = psutil.Process(self.pid(service))
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def flow_run_processes(self) -> set[int]:
        """Processes of this lab that are at work on a flow run."""
        found = set()
        for process in processes.of_lab(self._places):
            with contextlib.suppress(psutil.NoSuchProcess):
                if FLOW_RUN_PROGRAM in process.cmdline():
                    found.add(process.pid)
        return found

    # Runs

    def deployment(self) -> str:
        found = self.prefect.deployment_id(OFFLOAD_FLOW, OFFLOAD_DEPLOYMENT)
        assert found is not None
        return found

    def start_run(self) -> FlowRun:
        """A run due now; asks until the server takes it."""
        started: list[FlowRun] = []

        def taken() -> bool:
            with contextlib.suppress(LabError):
                started.append(self.prefect.start_run(self.deployment()))
            return bool(started)

        until(taken, "Prefect's server takes a run")
        return started[0]

    def state(self, run: FlowRun) -> RunState | None:
        """None while the server cannot be asked."""
        with contextlib.suppress(LabError):
            return self.prefect.run(run.id).state
        return None

    def ended(self, run: FlowRun) -> FlowRun:
        """The run once it has ended."""
        until(lambda: self.state(run) in ENDED, f"run {run.name} ends")
        return self.prefect.run(run.id)

    def at_work(self) -> FlowRun:
        """A run whose process moves rows: one that is asked for, or the schedule's, which may take over what is due."""
        self.start_run()
        found: list[FlowRun] = []

        def there() -> bool:
            with contextlib.suppress(LabError):
                found[:] = self.prefect.runs(states=[RunState.RUNNING], deployment_id=self.deployment())
            return bool(found) and self.ask("SELECT 1 FROM offload_runs WHERE status = 'running'") != []

        until(there, "a run moves rows")
        return found[0]

    def complete_one(self) -> FlowRun:
        """Have runs made until one completes; a skipped or failed one is not the end of the matter."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            run = self.ended(self.start_run())
            if run.state is RunState.COMPLETED:
                return run
            assert time.monotonic() < deadline, f"no run completes; the last one: {run}"

    def scheduled_after(self, run: FlowRun) -> FlowRun:
        """The first completed run that the schedule made, due after this one."""
        found: list[FlowRun] = []

        def there() -> bool:
            with contextlib.suppress(LabError):
                later = self.prefect.runs(
                    states=[RunState.COMPLETED], deployment_id=run.deployment_id, due_after=run.due
                )
                # The schedule's own runs are due at whole intervals.
                found[:] = [each for each in later if each.due.timestamp() % self.config.orchestrator.interval_s == 0]
            return bool(found)

        until(there, "the schedule goes on")
        return found[-1]

    # Rows

    def ask(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(
            host="127.0.0.1",
            port=self.lab.port(POSTGRES_OFFSET),
            dbname="k2",
            user="readonly",
            password=self.lab.secret("postgres_readonly"),
            connect_timeout=5,
        ) as connection:
            return connection.execute(query.encode()).fetchall()

    def marks(self) -> dict[str, Mark]:
        rows = self.ask("SELECT table_name, positions::text FROM offload_watermarks WHERE positions IS NOT NULL")
        marks = {}
        for name, text in rows:
            document = json.loads(str(text))
            offsets = {
                (topic, int(number)): int(offset)
                for topic, numbers in document.get("positions", {}).items()
                for number, offset in numbers.items()
            }
            marks[str(name)] = Mark(int(document["as_of_us"]), offsets)
        return marks

    def hot_count(self) -> int:
        with self._clickhouse() as client:
            return int(client.query("SELECT count() FROM k2.silver_trades").result_rows[0][0])

    def hot_rows(self, table: str, mark: Mark) -> tuple[list[str], Counter[Row]]:
        """Columns, and the rows up to the watermark, as ClickHouse shows them to a reader."""
        with self._clickhouse() as client:
            described = client.query(f"DESCRIBE TABLE k2.{table}").result_rows
            names = sorted(str(row[0]) for row in described)
            columns = ", ".join(f"`{name}`" for name in names)
            rows = client.query(f"SELECT {columns} FROM k2.{table}").result_rows
        return names, up_to(mark, names, rows)

    @contextlib.contextmanager
    def _clickhouse(self) -> Iterator[Client]:
        client = clickhouse_connect.get_client(
            host="127.0.0.1",
            port=self.lab.port(CLICKHOUSE_OFFSET),
            username="readonly",
            password=self.lab.secret("clickhouse_readonly"),
        )
        try:
            yield client
        finally:
            client.close()

    def cold_rows(self, table: str, mark: Mark) -> Counter[Row]:
        """The rows up to the watermark in Iceberg, read by pyiceberg itself."""
        postgres, store = self.config.postgres, self.config.object_store
        catalog = SqlCatalog(
            "k2",
            uri=f"postgresql+psycopg://{postgres.user}:{postgres.password}@127.0.0.1:{postgres.port}/k2",
            warehouse=f"s3://{store.bucket}",
            **{
                "s3.endpoint": store.url,
                "s3.access-key-id": store.access_key,
                "s3.secret-access-key": store.secret_key,
                "s3.region": "us-east-1",
            },
        )
        try:
            data = catalog.load_table((self.config.namespace, table)).scan().to_arrow()
        finally:
            catalog.close()
        names = sorted(data.column_names)
        return up_to(mark, names, [tuple(row[name] for name in names) for row in data.select(names).to_pylist()])

    def assert_same(self) -> None:
        """Up to the watermark that Postgres shows, every trade is in both tiers, each once, every value equal."""
        marks = self.marks()
        for table in TRADE_TABLES:
            mark = marks[table]
            names, hot = self.hot_rows(table, mark)
            cold = self.cold_rows(table, mark)
            assert hot, f"{table}: nothing to compare"
            assert len(hot) == hot.total(), f"{table}: the hot tier holds a row twice"
            assert not hot - cold, f"{table} {names}: {(hot - cold).total()} missing, {next(iter(hot - cold))}"
            assert not cold - hot, f"{table} {names}: {(cold - hot).total()} too many, {next(iter(cold - hot))}"


def up_to(mark: Mark, names: list[str], rows: list[Row]) -> Counter[Row]:
    """Those rows whose Kafka position the watermark covers, in a form in which equal values compare equal."""
    topic, number, offset = (names.index(name) for name in ("topic", "kafka_partition", "kafka_offset"))
    return Counter(
        tuple(plain(value) for value in row)
        for row in rows
        if int(str(row[offset])) <= mark.offsets.get((str(row[topic]), int(str(row[number]))), -1)
    )
