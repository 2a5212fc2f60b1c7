# SPDX-License-Identifier: Apache-2.0
"""The stretches of the path: from one moment to another, each where columns, commits or a histogram can tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Optional, Union

from ...core.errors import K2Error
from ...profile.model import CANDLES, DEFAULT_SEGMENTS, Profile, Segment, Store
from .cells import Committed, Rows, read_cells
from .columns import Moment, coarseness
from .commits import LONGEST_INSERT_US
from .histogram import Scrape, growth
from .model import Cell, Refusal, Span
from .route import COMMITTED, EXCHANGE, Source, read_source
from .session import Session, integer
from .survey import EARLIEST_US, FINENESS, refuse_coarse

KIND = "segment"


class NotMeasurable(Exception):  # noqa: N818 - a reason on its way to the cell, never an error of the run
    """Why a segment cannot be measured, and the column that is refused, if one is."""

    def __init__(self, why: str, refusal: Optional[Refusal] = None) -> None:
        super().__init__(why)
        self.refusal = refusal


@dataclass(frozen=True)
class Pairs:
    """Both moments of a segment, from one table or from two that are joined by the records' offsets."""

    name: str
    first: Source
    start: Moment
    second: Source
    end: Moment
    span: Span

    @property
    def names(self) -> Sequence[tuple[str, str]]:
        """Kind and name of the cell."""
        return [(KIND, self.name)]

    def selected(self) -> str:
        """SQL: exchange, start_us, end_us (NULL where it is not known), block_us, second."""
        names = (
            "SELECT k2_exchange, k2_start AS start_us, k2_end AS end_us, k2_block AS block_us, "
            f"intDiv(k2_start - {self.span.start_us}, 1000000) AS second"
        )
        beginning = f"{self.first.exchange} AS k2_exchange, assumeNotNull({self.start.as_us()}) AS k2_start"
        ending = f"{self.end.as_us()} AS k2_end, {self._block()} AS k2_block"
        if self.first is self.second:
            return f"{names} FROM (SELECT {beginning}, {ending} FROM {self.first.tier.table} WHERE {self._beginning()})"
        left = ", ".join(f"{name} AS k2_{i}" for i, name in enumerate(self.first.tier.offset_columns))
        right = ", ".join(f"{name} AS k2_{i}" for i, name in enumerate(self.second.tier.offset_columns))
        keys = ", ".join(f"k2_{i}" for i in range(len(self.first.tier.offset_columns)))
        low, high = self.span.start_us - EARLIEST_US, self.span.end_us + LONGEST_INSERT_US
        return (
            f"{names} FROM (SELECT a.k2_exchange, a.k2_start, if(b.k2_found, b.k2_end, NULL) AS k2_end, b.k2_block "
            f"FROM (SELECT {left}, {beginning} FROM {self.first.tier.table} WHERE {self._beginning()}) AS a "
            f"ANY LEFT JOIN (SELECT {right}, {ending}, true AS k2_found "
            f"FROM {self.second.tier.table} WHERE {self.end.bounds(low, high)}) AS b USING ({keys}))"
        )

    def query(self) -> str:
        """SQL: as ``cells.Lags`` says."""
        return (
            "SELECT 1 AS cell, block_us, second, true AS valid, false AS ambiguous, "
            f"if(end_us IS NULL, NULL, toNullable(assumeNotNull(end_us) - start_us)) AS lag FROM ({self.selected()})"
        )

    def _beginning(self) -> str:
        written = self.first.moments.get(COMMITTED)
        within = self.start.bounds(self.span.start_us, self.span.end_us)
        if written is None or written.type_us is None:
            return within
        return f"{within} AND {written.bounds(self.span.start_us - EARLIEST_US, None)}"

    def _block(self) -> str:
        """Rows that were written at once are dependent; where no column tells, those that ended at once."""
        return f"assumeNotNull({self.second.moments.get(COMMITTED, self.end).as_us()})"


def segments_of(profile: Profile) -> tuple[Segment, ...]:
    """The segments that ``profile`` tells, else those of a market-data platform."""
    return profile.load.segments if profile.load is not None else DEFAULT_SEGMENTS


def measure_segments(
    profile: Profile,
    session: Session,
    span: Span,
    rows: Optional[Rows],
    why_no_commit: str,
    scrapes: Optional[tuple[Scrape, Scrape]],
) -> tuple[tuple[Cell, ...], tuple[Refusal, ...]]:
    """The cells of all segments, and the columns that were refused.

    ``rows`` are those of the path, None where their commits are not known; ``why_no_commit`` says why. ``scrapes`` were
    taken at begin and end of the watch, None where the window was over before.
    """
    sources = _sources(profile, session)
    cells, refused = [], []
    for segment in segments_of(profile):
        try:
            cells.append(_measure(profile, session, segment, sources, span, rows, why_no_commit))
        except NotMeasurable as reason:
            if reason.refusal is not None:
                refused.append(reason.refusal)
            cells.append(_by_histogram(profile, segment, str(reason), scrapes))
    return tuple(cells), tuple(refused)


