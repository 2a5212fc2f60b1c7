# SPDX-License-Identifier: Apache-2.0
"""/metrics and /health of the cold tier, from what the runs left in Postgres.

The runs are short-lived processes: their counters are kept where their watermarks are, so they survive restarts of
everything and never go down. One query per scrape; ages are by Postgres' clock.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import psycopg
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from k2lab.common.errors import LabError
from k2lab.common.status import Health, StatusServer
from k2lab.offload.config import OffloadConfig, PostgresAccess
from k2lab.offload.errors import postgres_error
from k2lab.offload.mirror import connect

log = logging.getLogger(__name__)

_STATEMENT_TIMEOUT_S = 3
_QUERY = """
SELECT 'table', table_name, extract(epoch FROM last_offload_timestamp)::float8,
       extract(epoch FROM now() - last_offload_timestamp)::float8 / 60, rows_total, errors_total, last_duration_s,
       failure_count, reconciled_total
  FROM offload_watermarks
UNION ALL
SELECT 'cycles', status, NULL, NULL, total, 0, NULL, 0, 0 FROM offload_cycles
"""


class TableState(NamedTuple):
    """One table, as Postgres has it; times are None until the first run got that far."""

    table: str
    watermark_s: float | None
    lag_minutes: float | None
    rows: int
    errors: int
    duration_s: float | None
    failures: int
    reconciled: int


class State(NamedTuple):
    """Everything a scrape shows: the tables, and runs by how they ended."""

    tables: Sequence[TableState]
    cycles: Sequence[tuple[str, int]]


class Source:
    """Asks Postgres, on one connection that is opened anew when it broke. For use from several threads."""

    def __init__(self, access: PostgresAccess) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._connection: psycopg.Connection | None = None

    def state(self) -> State:
        """What Postgres has now; raises LabError when it cannot be asked."""
        with self._lock:
            fresh = self._connection is None
            try:
                return self._ask()
            except psycopg.Error as error:
                self._drop()
                if fresh:
                    raise self._failed(error) from error
            try:  # the old connection may just have outlived a restart of the server
                return self._ask()
            except psycopg.Error as error:
                self._drop()
                raise self._failed(error) from error

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _ask(self) -> State:
        if self._connection is None:
            self._connection = connect(self._access, _STATEMENT_TIMEOUT_S)
            self._connection.autocommit = True
        rows = self._connection.execute(_QUERY).fetchall()
        return State(
            tables=[TableState(*row[1:]) for row in rows if row[0] == "table"],
            cycles=[(row[1], row[4]) for row in rows if row[0] == "cycles"],
        )

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _failed(self, error: psycopg.Error) -> LabError:
        return postgres_error(f"{self._access.host}:{self._access.port}", error)


class OffloadCollector(Collector):
    """Turns the state into metrics; while Postgres cannot be asked only `offload_postgres_up 0` is there.

    Old values would look like a cold tier that stands still, which is another fault with other alerts.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not ask Postgres."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The metrics of one scrape."""
        up = GaugeMetricFamily("offload_postgres_up", "Whether the exporter could ask Postgres")
        try:
            state = self._source.state()
        except LabError as error:
            log.warning("%s", error)
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from render(state)


def render(state: State) -> Iterator[Metric]:
    """The metrics of a state."""
    lag = GaugeMetricFamily("offload_lag_minutes", "Age of the watermark", labels=["table"])
    watermark = GaugeMetricFamily(
        "watermark_timestamp_seconds", "What ClickHouse showed at this time has been moved", labels=["table"]
    )
    duration = GaugeMetricFamily("offload_duration_seconds", "Time the last run took for the table", labels=["table"])
    rows = CounterMetricFamily("offload_rows", "Rows written to the cold tier", labels=["table"])
    errors = CounterMetricFamily("offload_errors", "Runs in which the table failed", labels=["table"])
    failures = GaugeMetricFamily(
        "offload_consecutive_failures", "Runs in which the table failed since one in which it did not", labels=["table"]
    )
    reconciled = CounterMetricFamily(
        "offload_watermarks_reconciled", "Times Postgres' copy of the watermark had to be put right", labels=["table"]
    )
    for table in state.tables:
        name = [table.table]
        if table.lag_minutes is not None and table.watermark_s is not None:
            lag.add_metric(name, table.lag_minutes)
            watermark.add_metric(name, table.watermark_s)
        if table.duration_s is not None:
            duration.add_metric(name, table.duration_s)
        rows.add_metric(name, table.rows)
        errors.add_metric(name, table.errors)
        failures.add_metric(name, table.failures)
        reconciled.add_metric(name, table.reconciled)
    cycles = CounterMetricFamily("offload_cycles", "Runs over all tables, by how they ended", labels=["status"])
    for status, total in state.cycles:
        cycles.add_metric([status], total)
    yield from (lag, watermark, duration, rows, errors, failures, reconciled, cycles)


def serve(config: OffloadConfig, address: tuple[str, int], stop: threading.Event) -> None:
    """Serve on `address`, host and port, until `stop` is set.

    Starts, and says so on /health, while Postgres is still down.
    """
    source = Source(config.postgres)
    REGISTRY.register(OffloadCollector(source))

    def health() -> Health:
        try:
            state = source.state()
        except LabError as error:
            return Health.of([str(error)])
        failing = [table.table for table in state.tables if table.failures]
        return Health.of([], tables=len(state.tables), failing=failing)

    host, port = address
    with StatusServer("offload-exporter", port, health, host=host):
        stop.wait()
    source.close()
