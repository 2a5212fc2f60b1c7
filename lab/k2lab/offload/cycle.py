# SPDX-License-Identifier: Apache-2.0
"""One run over all tables."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from pyiceberg.table import Table as IcebergTable

from k2lab.common.errors import LabError
from k2lab.offload import candles, trades
from k2lab.offload.bucket import Bucket
from k2lab.offload.cold import CONTRACT, VARIANT, ColdTier, kept_watermark
from k2lab.offload.columns import Column, SourceColumn, check_contract, column_of, contract, moved
from k2lab.offload.config import OffloadConfig, Variant
from k2lab.offload.errors import ConflictError, StoreError
from k2lab.offload.hot import HotTier
from k2lab.offload.mirror import Kind, Mirror
from k2lab.offload.report import RunReport, TableResult
from k2lab.offload.tables import TABLES, CandleTable, Table, TradeTable
from k2lab.offload.watermark import Watermark

log = logging.getLogger(__name__)

# Maintenance commits to the same tables: then a commit of ours is repeated on top of it.
_ATTEMPTS = 5


def run_cycle(config: OffloadConfig) -> RunReport:
    """Move what is new in ClickHouse to Iceberg, all tables, one after the other.

    A table that fails does not stop the others: see RunReport.failures (`raise_on_failure()` turns them into one
    error). Raises LabError when nothing can be done at all: Postgres is down, another run is under way.
    """
    run_id = new_run_id()
    with Mirror(config.postgres) as mirror:
        mirror.lock(Kind.OFFLOAD)
        mirror.begin_run(run_id, Kind.OFFLOAD)
        results = each_table(TABLES, lambda: _Run(config, mirror, run_id).move, mirror.failed)
        report = RunReport(run_id, results)
        mirror.end_run(run_id, Kind.OFFLOAD, report.rows, report.reason)
    return report


def new_run_id() -> str:
    """A name for a run: sorts by time, never the same twice."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}-{secrets.token_hex(2)}"


Done = tuple[int, int]
"""Rows written and commits made."""


def each_table(
    tables: Iterable[Table], prepare: Callable[[], Callable[[Table], Done]], failed: Callable[[str, str, float], None]
) -> tuple[TableResult, ...]:
    """Do something with each table; what fails is told to `failed` and goes into the results.

    After a StoreError, be it from `prepare`, the remaining tables are not tried: they would wait for the same store.
    """
    results: list[TableResult] = []
    act: Callable[[Table], Done] | None = None
    broken: LabError | None = None
    for table in tables:
        started = time.monotonic()
        rows, commits, failure = 0, 0, None
        try:
            if broken is not None:
                raise broken
            if act is None:
                act = prepare()
            rows, commits = act(table)
        except LabError as error:
            failure = str(error)
            if broken is None:
                log.error("%s failed: %s", table.name, failure)  # noqa: TRY400 - the message is the whole story
            if act is None or isinstance(error, StoreError):
                broken = error
        except Exception as error:  # a defect in the handling of one table must not stop the others
            log.exception("%s: not foreseen", table.name)
            failure = f"{type(error).__name__}: {error}"
        seconds = time.monotonic() - started
        if failure is not None:
            failed(table.name, failure, seconds)
        results.append(TableResult(table.name, rows, commits, seconds, failure))
    return tuple(results)


