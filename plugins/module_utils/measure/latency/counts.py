# SPDX-License-Identifier: Apache-2.0
"""Rows out of order and rows that are there twice, by exchange. They are measured like all others, and counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from .columns import bare_type
from .route import COMMITTED, EXCHANGE, Route, Source
from .selection import Selection
from .session import Session, integer


@dataclass(frozen=True)
class Irregular:
    """Counts of one exchange; None where no column can tell."""

    late: Optional[int]
    duplicates: Optional[int]


def late_and_duplicate(session: Session, route: Route, rows: Selection) -> dict[str, Irregular]:
    """Count both for each exchange that has a row."""
    late = _late(session, rows, _symbol(route.source, route.measurable[0].tier.key_columns))
    duplicates = _duplicates(session, rows)
    return {name: Irregular(late.get(name, 0), duplicates.get(name)) for name in {*late, *duplicates}}


def _symbol(source: Source, candle_key: tuple[str, ...]) -> str:
    """SQL: what tells instruments apart, which is what a candle's key and a row have in common."""
    shared = [name for name in candle_key if name in source.table.types and name != source.tier.exchange_column]
    return f"sipHash64({', '.join(shared)})" if shared else "0"


def _late(session: Session, rows: Selection, symbol: str) -> dict[str, int]:
    """Rows whose time is older than the newest of their instrument in an earlier block.

    Only blocks that hold such a row are looked at row by row.
    """
    source = rows.source
    moment = source.moments.get(EXCHANGE, rows.start)
    selected = (
        f"SELECT {source.exchange} AS k2_exchange, {symbol} AS k2_symbol, {moment.as_us()} AS k2_time, "
        f"{source.moments[COMMITTED].as_us()} AS k2_block FROM {source.tier.table} WHERE {rows.condition()}"
    )
    newest = (
        "SELECT k2_exchange, k2_symbol, k2_block, min(k2_time) AS oldest, max(max(k2_time)) OVER ("
        "PARTITION BY k2_exchange, k2_symbol ORDER BY k2_block ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
        f") AS newest FROM ({selected}) GROUP BY k2_exchange, k2_symbol, k2_block"
    )
    found = session.ask(
        f"SELECT k2_exchange, countIf(k2_time < newest) FROM ({selected}) AS r INNER JOIN "
        f"(SELECT * FROM ({newest}) WHERE oldest < newest) AS n USING (k2_exchange, k2_symbol, k2_block) "
        "GROUP BY k2_exchange"
    )
    return {str(row[0]): integer(row[1]) for row in found.rows}


def _duplicates(session: Session, rows: Selection) -> dict[str, int]:
    """Rows beyond the first of each key; one with an empty part of its key cannot be told from others: left out."""
    source = rows.source
    key = source.tier.key_columns or source.tier.offset_columns
    if not key:
        return {}
    empty = [f"notEmpty(toString({name}))" for name in key if _may_be_empty(source.table.types, name)]
    known = " AND ".join([rows.condition(), *empty])
    found = session.ask(
        f"SELECT {source.exchange} AS k2_exchange, count() - uniqExact(sipHash128({', '.join(key)})) "
        f"FROM {source.tier.table} WHERE {known} GROUP BY k2_exchange"
    )
    return {str(row[0]): integer(row[1]) for row in found.rows}


def _may_be_empty(types: Mapping[str, str], name: str) -> bool:
    kind = types.get(name, "String")
    return "Nullable" in kind or bare_type(kind) == "String"
