# SPDX-License-Identifier: Apache-2.0
"""Postgres' side: the copy of the watermarks that others watch, the record of runs, the lock of a run."""

from __future__ import annotations

import enum
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from k2lab.common.errors import LabError
from k2lab.offload.config import PostgresAccess
from k2lab.offload.errors import postgres_error
from k2lab.offload.watermark import Watermark

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 30
LOCK_TIMEOUT_S = 20
RUNS_KEPT_DAYS = 30

_LOCK_SPACE = 0x6B32  # "k2"; the second key of the advisory locks tells them apart

SCHEMA = """
CREATE TABLE IF NOT EXISTS offload_watermarks (
    table_name                text PRIMARY KEY,
    last_offload_timestamp    timestamptz,
    last_offload_max_sequence bigint,
    status                    text NOT NULL DEFAULT 'new',
    last_successful_run       timestamptz,
    failure_count             integer NOT NULL DEFAULT 0,
    positions                 jsonb,
    last_error                text,
    last_duration_s           double precision,
    rows_total                bigint NOT NULL DEFAULT 0,
    errors_total              bigint NOT NULL DEFAULT 0,
    reconciled_total          bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE offload_watermarks IS 'Copy of what each Iceberg table says of itself (variant exactly-once)';
COMMENT ON COLUMN offload_watermarks.last_offload_timestamp IS 'what ClickHouse showed at this time has been moved';
COMMENT ON COLUMN offload_watermarks.last_offload_max_sequence IS 'highest Kafka offset moved; null for candles';
COMMENT ON COLUMN offload_watermarks.failure_count IS 'runs that failed since the last one that did not';
CREATE TABLE IF NOT EXISTS offload_runs (
    run_id     text PRIMARY KEY,
    kind       text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    status     text NOT NULL DEFAULT 'running',
    rows       bigint,
    error      text
);
CREATE TABLE IF NOT EXISTS offload_cycles (
    status text PRIMARY KEY,
    total  bigint NOT NULL DEFAULT 0
);
INSERT INTO offload_cycles (status) VALUES ('ok'), ('failed'), ('interrupted') ON CONFLICT DO NOTHING;
"""


class Kind(enum.Enum):
    """What may run once at a time; the values are lock numbers."""

    OFFLOAD = 1
    MAINTENANCE = 2


def connect(access: PostgresAccess, statement_timeout_s: float = STATEMENT_TIMEOUT_S) -> psycopg.Connection:
    """A connection on which no wait is endless; raises StoreError.

    The server looks every second whether we are still there: a killed run's lock is free at once, even if its last
    statement was waiting.
    """
    options = (
        f"-c statement_timeout={round(statement_timeout_s * 1000)} -c client_connection_check_interval=1000 "
        f"-c idle_in_transaction_session_timeout=60000"
    )
    try:
        return psycopg.connect(
            host=access.host,
            port=access.port,
            dbname=access.database,
            user=access.user,
            password=access.password,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="k2-offload",
            options=options,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=10000,
        )
    except psycopg.Error as error:
        raise postgres_error(f"{access.host}:{access.port}", error) from error