def _by_histogram(profile: Profile, segment: Segment, why_not: str, scrapes: Optional[tuple[Scrape, Scrape]]) -> Cell:
    """What the services' own histogram tells where columns cannot, for the reason ``why_not``."""
    metric = profile.metric_names.get(segment.histogram or "")
    if metric is None:
        return Cell(KIND, segment.name, f"not measurable here: {why_not}")
    if scrapes is None:
        why = f"{why_not}; the histogram {metric} tells only what happens while it is watched"
        return Cell(KIND, segment.name, f"not measurable here: {why}")
    return growth(segment, metric, *scrapes)


def _sources(profile: Profile, session: Session) -> tuple[Source, ...]:
    """The tiers of records that are there, in the order of the path; one that cannot be read has no moments."""
    sources = []
    for tier in profile.tiers:
        if tier.store is Store.CLICKHOUSE and not tier.timeframe and profile.clickhouse is not None:
            try:
                sources.append(read_source(tier, session, profile.clickhouse.database))
            except K2Error:
                continue
    return tuple(sources)


def _measure(
    profile: Profile,
    session: Session,
    segment: Segment,
    sources: Sequence[Source],
    span: Span,
    rows: Optional[Rows],
    why_no_commit: str,
) -> Cell:
    needed_us = segment.target_ms * 1000 / FINENESS
    lags: Union[Committed, Pairs]
    end: Optional[Moment]
    if segment.end == CANDLES:
        lags = to_candles = _to_candles(segment, rows, why_no_commit)
        start, end = to_candles.rows.start, None
        seen = f"SELECT *, CAST(NULL, 'Nullable(Int64)') AS end_us FROM ({to_candles.rows.selection.query()})"
    else:
        lags = pairs = _pairs(segment, sources, span)
        start, end, seen = pairs.start, pairs.end, pairs.selected()
    for moment in (start, end):
        if moment is not None:
            _refuse(refuse_coarse(moment, needed_us, None))
    _refuse_padded(session, seen, start, end, needed_us)
    (cell,) = read_cells(session, lags)
    if not cell.n:
        return replace(cell, why="no row of the window was found")
    if segment.start == EXCHANGE and not profile.platform.clock.exchanges_share_it:
        return replace(cell, why="not gated: the exchanges' clocks are not the platform's and their error is unknown")
    return cell


def _to_candles(segment: Segment, rows: Optional[Rows], why_not: str) -> Committed:
    if rows is None:
        raise NotMeasurable(why_not)
    source = rows.commits.route.source
    start = _moment(source, segment.start)
    if start is None:
        raise NotMeasurable(f"tier {source.tier.name} has no column for {segment.start}")
    return Committed(replace(rows, start=start), whole=(KIND, segment.name))


def _pairs(segment: Segment, sources: Sequence[Source], span: Span) -> Pairs:
    """Where both moments are: in one tier, the last that has both, else in two that share offsets."""
    for source in reversed(sources):
        start, end = _moment(source, segment.start), _moment(source, segment.end)
        if start is not None and end is not None:
            return Pairs(segment.name, source, start, source, end, span)
    starts = [(source, moment) for source in sources for moment in [_moment(source, segment.start)] if moment]
    ends = [(source, moment) for source in sources for moment in [_moment(source, segment.end)] if moment]
    for name, found in ((segment.start, starts), (segment.end, ends)):
        if not found:
            raise NotMeasurable(f"no tier in ClickHouse has a column for {name}")
    for first, start in reversed(starts):
        for second, end in ends:
            if first.tier.offset_columns and len(first.tier.offset_columns) == len(second.tier.offset_columns):
                return Pairs(segment.name, first, start, second, end, span)
    raise NotMeasurable(
        f"{starts[-1][0].tier.name} holds {segment.start}, {ends[0][0].tier.name} holds {segment.end}, and they share "
        "no offset_columns to join them by"
    )


def _moment(source: Source, name: str) -> Optional[Moment]:
    own = COMMITTED if name == source.tier.name else name
    return source.moments.get(name) or source.moments.get(own)


def _refuse(refusal: Optional[Refusal]) -> None:
    if refusal is not None:
        raise NotMeasurable(refusal.reason, refusal)


def _refuse_padded(session: Session, seen: str, start: Moment, end: Optional[Moment], needed_us: float) -> None:
    """Refuse a column whose values, of one exchange at least, are coarser than its type."""
    found = session.ask(
        f"SELECT k2_exchange, count(end_us), {coarseness('start_us')}, {coarseness('end_us')} FROM ({seen}) "
        "GROUP BY k2_exchange ORDER BY k2_exchange"
    )
    for exchange, ends, start_us, end_us in found.rows:
        whose = f" of {exchange}"
        _refuse(refuse_coarse(start, needed_us, integer(start_us), whose))
        if end is not None and integer(ends):
            _refuse(refuse_coarse(end, needed_us, integer(end_us), whose))
