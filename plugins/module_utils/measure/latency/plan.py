# SPDX-License-Identifier: Apache-2.0
"""What the measurement of a path rests on: where it begins, and how its end will be known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Optional

from ...core.clock import utc_us
from ...platform.clickhouse import QueryError
from ...profile.model import Profile
from .columns import Moment
from .commits import LONGEST_INSERT_US, log_of, logged
from .model import End, Span, Start
from .probe import why_not_probe
from .route import COMMITTED, EXCHANGE, RECEIVED, Route, find_route
from .session import Session, integer

# The log is written to its table every few seconds.
LOGGED_WITHIN_US = 60_000_000


class CommitSource(Enum):
    """Where commits are read from."""

    AUTO = "auto"
    PART_LOG = "part_log"
    PROBE = "probe"


@dataclass(frozen=True)
class Plan:
    """The route, its beginning (``start`` is None where no column tells it), its end, and the log of parts."""

    route: Route
    begin: Start
    start: Optional[Moment]
    end: End
    log: str


def make_plan(
    profile: Profile, session: Session, window: Span, commit_source: CommitSource, cluster: Optional[str]
) -> Plan:
    """Find out what can be measured before the watch begins.

    Raises K2Error, as ``find_route`` does.
    """
    route = find_route(profile, session)
    begin = find_start(profile, route)
    start = route.source.moments.get(begin.moment or "")
    log = log_of(cluster)
    end = End("none", None, begin.why) if start is None else _find_end(session, route, window, commit_source, log)
    return Plan(route, begin, start, end, log)


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
    resolution_ms = None if moment.type_us is None else moment.type_us / 1000
    return Start(moment.name, moment.tier, moment.column, resolution_ms, gated, why)


def _find_end(session: Session, route: Route, window: Span, commit_source: CommitSource, log: str) -> End:
    wants_log = commit_source is CommitSource.PART_LOG
    if COMMITTED not in route.source.moments:
        why = f"not measurable here: tier {route.source.tier.name} has no column for the hop {COMMITTED}"
        return End("none", None, why)
    tables = ", ".join(candle.table.name for candle in route.measurable)
    no_log = (
        "it was not wanted"
        if commit_source is CommitSource.PROBE
        else _why_no_log(session, route, window, log, wants_log)
    )
    if no_log is None:
        why = f"commit of the parts of {tables} (NewPart in {log}), the last of them for an exchange"
        return End("part_log", 0.001, why)
    no_probe = "it was not wanted" if wants_log else why_not_probe(route)
    if no_probe is None:
        return End("probe", None, f"{log}: {no_log}; so trades counted in {tables} were probed")
    return End("none", None, f"not measurable here: {log}: {no_log}; probing of candles: {no_probe}")


def _why_no_log(session: Session, route: Route, window: Span, log: str, wanted: bool) -> Optional[str]:
    """Why the log of parts cannot tell commits, if it cannot.

    A log in which no insert into the tables of the route stands, though they were written to, is of no use either;
    unless it is ``wanted``: it may be that what came is not logged yet.
    """
    tables = [candle.table for candle in route.measurable]
    now_us = utc_us()
    since_us = min(window.start_us, now_us) - LONGEST_INSERT_US
    try:
        parts = integer(session.ask(f"SELECT count() FROM {log} WHERE {logged(tables, since_us)}").scalar())
    except QueryError as error:
        return error.seen.splitlines()[0] if error.seen else str(error)
    if parts or wanted:
        return None
    came = route.source.moments[COMMITTED].bounds(since_us, now_us - LOGGED_WITHIN_US)
    rows = session.ask(f"SELECT count() FROM (SELECT 1 FROM {route.source.tier.table} WHERE {came} LIMIT 1)").scalar()
    return "it holds no insert into the candle tables, though records came" if integer(rows) else None
