# SPDX-License-Identifier: Apache-2.0
"""The measurement of a window, from its watch to its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Optional

from ...core.errors import K2Error
from ...core.progress import Progress
from ...platform.clickhouse import ClickHouseClient, QueryError
from ...profile.model import Profile
from .cells import CellName, Rows, complete, milliseconds, read_cells
from .columns import Moment
from .commits import Commits, log_of
from .counts import late_and_duplicate
from .model import Cell, End, Latency, Refusal, Span, Start, WarmUp
from .route import COMMITTED, EXCHANGE, RECEIVED, Route, find_route
from .segments import measure_segments
from .session import Limits, Session, integer
from .survey import FINENESS, Survey, refuse_coarse, survey
from .warm_up import mser5
from .watch import SteadyClock, settle, watch

# Means of more insert blocks than this are not brought back.
MOST_BLOCKS = 200_000


class CommitSource(Enum):
    """Where commits are read from."""

    AUTO = "auto"
    PART_LOG = "part_log"
    PROBE = "probe"


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

    Raises K2Error where nothing can be said of any cell: no section or tier to measure, database unreachable, table or
    column missing, more rows than allowed.
    """
    if profile.clickhouse is None:
        raise K2Error("latency cannot be measured", expected="a section k2_clickhouse in the profile", seen="none")
    session = Session(ClickHouseClient(profile.clickhouse), wish.limits)
    route = find_route(profile, session)
    start = find_start(profile, route)
    clock = SteadyClock.now()
    began = route.source.moments.get(start.moment or "")
    with Progress(progress_file, "measuring latency", unit="s") as progress:
        if began is not None:
            watch(session, route.source, began, wish.window, clock, progress)
        result = _measure(profile, wish, session, route, start, began, progress)
    if abs(clock.worst_us) > wish.needed_us:
        why = f"the clock of this machine was set by {clock.worst_us / 1000:+.1f} ms during the watch"
        result = replace(result, cells=tuple(replace(cell, why=cell.why or why) for cell in result.cells))
    return replace(result, cost=session.cost)


def find_start(profile: Profile, route: Route) -> Start:
    """Where the path begins, and whether a verdict may rest on it.

    The exchange's time counts where its clock is the platform's own; else the receipt by the platform, where a column
    of the source tells it; else the exchange's time, for information.
    """
    moments = route.source.moments
    if EXCHANGE in moments and profile.platform.clock.exchanges_share_it:
        return _start(moments[EXCHANGE], True, "the exchanges' times come from the platform's own clock")
    if RECEIVED in moments:
        why = "the exchanges' clocks are not the platform's, so the path begins at the receipt"
        return _start(moments[RECEIVED], True, why)
    if EXCHANGE in moments:
        why = (
            "not gated: the exchanges' clocks are not the platform's and their error is unknown, and no column of "
            f"{route.source.tier.name} holds the receipt"
        )
        return _start(moments[EXCHANGE], False, why)
    why = f"not measurable here: tier {route.source.tier.name} has no column for the hops {EXCHANGE} or {RECEIVED}"
    return Start(None, route.source.tier.name, None, None, False, why)


def _start(moment: Moment, gated: bool, why: str) -> Start:
    resolution_ms = None if moment.type_us is None else milliseconds(moment.type_us)
    return Start(moment.name, moment.tier, moment.column, resolution_ms, gated, why)


def _measure(
    profile: Profile,
    wish: Wish,
    session: Session,
    route: Route,
    start: Start,
    began: Optional[Moment],
    progress: Progress,
) -> Latency:
    """What there is to say after the watch."""
    blank = Latency(
        window=wish.window,
        measured=wish.window,
        warm_up=WarmUp("MSER-5", 0.0, 0),
        start=start,
        end=End("none", None, start.why),
        refused=(),
        cells=_unmeasured(profile, route, start.why),
        rows_in_window=0,
        cost=session.cost,
    )
    written = route.source.moments.get(COMMITTED)
    if began is None:
        return _with_segments(profile, session, blank, None)
    if written is None:
        why = f"not measurable here: tier {route.source.tier.name} has no column for the hop {COMMITTED}"
        blank = replace(blank, end=End("none", None, why), cells=_unmeasured(profile, route, why))
        return _with_segments(profile, session, blank, None)
    log = log_of(wish.cluster)
    why_not = log_missing(session, log)
    if why_not is not None:
        why = f"not measurable here: {why_not}"
        blank = replace(blank, end=End("none", None, why), cells=_unmeasured(profile, route, why))
        return _with_segments(profile, session, blank, None)

    def commits(blocks: Span) -> Commits:
        return Commits(route, log, blocks.start_us, blocks.end_us)

    moment = began
    seen = settle(
        lambda: survey(session, route.source, moment, wish.window),
        commits,
        session,
        wish.window,
        wish.drain_timeout_s,
        progress,
    )
    blank = replace(blank, rows_in_window=seen.rows, end=_end_of_log(route, wish))
    refused, reasons = _refusals(wish, seen, began, written)
    blank = replace(blank, refused=refused)
    if seen.blocks is None:
        why = "no row of the window was found"
        blank = replace(blank, cells=_unmeasured(profile, route, why))
        return _with_segments(profile, session, blank, None)
    if "" in reasons:
        blank = replace(blank, cells=_unmeasured(profile, route, f"not measurable here: {reasons['']}"))
        return _with_segments(profile, session, blank, None)
    rows = Rows(commits(seen.blocks), began, wish.window)
    if wish.cut_warm_up:
        rows, warm_up = cut_warm_up(session, rows)
        blank = replace(blank, warm_up=warm_up, measured=rows.span)
    cells = complete(session, rows, read_cells(session, rows))
    cells = _counted(session, rows, cells)
    named = tuple(
        _explained(cells.get((cell.kind, cell.name), cell), reasons) for cell in _unmeasured(profile, route, None)
    )
    return _with_segments(profile, session, replace(blank, cells=named), rows)


