# SPDX-License-Identifier: Apache-2.0
"""The aggregates of one cell, taken inside ClickHouse: none but these come back.

Two passes, since how many values exceed a quantile can be counted only when it is known. One pass reads as many cells
as ``MOST_VALUES`` allows, since exact quantiles hold all values in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Optional, Protocol

from ...platform.clickhouse import Value
from .columns import Moment
from .commits import Commits, Found
from .model import EXCEEDING_LEVELS, LEVELS, Cell, Quantiles, Span
from .selection import Selection
from .session import Session, integer, integers, literal

BUCKETS_PER_OCTAVE = 8
# Stands for lags that are not above zero.
_LEAST_BUCKET = -1_000_000
# Eight bytes each, several times over; a cell of more is read alone.
MOST_VALUES = 10_000_000


class Lags(Protocol):
    """The rows of one cell or more."""

    @property
    def names(self) -> Sequence[tuple[str, str]]:
        """Kind and name of each cell."""
        ...

    def query(self) -> str:
        """SQL: cell (place in ``names``, from 1), block_us, second, lag (microseconds or NULL), valid, ambiguous."""
        ...


@dataclass(frozen=True)
class Rows:
    """The rows of the path that began within ``span``, and their commits."""

    commits: Commits
    found: Found
    start: Moment
    span: Span

    @property
    def selection(self) -> Selection:
        """Which rows these are."""
        commits = self.commits
        return Selection(commits.route.source, self.start, self.span, commits.low_us, commits.high_us)


@dataclass(frozen=True)
class Committed:
    """Latencies of ``rows`` to the commit of the last candle tier, in a cell of each exchange or ``whole``, and of
    single ones.
    """

    rows: Rows
    exchanges: tuple[str, ...] = ()
    candles: tuple[str, ...] = ()
    whole: Optional[tuple[str, str]] = None

    @property
    def names(self) -> Sequence[tuple[str, str]]:
        """Kind and name of each cell."""
        return [
            *(("exchange", name) for name in self.exchanges),
            *(("candle", name) for name in self.candles),
            *([self.whole] if self.whole else []),
        ]

    def query(self) -> str:
        """SQL: as ``Lags`` says."""
        tiers = [candle.tier.name for candle in self.rows.commits.route.measurable]
        last = "if(has(c.committed, 0), 0, arrayMax(c.committed))"
        ends = [
            f"({len(self.exchanges) + i}, c.committed[{tiers.index(n) + 1}])" for i, n in enumerate(self.candles, 1)
        ]
        if self.exchanges:
            known = ", ".join(literal(name) for name in self.exchanges)
            ends.append(f"(toInt64(indexOf([{known}], r.k2_exchange)), {last})")
        if self.whole:
            ends.append(f"({len(self.names)}, {last})")
        return (
            "SELECT end.1 AS cell, block_us, second, valid, ambiguous, "
            "if(valid AND end.2 > 0, toNullable(end.2 - start_us), NULL) AS lag FROM ("
            "SELECT r.block_us AS block_us, r.second AS second, r.valid AS valid, r.start_us AS start_us, "
            f"c.ambiguous AS ambiguous, CAST([{', '.join(ends)}], 'Array(Tuple(Int64, Int64))') AS ends "
            f"FROM ({self.rows.selection.query()}) AS r ANY LEFT JOIN ({self.rows.found.sql}) AS c USING (block_us)"
            ") ARRAY JOIN ends AS end"
        )


def batches(rows: Rows, exchanges: Sequence[str], count: int) -> list[Committed]:
    """All exchanges and candles of ``count`` rows, in as few queries as ``MOST_VALUES`` allows.

    The exchanges count once, since each row is of one of them.
    """
    tiers = tuple(candle.tier.name for candle in rows.commits.route.measurable)
    most = max(1, MOST_VALUES // max(1, count))
    made = [Committed(rows, tuple(exchanges), tiers[: most - 1])]
    made += [Committed(rows, candles=tiers[i : i + most]) for i in range(most - 1, len(tiers), most)]
    return made


def read_cells(session: Session, lags: Lags) -> list[Cell]:
    """The cells of ``lags``; with ``n`` 0 where there is nothing."""
    return _complete(session, lags, outline(session, lags))


def outline(session: Session, lags: Lags) -> list[Cell]:
    """The cells of ``lags`` without their histogram and course over time."""
    levels = ", ".join(f"{level:g}" for level in LEVELS)
    found = session.ask(
        "SELECT cell, sum(n), countIf(n > 0), sum(n * n), sum(below), sum(lost), sum(refused), sum(if(unsure, n, 0)), "
        f"sum(total), quantilesExactMerge({levels})(state) FROM (SELECT cell, block_us, "
        "countIf(lag IS NOT NULL) AS n, countIf(lag < 0) AS below, countIf(valid AND lag IS NULL) AS lost, "
        "countIf(NOT valid) AS refused, any(ambiguous) AS unsure, coalesce(sum(lag), 0) AS total, "
        f"quantilesExactStateIf({levels})(assumeNotNull(lag), lag IS NOT NULL) AS state "
        f"FROM ({lags.query()}) GROUP BY cell, block_us) GROUP BY cell"
    ).rows
    cells = [Cell(kind, name) for kind, name in lags.names]
    for row in found:
        place, n, blocks, squares, negative, lost, refused, unsure, total = (integer(value) for value in row[:9])
        if place:
            cells[place - 1] = _filled(
                replace(
                    cells[place - 1],
                    n=n,
                    blocks=blocks,
                    sum_squares=squares,
                    negative=negative,
                    unattributed=lost,
                    invalid=refused,
                    ambiguous=unsure,
                ),
                total,
                row[9],
            )
    return cells


def _filled(cell: Cell, total_us: int, quantiles: Value) -> Cell:
    if not cell.n:
        return cell
    values = tuple(milliseconds(us) for us in integers(quantiles))
    return replace(
        cell,
        min_ms=values[0],
        max_ms=values[-1],
        mean_ms=round(total_us / cell.n / 1000, 6),
        quantiles=Quantiles(LEVELS, values, values),
    )


def _complete(session: Session, lags: Lags, cells: Sequence[Cell]) -> list[Cell]:
    """``cells`` with their histograms and their courses over time."""
    if not any(cell.n for cell in cells):
        return list(cells)
    limits = [[round((quantile(cell, level) or 0.0) * 1000) for cell in cells] for level in EXCEEDING_LEVELS]
    above = ", ".join(f"countIf(by_second AND value > {_of_cell(by_cell)})" for by_cell in limits)
    keys = f"[(true, toInt64(second)), (false, {_bucket('value')})]"
    found = session.ask(
        "SELECT cell, key.1 AS by_second, key.2 AS place, count(), "
        f"quantilesExactIf(0.5, 0.99, 1)(value, by_second), [{above}] FROM ("
        f"SELECT cell, second, assumeNotNull(l.lag) AS value FROM ({lags.query()}) AS l WHERE l.lag IS NOT NULL) "
        f"ARRAY JOIN {keys} AS key GROUP BY cell, by_second, place ORDER BY cell, by_second, place"
    ).rows
    done = list(cells)
    for number, each in enumerate(cells, 1):
        histogram, series, exceeding = [], [], []
        for _, by_second, place, n, quantiles, hits in (row for row in found if row[0] == number):
            if not by_second:
                histogram.append((_upper_ms(integer(place)), integer(n)))
                continue
            p50, p99, most = (milliseconds(us) for us in integers(quantiles))
            series.append((integer(place), integer(n), p50, p99, most))
            exceeding.append((integer(place), integer(n), integers(hits)))
        done[number - 1] = replace(each, histogram=tuple(histogram), series=tuple(series), exceeding=tuple(exceeding))
    return done


def _of_cell(limits: Sequence[int]) -> str:
    """SQL: the limit of the row's cell."""
    return str(limits[0]) if len(limits) == 1 else f"{list(limits)}[cell]"


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
