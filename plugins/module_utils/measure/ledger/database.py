# SPDX-License-Identifier: Apache-2.0
"""ClickHouse as an audit asks it: every query bounded, every query counted, and what is wrong with a table told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional, Protocol, Union

from ...core.errors import K2Error
from ...platform.clickhouse import QueryError, QueryResult, Setting, Value

_UNKNOWN_TABLE = (60, 81)
_UNKNOWN_COLUMN = (8, 10, 16, 47)
_ILLEGAL_FINAL = 181
_TOO_MUCH = (158, 159, 160, 241, 307)
_GRACE_S = 5.0

Params = Mapping[str, Union[str, int]]


class TableMissing(K2Error):  # noqa: N818 - see core.errors
    """The store has no such table."""


class ColumnMissing(K2Error):  # noqa: N818 - see core.errors
    """The table has no such column."""


class TooExpensive(K2Error):  # noqa: N818 - see core.errors
    """A query would have gone beyond its limits."""


class Client(Protocol):
    """What asks ClickHouse; platform.clickhouse.ClickHouseClient does it."""

    def query(
        self,
        sql: str,
        params: Optional[Params] = None,
        settings: Optional[Mapping[str, Setting]] = None,
        timeout_s: Optional[float] = None,
    ) -> QueryResult:
        """Run one SELECT; raises ClickHouseUnreachable, QueryError."""


@dataclass(frozen=True)
class Source:
    """A table as it can be read: ``table`` with FINAL where its engine merges rows, and the types of its expressions.

    Without FINAL a Replacing, Summing or AggregatingMergeTree shows rows that its next merge will fold into one.
    """

    table: str
    types: Mapping[str, str]


class Database:
    """Asks with limits and keeps account of what it cost."""

    def __init__(
        self,
        client: Client,
        query_timeout_s: float,
        max_rows_to_read: int,
        settings: Optional[Mapping[str, Setting]] = None,
    ) -> None:
        self.client = client
        self._limits = (query_timeout_s, max_rows_to_read)
        # The server gives up first, and says so.
        self._timeout_s = query_timeout_s + _GRACE_S
        self._settings: dict[str, Setting] = {
            "max_rows_to_read": max_rows_to_read,
            "max_execution_time": max(1, int(query_timeout_s)),
            **(settings or {}),
        }
        self.queries = 0
        self.rows_read = 0
        self.bytes_read = 0
        self.elapsed_s = 0.0

    def limited(self, settings: Mapping[str, Setting]) -> Database:
        """The same with further settings; it keeps its own account."""
        return Database(self.client, *self._limits, settings)

    def rows(self, sql: str, params: Optional[Params] = None) -> tuple[tuple[Value, ...], ...]:
        """The rows of one SELECT.

        Raises TooExpensive, QueryError, ClickHouseUnreachable.
        """
        return self._ask(sql, params).rows

    def types(self, table: str, expressions: Sequence[str], params: Optional[Params] = None) -> dict[str, str]:
        """The types of ``expressions`` in a table function ``table``; reads no row.

        Raises QueryError, ClickHouseUnreachable.
        """
        columns = ", ".join(f"{expression} AS k2_{index}" for index, expression in enumerate(expressions)) or "1"
        found = self._ask(f"SELECT {columns} FROM {table} LIMIT 0", params).columns
        return {expression: column.type for expression, column in zip(expressions, found)}

    def describe(self, table: str, expressions: Sequence[str]) -> Source:
        """How ``table`` is to be read, and the types of ``expressions`` in it; reads no row.

        :raises TableMissing: there is no such table. :raises ColumnMissing: an expression names no column of it.
        """
        columns = ", ".join(f"{expression} AS k2_{index}" for index, expression in enumerate(expressions)) or "1"
        try:
            final = self._final(table)
            found = self._ask(f"SELECT {columns} FROM {final} LIMIT 0").columns
        except QueryError as error:
            if error.code in _UNKNOWN_TABLE:
                raise TableMissing(
                    f"no table {table}",
                    expected="a table or view that this user may read",
                    seen=error.seen,
                    action="correct the tier's table in k2_tiers, or create it",
                ) from error
            if error.code in _UNKNOWN_COLUMN:
                raise ColumnMissing(
                    f"{table} lacks a column",
                    expected=", ".join(expressions),
                    seen=error.seen,
                    action="correct the tier's columns in k2_tiers",
                ) from error
            raise
        return Source(final, {expression: column.type for expression, column in zip(expressions, found)})

    def _final(self, table: str) -> str:
        try:
            self._ask(f"SELECT 1 FROM {table} FINAL LIMIT 0")
        except QueryError as error:
            if error.code != _ILLEGAL_FINAL:
                raise
            return table
        return f"{table} FINAL"

    def _ask(self, sql: str, params: Optional[Params] = None) -> QueryResult:
        self.queries += 1
        try:
            result = self.client.query(sql, params, self._settings, self._timeout_s)
        except QueryError as error:
            if error.code in _TOO_MUCH:
                raise TooExpensive(
                    "a query would have cost too much",
                    expected="less than query_timeout, max_rows_to_read and the server's own limits",
                    seen=error.seen,
                    action="audit a shorter range (from_watermark, max_records), or raise the limit",
                ) from error
            raise
        self.rows_read += result.rows_read
        self.bytes_read += result.bytes_read
        self.elapsed_s += float(result.elapsed_s)
        return result


def whole(value: Value) -> int:
    """A whole number of a result; raises K2Error for anything else."""
    if not isinstance(value, int):
        raise K2Error("unexpected answer from ClickHouse", expected="a whole number", seen=repr(value))
    return value


def wholes(value: Value) -> tuple[int, ...]:
    """An array of whole numbers of a result; raises K2Error for anything else."""
    if not isinstance(value, tuple):
        raise K2Error("unexpected answer from ClickHouse", expected="an array of whole numbers", seen=repr(value))
    return tuple(whole(item) for item in value)


def nested(value: Value) -> tuple[Value, ...]:
    """An array of a result; raises K2Error for anything else."""
    if not isinstance(value, tuple):
        raise K2Error("unexpected answer from ClickHouse", expected="an array", seen=repr(value))
    return value
