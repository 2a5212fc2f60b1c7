# SPDX-License-Identifier: Apache-2.0
"""Upkeep of the cold tier: small files joined, old snapshots let go, files that nothing names removed.

Safe beside runs of the offload: a compaction takes certain files out and puts one with the same rows in, in one
commit that fails if anybody committed since the files were read. A run that loses this race repeats its commit.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyarrow import fs
from pyiceberg.table import FileScanTask
from pyiceberg.table import Table as IcebergTable

from k2lab.common.errors import LabError
from k2lab.offload.bucket import Bucket
from k2lab.offload.cold import SNAPSHOTS_KEPT, ColdTier
from k2lab.offload.config import OffloadConfig
from k2lab.offload.cycle import Done, each_table, new_run_id
from k2lab.offload.errors import ConflictError
from k2lab.offload.mirror import Kind, Mirror
from k2lab.offload.report import RunReport
from k2lab.offload.tables import TABLES, Table

log = logging.getLogger(__name__)

_ATTEMPTS = 5


@dataclass(frozen=True)
class Limits:
    """How far maintenance goes.

    `snapshots`: how many are kept. `file_rows`: files of fewer rows than half of it are joined up to it, which bounds
    the memory (about 200 MB). `orphan_age_s`: a file that nothing names is removed when it is older; it must exceed
    the time from a file's writing to its commit.
    """

    snapshots: int = SNAPSHOTS_KEPT
    file_rows: int = 250_000
    orphan_age_s: float = 3600.0


def maintain(config: OffloadConfig, limits: Limits | None = None) -> RunReport:
    """Compact, expire and clean all tables; safe beside runs of the offload.

    Failures as in run_cycle().
    """
    run_id = new_run_id()
    with Mirror(config.postgres) as mirror:
        mirror.lock(Kind.MAINTENANCE)
        mirror.begin_run(run_id, Kind.MAINTENANCE)
        results = each_table(TABLES, lambda: _Maintenance(config, limits or Limits(), run_id).tidy, lambda *_: None)
        report = RunReport(run_id, results)
        mirror.end_run(run_id, Kind.MAINTENANCE, report.rows, report.reason)
    return report


def small_file_groups(tasks: Sequence[FileScanTask], file_rows: int) -> list[list[FileScanTask]]:
    """Small files of the same partition, grouped so that each group makes one file of about `file_rows` rows."""
    partitions: dict[object, list[FileScanTask]] = {}
    for task in tasks:
        if task.file.record_count * 2 < file_rows:
            partitions.setdefault(task.file.partition, []).append(task)
    groups: list[list[FileScanTask]] = []
    for members in partitions.values():
        groups.append([])
        rows = 0
        for task in sorted(members, key=lambda task: task.file.file_path):
            if groups[-1] and rows + task.file.record_count > file_rows:
                groups.append([])
                rows = 0
            groups[-1].append(task)
            rows += task.file.record_count
    return [group for group in groups if len(group) > 1]


class _Maintenance:
    """A maintenance run under way."""

    def __init__(self, config: OffloadConfig, limits: Limits, run_id: str) -> None:
        self._bucket = Bucket(config.object_store)
        self._bucket.check(config.lab_id)
        self._cold = ColdTier(config)
        self._limits = limits
        self._run_id = run_id

    def tidy(self, table: Table) -> Done:
        """All three tasks on one table; returns rows rewritten and commits made."""
        iceberg = self._cold.load(table.name)
        if iceberg is None:
            return 0, 0
        rows, commits = self._compact(table, iceberg)
        gone = self._expire(table)
        removed = self._remove_orphans(table)
        said = "%s: %d rows joined in %d commits, %d snapshots let go, %d files removed"
        log.info(said, table.name, rows, commits, gone, removed)
        return rows, commits + bool(gone)

    def _compact(self, table: Table, iceberg: IcebergTable) -> Done:
        """Join small files, one group per commit; after a conflict plan anew from what is there."""
        rows = commits = conflicts = 0
        while True:
            with self._cold.errors():
                groups = small_file_groups(list(iceberg.scan().plan_files()), self._limits.file_rows)
            try:
                for group in groups:
                    rows += self._cold.join(iceberg, group, {"k2.maintenance": self._run_id})
                    commits += 1
                return rows, commits
            except ConflictError as error:
                conflicts += 1
                if conflicts == _ATTEMPTS:
                    raise
                log.info("%s: %s; planning anew", table.name, error.seen)
            iceberg = self._fresh(table)

    def _expire(self, table: Table) -> int:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._cold.expire(self._fresh(table), self._limits.snapshots)
            except ConflictError:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("the loop returns or raises")

    def _remove_orphans(self, table: Table) -> int:
        """Remove old files under the table's location that neither its metadata nor any of its snapshots names.

        The files are listed first: whatever is committed after that is named by the metadata read next, or too young.
        """
        location = self._fresh(table).location().removeprefix("s3://")
        before = datetime.now(UTC) - timedelta(seconds=self._limits.orphan_age_s)
        old = [
            info.path
            for info in self._bucket.files(location)
            if info.type is fs.FileType.File and info.mtime is not None and info.mtime < before
        ]
        with self._cold.errors():
            named = {path.removeprefix("s3://") for path in named_files(self._fresh(table))}
        orphans = [path for path in old if path not in named]
        self._bucket.remove(orphans)
        return len(orphans)

    def _fresh(self, table: Table) -> IcebergTable:
        iceberg = self._cold.load(table.name)
        if iceberg is None:
            raise LabError(f"the Iceberg table {table.name}", "it is gone", "whoever dropped it must restore it")
        return iceberg


def named_files(iceberg: IcebergTable) -> Iterator[str]:
    """Every file that the table needs: metadata and its predecessors, manifests, data of all snapshots kept."""
    yield iceberg.metadata_location
    for entry in iceberg.metadata.metadata_log:
        yield entry.metadata_file
    seen: set[str] = set()
    for snapshot in iceberg.metadata.snapshots:
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(iceberg.io):
            if manifest.manifest_path in seen:
                continue
            seen.add(manifest.manifest_path)
            yield manifest.manifest_path
            for file in manifest.fetch_manifest_entry(iceberg.io, discard_deleted=False):
                yield file.data_file.file_path
