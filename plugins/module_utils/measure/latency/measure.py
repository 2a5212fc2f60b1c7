# SPDX-License-Identifier: Apache-2.0
"""The measurement of a window, from its watch to its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from ...core.clock import rfc3339, utc_us
from ...core.errors import K2Error
from ...core.progress import Progress
from ...platform.clickhouse import ClickHouseClient
from ...profile.model import Profile
from .cells import Committed, Rows, batches, milliseconds, read_cells
from .columns import Moment
from .commits import Commits, Found, find
from .counts import late_and_duplicate
from .histogram import Scrape, read_all, wanted
from .model import Cell, Cost, Latency, Refusal, Span, WarmUp
from .plan import CommitSource, Plan, make_plan
from .probe import Prober, probed_cells
from .route import COMMITTED
from .segments import measure_segments, segments_of
from .selection import Selection
from .session import Limits, Session, integer
from .survey import FINENESS, Survey, refuse_coarse, survey
from .warm_up import mser5
from .watch import SteadyClock, settle, wait_for, watch

# Means of more insert blocks than this are not brought back.
MOST_BLOCKS = 200_000


@dataclass(frozen=True)
class Wish:
    """What is to be measured, and within which limits."""

    window: Span
    target_ms: float
    commit_source: CommitSource
    drain_timeout_s: float
    limits: Limits
    cluster: Optional[str]
    cut_warm_up: bool

    @property
    def needed_us(self) -> float:
        """How fine a time must be, in microseconds."""
        return self.target_ms * 1000 / FINENESS


def measure(profile: Profile, wish: Wish, progress_file: Optional[Path]) -> Latency:
    """Wait for the window's end, then until all is committed, and measure.

    Raises K2Error where nothing can be said of any cell: an empty window, no section or tier to measure, a database
    that cannot be reached, a table or column that is missing, more rows than allowed.
    """
    if profile.clickhouse is None:
        raise K2Error("latency cannot be measured", expected="a section k2_clickhouse in the profile", seen="none")
    if wish.window.end_us <= wish.window.start_us:
        raise K2Error(
            "the window is empty",
            expected="window_end_us after window_start_us",
            seen=f"{rfc3339(wish.window.start_us)} to {rfc3339(wish.window.end_us)}",
        )
    client = ClickHouseClient(profile.clickhouse)
    session, probing = Session(client, wish.limits), Session(client, wish.limits)
    plan = make_plan(profile, session, wish.window, wish.commit_source, wish.cluster)
    with Progress(progress_file, "measuring latency", unit="s") as progress:
        latency = _Measurement(profile, wish, session, probing, plan, progress).run()
    return replace(latency, cost=_sum(session.cost, probing.cost))


class _Measurement:
    """One measurement; its parts share what does not change between them."""

    def __init__(
        self, profile: Profile, wish: Wish, session: Session, probing: Session, plan: Plan, progress: Progress
    ) -> None:
        self._profile = profile
        self._wish = wish
        self._session = session
        self._probing = probing
        self._plan = plan
        self._progress = progress
        self._source = plan.route.source
        self._scrapes: Optional[tuple[Scrape, Scrape]] = None
        # Of the last look, which is what the measurement rests on.
        self._found: Optional[Found] = None

    def run(self) -> Latency:
        plan, wish = self._plan, self._wish
        clock = SteadyClock.now()
        prober = Prober(self._probing, plan.route) if plan.end.source == "probe" else None
        try:
            self._watch(clock)
            if plan.start is None or plan.end.source == "none":
                result = self._without_path(self._blank(plan.end.why), None)
            else:
                result = self._path(plan.start, prober)
        finally:
            if prober is not None:
                prober.stop()
        clock.look()
        if abs(clock.worst_us) > wish.needed_us:
            why = f"the clock of this machine was set by {clock.worst_us / 1000:+.1f} ms during the watch"
            result = replace(result, cells=tuple(replace(cell, why=cell.why or why) for cell in result.cells))
        return result

    def _watch(self, clock: SteadyClock) -> None:
        metrics = wanted(self._profile, segments_of(self._profile)) if self._wish.window.end_us > utc_us() else ()
        wait_for(self._wish.window, clock, self._progress)
        before = read_all(self._profile, metrics) if metrics else None
        watch(self._session, self._source, self._plan.start, self._wish.window, clock, self._progress)
        if before is not None:
            self._scrapes = (before, read_all(self._profile, metrics))

    def _path(self, start: Moment, prober: Optional[Prober]) -> Latency:
        wish, window = self._wish, self._wish.window
        seen = settle(
            lambda: survey(self._session, self._source, start, window),
            lambda seen: self._pending(seen, prober),
            window,
            wish.drain_timeout_s,
            self._progress,
        )
        end = self._plan.end
        if prober is not None:
            prober.stop()
            end = replace(
                end,
                resolution_ms=milliseconds(prober.gap_us),
                why=f"{end.why}; {len(prober.probes)} probes, at most {milliseconds(prober.gap_us):g} ms apart"
                + (f"; some failed: {prober.trouble}" if prober.trouble else ""),
            )
        refused, reasons = self._refusals(seen, start)
        result = replace(self._blank(None), rows_in_window=seen.rows, end=end, refused=refused)
        blocks = seen.blocks
        if blocks is None:
            return self._without_path(result, "no row of the window was found")
        if "" in reasons:
            return self._without_path(result, f"not measurable here: {reasons['']}")
        if prober is not None:
            selection = Selection(self._source, start, window, blocks.start_us, blocks.end_us)
            cells = probed_cells(self._session, self._plan.route, selection, prober)
            why = f"commits are known between two probes only, {milliseconds(prober.gap_us):g} ms apart at most"
            return self._with_cells(result, selection, seen, cells, reasons, None, why)
        commits = self._commits(blocks)
        rows = Rows(commits, self._found or find(self._session, commits), start, window)
        if wish.cut_warm_up:
            rows, warm_up = cut_warm_up(self._session, rows)
            result = replace(result, warm_up=warm_up, measured=rows.span)
        exchanges = [sight.exchange for sight in seen.sights]
        cells = [cell for lags in batches(rows, exchanges, seen.rows) for cell in read_cells(self._session, lags)]
        return self._with_cells(result, rows.selection, seen, cells, reasons, rows, end.why)

    def _commits(self, blocks: Span) -> Commits:
        return Commits(self._plan.route, self._plan.log, blocks.start_us, blocks.end_us)

    def _pending(self, seen: Survey, prober: Optional[Prober]) -> tuple[int, int]:
        if seen.blocks is None:
            return 0, 0
        if prober is not None:
            return len({s.last_block_us for s in seen.sights}), prober.pending()
        self._found = find(self._session, self._commits(seen.blocks))
        return self._found.blocks, self._found.without

    def _refusals(self, seen: Survey, start: Moment) -> tuple[tuple[Refusal, ...], dict[str, str]]:
        """Columns that are too coarse, and the reasons by exchange; the reason of all is that of the empty name."""
        needed_us = self._wish.needed_us
        refused: list[Refusal] = []
        reasons: dict[str, str] = {}
        for moment, values_us in ((start, None), (self._source.moments[COMMITTED], seen.written_us())):
            refusal = refuse_coarse(moment, needed_us, values_us if seen.rows else None)
            if refusal is not None:
                refused.append(refusal)
                reasons.setdefault("", refusal.reason)
        for sight in seen.sights if not reasons else ():
            refusal = refuse_coarse(start, needed_us, sight.start_us, f" of {sight.exchange}")
            if refusal is not None:
                refused.append(refusal)
                reasons[sight.exchange] = refusal.reason
        return tuple(refused), reasons

    def _blank(self, why: Optional[str]) -> Latency:
        """The result before anything is measured: every exchange and candle has its cell."""
        route, window = self._plan.route, self._wish.window
        cells = [Cell("exchange", name, why) for name in self._source.exchanges(self._profile)]
        for candle in route.candles:
            reason = why if candle.why_not is None else f"not measurable here: {candle.why_not}"
            cells.append(Cell("candle", candle.tier.name, reason))
        cut = self._wish.cut_warm_up and self._plan.end.source == "part_log"
        nothing = WarmUp("MSER-5" if cut else "none", 0.0, 0)
        cost = self._session.cost
        return Latency(window, window, nothing, self._plan.begin, self._plan.end, (), tuple(cells), 0, cost)

    def _without_path(self, result: Latency, why: Optional[str]) -> Latency:
        cells = tuple(replace(cell, why=cell.why or why) for cell in result.cells)
        return self._with_segments(replace(result, cells=cells), None, why or result.end.why)

    def _with_cells(
        self,
        result: Latency,
        selection: Selection,
        seen: Survey,
        cells: Sequence[Cell],
        reasons: Mapping[str, str],
        rows: Optional[Rows],
        why_no_commit: str,
    ) -> Latency:
        counted = self._counted(replace(selection, span=result.measured), cells)
        rows_of = {sight.exchange: sight.rows for sight in seen.sights}
        named = []
        for blank in result.cells:
            cell = counted.get((blank.kind, blank.name), blank)
            entered = rows_of.get(blank.name, 0) if blank.kind == "exchange" else seen.rows
            named.append(_explained(cell, reasons, entered, seen.without_start))
        return self._with_segments(replace(result, cells=tuple(named)), rows, why_no_commit)

    def _counted(self, selection: Selection, cells: Sequence[Cell]) -> dict[tuple[str, str], Cell]:
        """``cells`` with the counts of irregular rows; a candle's are those of all exchanges together."""
        by_exchange = late_and_duplicate(self._session, self._plan.route, selection)
        late = sum(each.late or 0 for each in by_exchange.values())
        known = [each.duplicates for each in by_exchange.values() if each.duplicates is not None]
        counted = {}
        for cell in cells:
            if cell.kind == "exchange":
                own = by_exchange.get(cell.name)
                counts = (own.late, own.duplicates) if own else (0, 0 if known else None)
            else:
                counts = (late, sum(known) if known else None)
            counted[cell.kind, cell.name] = replace(cell, late=counts[0], duplicates=counts[1])
        return counted

    def _with_segments(self, result: Latency, rows: Optional[Rows], why_no_commit: str) -> Latency:
        cells, refused = measure_segments(
            self._profile, self._session, result.measured, rows, why_no_commit, self._scrapes
        )
        return replace(result, cells=(*result.cells, *cells), refused=(*result.refused, *refused))