class _Run:
    """A run under way: the stores, and what was found at its start."""

    def __init__(self, config: OffloadConfig, mirror: Mirror, run_id: str) -> None:
        Bucket(config.object_store).check(config.lab_id)
        self._mirror = mirror
        self._run_id = run_id
        self._variant = config.variant
        self._hot = HotTier(config.clickhouse)
        self._source: Mapping[str, Sequence[SourceColumn]] = self._hot.columns([table.name for table in TABLES])
        self._copies = mirror.read()
        self._cold = ColdTier(config)

    def move(self, table: Table) -> Done:
        """Bring one table up to date."""
        started = time.monotonic()
        source = moved(self._source.get(table.name, ()))
        if not source:
            raise LabError(
                f"table {table.name} in ClickHouse", "none", "apply the schema, or correct clickhouse.database"
            )
        columns = [column_of(column) for column in source]
        iceberg = self._cold.load(table.name)
        if iceberg is not None and iceberg.properties.get(VARIANT) != self._variant.value:
            raise LabError(
                f"the Iceberg table {table.name} to be of the variant {self._variant.value}",
                iceberg.properties.get(VARIANT, "none of the two: another program made it"),
                "neither takes up the work of the other: use that variant, or move the table aside and delete its "
                "row of offload_watermarks; nothing was moved",
            )
        held = self._held(table, iceberg)
        if iceberg is None:
            iceberg = self._cold.create(table, columns, {CONTRACT: contract(source), VARIANT: self._variant.value})
        check_contract(table.name, iceberg.properties.get(CONTRACT, "[]"), source)
        if isinstance(table, TradeTable):
            now, commits = self._move_trades(table, columns, iceberg, held)
        else:
            now, commits = self._move_candles(table, columns, iceberg, held)
        seconds = time.monotonic() - started
        self._mirror.succeeded(table.name, now, seconds)
        rows = now.rows_total - held.rows_total
        log.info("%s: %d rows, %d commits, %.2f s", table.name, rows, commits, seconds)
        return rows, commits

    def _held(self, table: Table, iceberg: IcebergTable | None) -> Watermark:
        """Up to where the table has been moved. The Iceberg table decides; the copy in Postgres is put right."""
        copy = self._copies.get(table.name, Watermark())
        if self._variant is not Variant.EXACTLY_ONCE:
            return copy
        kept = None if iceberg is None else kept_watermark(iceberg)
        if kept is None:
            if copy.started:
                raise LabError(
                    f"the Iceberg table {table.name} with its watermark, since offload_watermarks has one",
                    "no such table" if iceberg is None else "a table without a watermark",
                    "the cold tier was lost or is another one: restore it, or delete the row of offload_watermarks to "
                    "begin anew from all of ClickHouse; nothing was moved",
                )
            return Watermark()
        if not copy.same_place(kept):
            log.warning(
                "%s: offload_watermarks says %s, the Iceberg table %s", table.name, copy.to_json(), kept.to_json()
            )
            self._mirror.reconcile(table.name, kept)
            return kept
        return replace(kept, as_of_us=max(kept.as_of_us, copy.as_of_us))

    def _move_trades(
        self, table: TradeTable, columns: Sequence[Column], iceberg: IcebergTable, held: Watermark
    ) -> tuple[Watermark, int]:
        work = trades.plan(self._hot, table, held)
        for index, (chunk, rows) in enumerate(work.pieces):
            data = trades.read(self._hot, table, columns, work, index)
            watermark = trades.after(held, work, index)
            summary = trades.evidence(self._run_id, chunk, rows)

            append = partial(self._cold.append, data=data, watermark=self._committed(watermark), summary=summary)
            iceberg = self._commit(table, iceberg, held, append)
            held = watermark
            if index < len(work.pieces) - 1:
                self._mirror.advanced(table.name, held)
        return replace(held, as_of_us=work.as_of_us), len(work.pieces)

    def _move_candles(
        self, table: CandleTable, columns: Sequence[Column], iceberg: IcebergTable, held: Watermark
    ) -> tuple[Watermark, int]:
        work = candles.plan(self._hot, table, columns, held)
        for index, group in enumerate(work.groups):
            data = self._hot.read_candles(table.name, columns, group)
            watermark = candles.after(held, work, index, data.num_rows)
            summary = candles.evidence(self._run_id, group, data.num_rows)

            put = partial(
                self._cold.replace, data=data, stretches=group, watermark=self._committed(watermark), summary=summary
            )
            iceberg = self._commit(table, iceberg, held, put)
            held = watermark
        return replace(held, as_of_us=work.as_of_us), len(work.groups)

    def _committed(self, watermark: Watermark) -> Watermark | None:
        """What goes into the Iceberg commit: nothing, in the variant that is known to be wrong."""
        return watermark if self._variant is Variant.EXACTLY_ONCE else None

    def _commit(
        self, table: Table, iceberg: IcebergTable, held: Watermark, commit: Callable[[IcebergTable], None]
    ) -> IcebergTable:
        """Commit; after a conflict again, but only if the watermark is still the one that was read.

        Returns the table as committed. Raises LabError when another run moved the table, ConflictError when there is
        no getting through.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                commit(iceberg)
                return iceberg
            except ConflictError as error:
                if attempt == _ATTEMPTS:
                    raise
                log.warning("%s: %s; attempt %d of %d follows", table.name, error.seen, attempt + 1, _ATTEMPTS)
            fresh = self._cold.load(table.name)
            kept = None if fresh is None else kept_watermark(fresh) or Watermark()
            if fresh is None or (self._variant is Variant.EXACTLY_ONCE and not held.same_place(kept or Watermark())):
                raise LabError(
                    f"the watermark of {table.name} where this run found it",
                    "another run moved it, or the table is gone",
                    "nothing of this piece was moved; the next run starts from what is there",
                )
            iceberg = fresh
        raise AssertionError("the loop returns or raises")