def log_missing(session: Session, log: str) -> Optional[str]:
    """Why the log of parts cannot be read, if it cannot."""
    try:
        session.ask(f"SELECT query_id, error, event_time_microseconds FROM {log} WHERE event_date = today() LIMIT 1")
    except QueryError as error:
        return f"{log} cannot be read: {error.seen.splitlines()[0]}"
    return None


def cut_warm_up(session: Session, rows: Rows) -> tuple[Rows, WarmUp]:
    """``rows`` from the end of the warm-up on, which MSER-5 finds in the mean latency of each insert block."""
    found = session.ask(
        "SELECT block_us, round(sum(arraySum(lags)) / sum(length(lags))) FROM "
        f"({rows.latencies()}) WHERE kind = 'exchange' AND notEmpty(lags) "
        f"GROUP BY block_us ORDER BY block_us LIMIT {MOST_BLOCKS}"
    ).rows
    cut = mser5([float(str(mean)) for _, mean in found])
    span = rows.span
    if cut:
        first = integer(found[cut][0])
        began = session.ask(f"SELECT min(start_us) FROM ({rows.selected()}) WHERE block_us = {first}").scalar()
        span = replace(span, start_us=max(span.start_us, integer(began)))
    return replace(rows, span=span), WarmUp("MSER-5", (span.start_us - rows.span.start_us) / 1e6, len(found))


def _end_of_log(route: Route, wish: Wish) -> End:
    tables = ", ".join(candle.table.name for candle in route.measurable)
    where = f"all replicas of cluster {wish.cluster}" if wish.cluster else "system.part_log"
    why = f"commit of the parts of {tables} (NewPart in {where}), the last of them for an exchange"
    return End("part_log", milliseconds(1), why)


def _refusals(wish: Wish, seen: Survey, began: Moment, written: Moment) -> tuple[tuple[Refusal, ...], dict[str, str]]:
    """Columns that are too coarse, and the reasons by exchange; the reason of all is that of the empty name."""
    refused: list[Refusal] = []
    reasons: dict[str, str] = {}
    for moment, values_us in ((began, None), (written, seen.written_us())):
        refusal = refuse_coarse(moment, wish.needed_us, values_us if seen.rows else None)
        if refusal is not None:
            refused.append(refusal)
            reasons.setdefault("", refusal.reason)
    for sight in seen.sights if not reasons else ():
        refusal = refuse_coarse(began, wish.needed_us, sight.start_us, f" of {sight.exchange}")
        if refusal is not None:
            refused.append(refusal)
            reasons[sight.exchange] = refusal.reason
    return tuple(refused), reasons


def _unmeasured(profile: Profile, route: Route, why: Optional[str]) -> tuple[Cell, ...]:
    """The cells of all exchanges and candles without a value."""
    names = [("exchange", name) for name in route.source.exchanges(profile)]
    cells = [Cell(kind, name, why) for kind, name in names]
    for candle in route.candles:
        reason = why if candle.why_not is None else f"not measurable here: {candle.why_not}"
        cells.append(Cell("candle", candle.tier.name, reason))
    return tuple(cells)


def _counted(session: Session, rows: Rows, cells: Mapping[CellName, Cell]) -> dict[CellName, Cell]:
    """``cells`` with the counts of irregular rows; a candle's are those of all exchanges together."""
    by_exchange = late_and_duplicate(session, rows)
    late = [each.late for each in by_exchange.values() if each.late is not None]
    duplicates = [each.duplicates for each in by_exchange.values() if each.duplicates is not None]
    counted = {}
    for (kind, name), cell in cells.items():
        if kind == "exchange":
            own = by_exchange.get(name)
            counts = (own.late, own.duplicates) if own else (0, None)
        else:
            counts = (sum(late), sum(duplicates) if duplicates else None)
        counted[kind, name] = replace(cell, late=counts[0], duplicates=counts[1])
    return counted


def _explained(cell: Cell, reasons: Mapping[str, str]) -> Cell:
    """``cell`` with why it cannot be used, if it cannot."""
    if cell.why is not None:
        return cell
    if reasons and cell.kind == "exchange" and cell.name in reasons:
        return replace(cell, why=f"not measurable here: {reasons[cell.name]}")
    if reasons and cell.kind == "candle":
        return replace(cell, why="not measurable here: " + "; ".join(reasons.values()))
    if not cell.n and cell.unattributed:
        return replace(cell, why=f"none of {cell.unattributed} rows has a known commit")
    if not cell.n:
        return replace(cell, why="no row of the window was found")
    return cell


def _with_segments(profile: Profile, session: Session, result: Latency, rows: Optional[Rows]) -> Latency:
    cells, refused = measure_segments(profile, session, result.measured, rows, result.end.why)
    return replace(result, cells=(*result.cells, *cells), refused=(*result.refused, *refused))
