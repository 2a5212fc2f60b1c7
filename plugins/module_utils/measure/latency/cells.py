# SPDX-License-Identifier: Apache-2.0
"""The aggregates of each exchange and candle, taken inside ClickHouse: none but these come back.

A commit is one moment for all rows of an insert block, so rows are gathered as arrays by block and exchange first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional, Protocol

from ...platform.clickhouse import Value
from .columns import Moment
from .commits import Commits
from .model import EXCEEDING_LEVELS, LEVELS, Cell, Quantiles, Span
from .selection import Selection
from .session import Session, integer, integers, literal

CellName = tuple[str, str]
BUCKETS_PER_OCTAVE = 8


@dataclass(frozen=True)
class Rows:
    """The rows that are measured: those of the path's source that began within ``span``."""

    commits: Commits
    start: Moment
    span: Span

    @property
    def selection(self) -> Selection:
        """Which rows these are."""
        commits = self.commits
        return Selection(commits.route.source, self.start, self.span, commits.low_us, commits.high_us)

    def blocks(self, by: str = "") -> str:
        """SQL: by exchange and insert block (and column ``by``) the starts of valid rows, and their commits."""
        keys = f"k2_exchange, block_us{by and ', ' + by}"
        zeros = f"[{', '.join('toInt64(0)' for _ in self.commits.route.measurable)}]"
        return (
            f"SELECT {keys}, groupArrayIf(start_us, valid) AS starts, countIf(NOT valid) AS invalid, "
            f"if(empty(any(c.committed)), {zeros}, any(c.committed)) AS commits, any(c.ambiguous) AS unsure "
            f"FROM ({self.selection.query()}) AS r ANY LEFT JOIN ({self.commits.query()}) AS c USING (block_us) "
            f"GROUP BY {keys}"
        )

    def latencies(self, by: str = "") -> str:
        """SQL: by kind, name and block (and column ``by``) the latencies in microseconds, and what has none.

        An exchange's path ends at the last of all candle tables.
        """
        keys = f"kind, name, block_us{by and ', ' + by}"
        names = ", ".join(literal(candle.tier.name) for candle in self.commits.route.measurable)
        return (
            f"SELECT cell.1 AS kind, cell.2 AS name, block_us{by and ', ' + by}, "
            "groupArrayArray(if(cell.3 = 0, [], arrayMap(start -> cell.3 - start, starts))) AS lags, "
            "sum(if(cell.3 = 0, length(starts), 0)) AS unattributed, sum(invalid) AS refused, any(unsure) AS ambiguous "
            "FROM (SELECT *, arrayConcat([('exchange', k2_exchange, if(has(commits, 0), 0, arrayMax(commits)))], "
            f"arrayMap((name, at) -> ('candle', name, at), [{names}], commits)) AS cells FROM ({self.blocks(by)})) "
            f"ARRAY JOIN cells AS cell GROUP BY {keys}"
        )


class Lags(Protocol):
    """Something that ``read_cells`` and ``complete`` can aggregate."""

    def latencies(self, by: str = "") -> str:
        """SQL: kind, name, block_us (and column ``by``), lags, unattributed, refused, ambiguous."""
        ...


def read_cells(session: Session, rows: Lags) -> dict[CellName, Cell]:
    """The cells that have a row, but for what ``complete`` adds."""
    levels = ", ".join(f"{level:g}" for level in LEVELS)
    found = session.ask(
        "SELECT kind, name, sum(length(lags)) AS n, countIf(notEmpty(lags)), sum(length(lags) * length(lags)), "
        "sum(arrayCount(lag -> lag < 0, lags)), sum(unattributed), sum(refused), sum(if(ambiguous, length(lags), 0)), "
        f"sum(arraySum(lags)), quantilesExactArray({levels})(lags) FROM ({rows.latencies()}) GROUP BY kind, name"
    )
    return {(str(row[0]), str(row[1])): _cell(row) for row in found.rows}


def complete(session: Session, rows: Lags, cells: Mapping[CellName, Cell]) -> dict[CellName, Cell]:
    """``cells`` with their histograms and their course over time."""
    histograms = _histograms(session, rows)
    series, exceeding = _course(session, rows, cells)
    return {
        key: replace(
            cell,
            histogram=tuple(histograms.get(key, ())),
            series=tuple(series.get(key, ())),
            exceeding=tuple(exceeding.get(key, ())),
        )
        for key, cell in cells.items()
    }


