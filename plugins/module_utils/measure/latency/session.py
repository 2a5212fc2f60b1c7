# SPDX-License-Identifier: Apache-2.0
"""Queries with limits, and a count of what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Optional, Union

from ...core.errors import K2Error
from ...platform.clickhouse import ClickHouseClient, QueryError, QueryResult, Value
from .model import Cost

# ClickHouse's own error codes.
TOO_MANY_ROWS = 158
READONLY = 164
# Longer queries are refused unless the limit is raised with them, which not every user may.
USUAL_QUERY_BYTES = 262_144

Params = Mapping[str, Union[str, int]]


class TooManyRows(K2Error):  # noqa: N818 - see core.errors
    """A query would read more rows than it may."""


@dataclass(frozen=True)
class Limits:
    """Seconds and rows that one query may take."""

    query_timeout_s: float
    max_rows_to_read: int


class Session:
    """Asks one server, never beyond its limits."""

    def __init__(self, client: ClickHouseClient, limits: Limits) -> None:
        self._client = client
        self._limits = limits
        self._without_limits: Optional[str] = None
        self.cost = Cost(0, 0, 0, 0.0)

    def ask(self, sql: str, params: Optional[Params] = None) -> QueryResult:
        """Run one SELECT.

        A user under ``readonly=1`` may set no limits: it is asked again without, and the cost says so. The client's own
        time limit stays. Raises TooManyRows, QueryError, ClickHouseUnreachable.
        """
        try:
            result = self._ask(sql, params)
        except QueryError as error:
            if error.code == TOO_MANY_ROWS:
                raise self._too_many(error.seen) from error
            if error.code != READONLY or self._without_limits is not None:
                raise
            self._without_limits = (
                "the user may not change settings (readonly=1), so the server enforces no limit of time or rows"
            )
            result = self._ask(sql, params)
        self.cost = replace(
            self.cost,
            queries=self.cost.queries + 1,
            rows_read=self.cost.rows_read + result.rows_read,
            bytes_read=self.cost.bytes_read + result.bytes_read,
            elapsed_s=round(self.cost.elapsed_s + float(result.elapsed_s), 6),
            without_limits=self._without_limits,
        )
        return result

    def takes(self, query_bytes: int) -> bool:
        """Whether the server takes a query of this length from this user."""
        return self._without_limits is None or query_bytes < USUAL_QUERY_BYTES

    def refuse_wide(self, sql: str) -> None:
        """Let the server estimate how many rows a simple SELECT would read; raises TooManyRows above the limit."""
        estimate = sum(integer(row["rows"]) for row in self.ask("EXPLAIN ESTIMATE " + sql).dicts())
        if estimate > self._limits.max_rows_to_read:
            raise self._too_many(f"an estimate of {estimate:,} rows")

    def _ask(self, sql: str, params: Optional[Params]) -> QueryResult:
        bare = self._without_limits is not None
        settings = {"max_rows_to_read": self._limits.max_rows_to_read}
        if len(sql) >= USUAL_QUERY_BYTES // 2:
            settings["max_query_size"] = 2 * len(sql)
        return self._client.query(sql, params, settings, self._limits.query_timeout_s, bare=bare)

    def _too_many(self, seen: str) -> TooManyRows:
        return TooManyRows(
            "the latency query would read too many rows",
            expected=f"at most max_rows_to_read = {self._limits.max_rows_to_read:,} rows",
            seen=seen,
            action="shorten the window, or raise max_rows_to_read",
        )


def integer(value: Value) -> int:
    """A whole number of a result; raises K2Error when it is none."""
    if not isinstance(value, int):
        raise K2Error("unexpected answer from ClickHouse", expected="a whole number", seen=repr(value))
    return value


def integers(value: Value) -> tuple[int, ...]:
    """An array of whole numbers of a result."""
    if not isinstance(value, tuple):
        raise K2Error("unexpected answer from ClickHouse", expected="an array", seen=repr(value))
    return tuple(integer(item) for item in value)


def literal(text: str) -> str:
    """``text`` as a string literal of SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