def cut_warm_up(session: Session, rows: Rows) -> tuple[Rows, WarmUp]:
    """``rows`` from the end of the warm-up on, which MSER-5 finds in the mean latency of each insert block."""
    every = Committed(rows, whole=("path", "")).query()
    found = session.ask(
        f"SELECT block_us, round(avg(lag)) FROM ({every}) AS l WHERE l.lag IS NOT NULL "
        f"GROUP BY block_us ORDER BY block_us LIMIT {MOST_BLOCKS}"
    ).rows
    cut = mser5([float(str(mean)) for _, mean in found])
    span = rows.span
    if cut:
        first = integer(found[cut][0])
        began = session.ask(f"SELECT min(start_us) FROM ({rows.selection.query()}) WHERE block_us = {first}").scalar()
        span = replace(span, start_us=max(span.start_us, integer(began)))
    return replace(rows, span=span), WarmUp("MSER-5", (span.start_us - rows.span.start_us) / 1e6, len(found))


def _explained(cell: Cell, reasons: Mapping[str, str], entered: int, without_start: int) -> Cell:
    """``cell`` with why it cannot be used, if it cannot; rows without a start may be anybody's."""
    cell = replace(cell, unattributed=cell.unattributed + without_start)
    why: Optional[str] = None
    if cell.kind == "exchange" and cell.name in reasons:
        why = f"not measurable here: {reasons[cell.name]}"
    elif cell.kind == "candle" and reasons:
        why = "not measurable here: " + "; ".join(reasons.values())
    elif not cell.n and cell.invalid and not cell.unattributed:
        why = f"none of {cell.invalid} rows is valid"
    elif not cell.n and entered:
        why = f"none of {entered} rows has a known commit"
    elif not cell.n:
        why = "no row of the window was found"
    return replace(cell, why=cell.why or why)


def _sum(one: Cost, other: Cost) -> Cost:
    return Cost(
        one.queries + other.queries,
        one.rows_read + other.rows_read,
        one.bytes_read + other.bytes_read,
        round(one.elapsed_s + other.elapsed_s, 6),
        one.without_limits or other.without_limits,
    )
