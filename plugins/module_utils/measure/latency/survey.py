# SPDX-License-Identifier: Apache-2.0
"""A first look at the rows of a window: how many, when they were written, and how fine their times really are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .columns import Moment, coarseness
from .model import Refusal, Span
from .route import COMMITTED, Source
from .session import Session, integer

# Rows may seem written before they began, by clocks that differ; none is looked for further back than this.
EARLIEST_US = 60_000_000
# What is finer than a twentieth of the target changes a verdict by less than 5 %.
FINENESS = 20


@dataclass(frozen=True)
class Sight:
    """The rows of one exchange: their number, the first and last time of writing, and how coarse the values are."""

    exchange: str
    rows: int
    first_block_us: int
    last_block_us: int
    start_us: int
    written_us: int


@dataclass(frozen=True)
class Survey:
    """The rows of a window by exchange, and how many in its time of writing have no start at all."""

    sights: tuple[Sight, ...]
    without_start: int

    @property
    def rows(self) -> int:
        """All rows of the window."""
        return sum(sight.rows for sight in self.sights)

    @property
    def blocks(self) -> Optional[Span]:
        """First and last time of writing, both included; None of nothing."""
        if not self.sights:
            return None
        return Span(min(s.first_block_us for s in self.sights), max(s.last_block_us for s in self.sights))

    def written_us(self) -> int:
        """How coarse the times of writing are, over all rows."""
        return min((sight.written_us for sight in self.sights), default=1)


def survey(session: Session, source: Source, start: Moment, window: Span) -> Survey:
    """Look at the rows that began within ``window``; raises TooManyRows before the server would read too many."""
    written = source.moments[COMMITTED]
    within = f"FROM {source.tier.table} WHERE {written.bounds(window.start_us - EARLIEST_US, None)}"
    session.refuse_wide(f"SELECT count() {within}")
    began, block = start.as_us(), written.as_us()
    found = session.ask(
        f"SELECT {source.exchange} AS k2_exchange, count(), min({block}), max({block}), {coarseness(began)}, "
        f"{coarseness(block)} {within} AND {start.bounds(window.start_us, window.end_us)} "
        "GROUP BY k2_exchange ORDER BY k2_exchange"
    )
    blank = 0
    if start.type.startswith(("Nullable", "LowCardinality(Nullable")):
        absent = f"{within} AND {written.bounds(None, window.end_us)} AND {start.column} IS NULL"
        blank = integer(session.ask(f"SELECT count() {absent}").scalar())
    sights = tuple(Sight(str(row[0]), *(integer(value) for value in row[1:])) for row in found.rows)
    return Survey(sights, blank)


def refuse_coarse(moment: Moment, needed_us: float, values_us: Optional[int], whose: str = "") -> Optional[Refusal]:
    """Why ``moment`` cannot carry a latency, if it cannot.

    ``values_us`` is how coarse the values seen are; ``whose`` they are is said in the reason.
    """
    needed = f"at most {needed_us / 1000:g} ms (a twentieth of the target) are needed"
    column = f"{moment.column} of {moment.tier}"
    resolution_us = moment.type_us
    if resolution_us is None:
        reason = f"{column} is a {moment.type}, which holds no time"
    elif resolution_us > needed_us:
        reason = f"{column} ({moment.type}) tells {_span(resolution_us)}, {needed}"
    elif values_us is not None and values_us > needed_us:
        resolution_us = values_us
        reason = (
            f"{column} is a {moment.type}, but all values seen{whose} are multiples of {_span(values_us)}: "
            f"it was padded from a coarser time; {needed}"
        )
    else:
        return None
    resolution_ms = None if resolution_us is None else resolution_us / 1000
    return Refusal(moment.name, moment.tier, moment.column, moment.type, resolution_ms, needed_us / 1000, reason)


def _span(us: int) -> str:
    return f"{us / 1_000_000:g} s" if us >= 1_000_000 else f"{us / 1000:g} ms"