def milliseconds(us: int) -> float:
    """Microseconds as milliseconds."""
    return us / 1000


def quantile(cell: Cell, level: float) -> Optional[float]:
    """The upper value of a level that the grid holds; None of nothing."""
    return None if cell.quantiles is None else cell.quantiles.high_ms[cell.quantiles.levels.index(level)]


def bucket_of(lag: str) -> str:
    """SQL: number of the log-spaced bucket that a microsecond ``lag`` lies in; NULL for nothing above zero."""
    return f"if({lag} > 0, toNullable(toInt32(ceil({BUCKETS_PER_OCTAVE} * log2({lag} / 1000)))), NULL)"


def upper_ms(bucket: Value) -> float:
    """The upper bound of a bucket; 0 for lags that are zero or negative."""
    return 0.0 if bucket is None else float(round(2 ** (integer(bucket) / BUCKETS_PER_OCTAVE), 6))


def _cell(row: Sequence[Value]) -> Cell:
    n, blocks, squares, negative, unattributed, invalid, ambiguous = (integer(value) for value in row[2:9])
    cell = Cell(
        kind=str(row[0]),
        name=str(row[1]),
        n=n,
        blocks=blocks,
        sum_squares=squares,
        negative=negative,
        unattributed=unattributed,
        invalid=invalid,
        ambiguous=ambiguous,
    )
    return cell if n == 0 else with_values(cell, integer(row[9]), integers(row[10]))


def with_values(cell: Cell, sum_us: int, quantiles_us: Sequence[int]) -> Cell:
    """``cell`` with its quantiles at ``LEVELS``, of which the first and last are minimum and maximum."""
    values = tuple(milliseconds(us) for us in quantiles_us)
    return replace(
        cell,
        min_ms=values[0],
        max_ms=values[-1],
        mean_ms=round(sum_us / cell.n / 1000, 6),
        quantiles=Quantiles(LEVELS, values, values),
    )


def _histograms(session: Session, rows: Lags) -> dict[CellName, list[tuple[float, int]]]:
    found = session.ask(
        f"SELECT kind, name, {bucket_of('lag')} AS bucket, count() FROM ({rows.latencies()}) ARRAY JOIN lags AS lag "
        "GROUP BY kind, name, bucket ORDER BY kind, name, bucket NULLS FIRST"
    )
    histograms: dict[CellName, list[tuple[float, int]]] = {}
    for kind, name, bucket, count in found.rows:
        histograms.setdefault((str(kind), str(name)), []).append((upper_ms(bucket), integer(count)))
    return histograms


def _course(
    session: Session, rows: Lags, cells: Mapping[CellName, Cell]
) -> tuple[
    dict[CellName, list[tuple[int, int, float, float, float]]],
    dict[CellName, list[tuple[int, int, tuple[int, ...]]]],
]:
    limits = {
        f"{kind}/{name}": [round((quantile(cell, level) or 0.0) * 1000) for level in EXCEEDING_LEVELS]
        for (kind, name), cell in cells.items()
        if cell.n
    }
    if not limits:
        return {}, {}
    names = ", ".join(literal(key) for key in limits)
    values = ", ".join(f"[{', '.join(f'toInt64({us})' for us in row)}]" for row in limits.values())
    found = session.ask(
        f"WITH mapFromArrays([{names}], [{values}])[concat(kind, '/', name)] AS limits "
        "SELECT kind, name, second, sum(length(lags)) AS n, quantilesExactArray(0.5, 0.99, 1)(lags), "
        "sumForEach(arrayMap(limit -> arrayCount(lag -> lag > limit, lags), limits)) "
        f"FROM ({rows.latencies('second')}) GROUP BY kind, name, second HAVING n > 0 "
        "ORDER BY kind, name, second"
    )
    series: dict[CellName, list[tuple[int, int, float, float, float]]] = {}
    exceeding: dict[CellName, list[tuple[int, int, tuple[int, ...]]]] = {}
    for kind, name, second, n, quantiles, above in found.rows:
        key = (str(kind), str(name))
        p50, p99, most = (milliseconds(us) for us in integers(quantiles))
        series.setdefault(key, []).append((integer(second), integer(n), p50, p99, most))
        exceeding.setdefault(key, []).append((integer(second), integer(n), integers(above)))
    return series, exceeding
