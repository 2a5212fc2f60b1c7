# SPDX-License-Identifier: Apache-2.0
"""What a run did, table by table."""

from __future__ import annotations

from dataclasses import dataclass

from k2lab.common.errors import LabError


@dataclass(frozen=True)
class TableResult:
    """One table of a run: rows written, commits to Iceberg, seconds taken, and why it failed (None: it did not)."""

    table: str
    rows: int
    commits: int
    seconds: float
    failure: str | None = None


@dataclass(frozen=True)
class RunReport:
    """A run of the offload or of its maintenance over all tables."""

    run_id: str
    tables: tuple[TableResult, ...]

    @property
    def rows(self) -> int:
        """Rows written to the cold tier."""
        return sum(result.rows for result in self.tables)

    @property
    def failures(self) -> tuple[TableResult, ...]:
        """The tables that failed; their watermarks did not move."""
        return tuple(result for result in self.tables if result.failure is not None)

    @property
    def reason(self) -> str | None:
        """Why the run as a whole failed; None when it did not."""
        tables: dict[str, list[str]] = {}
        for failed in self.failures:
            tables.setdefault(str(failed.failure), []).append(failed.table)
        return "; ".join(f"{', '.join(names)}: {failure}" for failure, names in tables.items()) or None

    def raise_on_failure(self) -> None:
        """Raise LabError naming every failed table; does nothing when all went through."""
        if self.failures:
            raise LabError(
                f"all {len(self.tables)} tables to go through",
                f"{len(self.failures)} failed: {self.reason}",
                "see each table's own message; the next run takes up where this one stopped",
            )