class Mirror:
    """One connection. Every method may raise StoreError; each change is one transaction."""

    def __init__(self, access: PostgresAccess) -> None:
        self._where = f"{access.host}:{access.port}"
        self._connection = connect(access)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def create(self) -> None:
        """Create the tables; safe to repeat and to run twice at once."""
        with self._transaction() as connection:
            connection.execute(sql.SQL("SELECT pg_advisory_xact_lock({}, 0)").format(_LOCK_SPACE))
            connection.execute(SCHEMA)

    def lock(self, kind: Kind, timeout_s: float = LOCK_TIMEOUT_S) -> None:
        """Become the only run of this kind until the connection ends.

        Raises LabError when another one still runs after `timeout_s` seconds.
        """
        try:
            with self._connection.transaction():
                self._connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(round(timeout_s * 1000)))
                self._connection.execute("SELECT pg_advisory_lock(%s, %s)", (_LOCK_SPACE, kind.value))
        except psycopg.errors.LockNotAvailable as error:
            raise LabError(
                f"to be the only {kind.name.lower()} run within {timeout_s:g} s",
                self._holder(kind),
                "let it end; if it hangs, end that process: the next run takes up where it stopped",
            ) from error
        except psycopg.Error as error:
            raise postgres_error(self._where, error) from error

    def begin_run(self, run_id: str, kind: Kind) -> None:
        """Note the run, and those that never noted their end. Holding the lock means that they are dead."""
        with self._transaction() as connection:
            dead = connection.execute(
                "UPDATE offload_runs SET status = 'interrupted', ended_at = now() "
                "WHERE status = 'running' AND kind = %s RETURNING run_id",
                (kind.name.lower(),),
            ).fetchall()
            for (name,) in dead:
                log.warning("run %s was cut short", name)
            if kind is Kind.OFFLOAD:
                connection.execute(
                    "UPDATE offload_cycles SET total = total + %s WHERE status = 'interrupted'", (len(dead),)
                )
            connection.execute("INSERT INTO offload_runs (run_id, kind) VALUES (%s, %s)", (run_id, kind.name.lower()))
            connection.execute(
                "DELETE FROM offload_runs WHERE started_at < now() - make_interval(days => %s)", (RUNS_KEPT_DAYS,)
            )

    def end_run(self, run_id: str, kind: Kind, rows: int, error: str | None) -> None:
        """Note the end of the run and count it."""
        status = "ok" if error is None else "failed"
        with self._transaction() as connection:
            connection.execute(
                "UPDATE offload_runs SET ended_at = now(), status = %s, rows = %s, error = %s WHERE run_id = %s",
                (status, rows, error, run_id),
            )
            if kind is Kind.OFFLOAD:
                connection.execute("UPDATE offload_cycles SET total = total + 1 WHERE status = %s", (status,))

    def read(self) -> Mapping[str, Watermark]:
        """The copies of all watermarks, by table name."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT table_name, positions::text FROM offload_watermarks WHERE positions IS NOT NULL"
            )
            return {name: Watermark.from_json(text, f"offload_watermarks, {name}") for name, text in rows.fetchall()}

    def went_through_within(self, seconds: float) -> frozenset[str]:
        """Tables that went through that lately, by Postgres' own clock."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT table_name FROM offload_watermarks WHERE last_offload_timestamp IS NOT NULL "
                "AND last_successful_run > now() - make_interval(secs => %s)",
                (seconds,),
            )
            return frozenset(str(name) for (name,) in rows.fetchall())

    def reconcile(self, table: str, watermark: Watermark) -> None:
        """Set the copy to what the Iceberg table says, and count that this was needed."""
        self._store(table, watermark, ", reconciled_total = offload_watermarks.reconciled_total + 1")

    def succeeded(self, table: str, watermark: Watermark, seconds: float) -> None:
        """The table went through: its watermark, and that it is well."""
        self._store(
            table,
            watermark,
            ", status = 'ok', failure_count = 0, last_error = NULL, last_successful_run = now(), "
            "last_duration_s = %(s)s",
            s=seconds,
        )

    def advanced(self, table: str, watermark: Watermark) -> None:
        """Part of the table went through."""
        self._store(table, watermark, "")

    def failed(self, table: str, reason: str, seconds: float) -> None:
        """The table did not go through; its watermark stays."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO offload_watermarks AS w (table_name, status, failure_count, last_error, errors_total) "
                "VALUES (%(t)s, 'failed', 1, %(r)s, 1) ON CONFLICT (table_name) DO UPDATE SET status = 'failed', "
                "failure_count = w.failure_count + 1, last_error = %(r)s, errors_total = w.errors_total + 1, "
                "last_duration_s = %(s)s",
                {"t": table, "r": reason[:1000], "s": seconds},
            )

    def _store(self, table: str, watermark: Watermark, also: str, **values: float) -> None:
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO offload_watermarks (table_name) VALUES (%s) ON CONFLICT DO NOTHING", (table,)
            )
            connection.execute(
                "UPDATE offload_watermarks SET positions = %(p)s, rows_total = %(rows)s, "
                "last_offload_max_sequence = %(o)s, last_offload_timestamp = to_timestamp(%(us)s / 1000000.0)"
                + also
                + " WHERE table_name = %(t)s",
                {
                    "t": table,
                    "p": watermark.to_json(),
                    "rows": watermark.rows_total,
                    "o": watermark.positions.highest,
                    "us": watermark.as_of_us,
                    **values,
                },
            )

    def _holder(self, kind: Kind) -> str:
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT a.pid, a.backend_start FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                "WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.granted",
                (_LOCK_SPACE, kind.value),
            ).fetchone()
        return (
            f"one that began {row[1]:%Y-%m-%d %H:%M:%S %Z} still runs" if row else "another one was running until now"
        )

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection]:
        try:
            with self._connection.transaction():
                yield self._connection
        except psycopg.Error as error:
            raise postgres_error(self._where, error) from error
