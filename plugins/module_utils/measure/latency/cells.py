# SPDX-License-Identifier: Apache-2.0
"""The aggregates of one cell, taken inside ClickHouse: none but these come back.

Two passes, since how many values exceed a quantile can be counted only when it is known. A cell at a time, since exact
quantiles hold all values of the cell in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional, Protocol

from .columns import Moment
from .commits import Commits
from .model import EXCEEDING_LEVELS, LEVELS, Cell, Quantiles, Span
from .selection import Selection
from .session import Session, integer, integers

BUCKETS_PER_OCTAVE = 8
# Stands for lags that are not above zero.
_LEAST_BUCKET = -1_000_000


class Lags(Protocol):
    """The rows of a cell."""

    @property
    def kind(self) -> str:
        """What the cell is of."""
        ...

    @property
    def name(self) -> str:
        """Which one it is."""
        ...

    def query(self) -> str:
        """SQL: block_us, second, lag (microseconds; NULL of a row that has none), valid, ambiguous."""
        ...


@dataclass(frozen=True)
class Rows:
    """The rows of the path that began within ``span``, and how to find their commits."""

    commits: Commits
    start: Moment
    span: Span

    @property
    def selection(self) -> Selection:
        """Which rows these are."""
        commits = self.commits
        return Selection(commits.route.source, self.start, self.span, commits.low_us, commits.high_us)


@dataclass(frozen=True)
class Committed:
    """Latencies of ``rows`` to the commit of one candle tier, or of the last one; of one exchange, or of all."""

    kind: str
    name: str
    rows: Rows
    candle: Optional[str] = None
    exchange: Optional[str] = None

    def query(self) -> str:
        """SQL: as ``Lags`` says."""
        selection = replace(self.rows.selection, exchange=self.exchange)
        return (
            "SELECT r.block_us AS block_us, r.second AS second, r.valid AS valid, c.ambiguous AS ambiguous, "
            "if(r.valid AND c.at > 0, toNullable(c.at - r.start_us), NULL) AS lag "
            f"FROM ({selection.query()}) AS r ANY LEFT JOIN "
            f"(SELECT block_us, {self._commit()} AS at, ambiguous FROM ({self.rows.commits.query()})) AS c "
            "USING (block_us)"
        )

    def _commit(self) -> str:
        if self.candle is None:
            return "if(has(committed, 0), 0, arrayMax(committed))"
        names = [candle.tier.name for candle in self.rows.commits.route.measurable]
        return f"committed[{names.index(self.candle) + 1}]"


def read_cell(session: Session, lags: Lags) -> Cell:
    """The cell of ``lags`` but for what ``complete`` adds; with ``n`` 0 where there is nothing."""
    levels = ", ".join(f"{level:g}" for level in LEVELS)
    (row,) = session.ask(
        "SELECT sum(n), countIf(n > 0), sum(n * n), sum(below), sum(lost), sum(refused), sum(if(unsure, n, 0)), "
        f"sum(total), quantilesExactMerge({levels})(state) FROM (SELECT block_us, "
        "countIf(lag IS NOT NULL) AS n, countIf(lag < 0) AS below, countIf(valid AND lag IS NULL) AS lost, "
        "countIf(NOT valid) AS refused, any(ambiguous) AS unsure, coalesce(sum(lag), 0) AS total, "
        f"quantilesExactStateIf({levels})(assumeNotNull(lag), lag IS NOT NULL) AS state "
        f"FROM ({lags.query()}) GROUP BY block_us)"
    ).rows
    n, blocks, squares, negative, lost, refused, unsure = (integer(value) for value in row[:7])
    cell = Cell(
        kind=lags.kind,
        name=lags.name,
        n=n,
        blocks=blocks,
        sum_squares=squares,
        negative=negative,
        unattributed=lost,
        invalid=refused,
        ambiguous=unsure,
    )
    if not n:
        return cell
    values = tuple(milliseconds(us) for us in integers(row[8]))
    return replace(
        cell,
        min_ms=values[0],
        max_ms=values[-1],
        mean_ms=round(integer(row[7]) / n / 1000, 6),
        quantiles=Quantiles(LEVELS, values, values),
    )


def complete(session: Session, lags: Lags, cell: Cell) -> Cell:
    """``cell`` with its histogram and its course over time."""
    if cell.quantiles is None:
        return cell
    limits = [round((quantile(cell, level) or 0.0) * 1000) for level in EXCEEDING_LEVELS]
    above = ", ".join(f"countIf(by_second AND value > {limit})" for limit in limits)
    keys = f"[(true, toInt64(second)), (false, {_bucket('value')})]"
    found = session.ask(
        "SELECT key.1 AS by_second, key.2 AS place, count(), "
        f"quantilesExactIf(0.5, 0.99, 1)(value, by_second), [{above}] FROM ("
        f"SELECT second, assumeNotNull(l.lag) AS value FROM ({lags.query()}) AS l WHERE l.lag IS NOT NULL) "
        f"ARRAY JOIN {keys} AS key GROUP BY by_second, place ORDER BY by_second, place"
    ).rows
    histogram, series, exceeding = [], [], []
    for by_second, place, n, quantiles, hits in found:
        if not by_second:
            histogram.append((_upper_ms(integer(place)), integer(n)))
            continue
        p50, p99, most = (milliseconds(us) for us in integers(quantiles))
        series.append((integer(place), integer(n), p50, p99, most))
        exceeding.append((integer(place), integer(n), integers(hits)))
    return replace(cell, histogram=tuple(histogram), series=tuple(series), exceeding=tuple(exceeding))


def milliseconds(us: int) -> float:
    """Microseconds as milliseconds."""
    return us / 1000


def quantile(cell: Cell, level: float) -> Optional[float]:
    """The upper value of a level that the grid holds; None of nothing."""
    return None if cell.quantiles is None else cell.quantiles.high_ms[cell.quantiles.levels.index(level)]


def _bucket(lag: str) -> str:
    """SQL: number of the log-spaced bucket that ``lag``, in microseconds, lies in."""
    return f"if({lag} > 0, toInt64(ceil({BUCKETS_PER_OCTAVE} * log2(greatest({lag}, 1) / 1000))), {_LEAST_BUCKET})"


def _upper_ms(bucket: int) -> float:
    return 0.0 if bucket == _LEAST_BUCKET else float(round(2 ** (bucket / BUCKETS_PER_OCTAVE), 6))
