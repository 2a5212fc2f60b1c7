# SPDX-License-Identifier: Apache-2.0
"""When candles became visible, by asking for them again and again: for a platform whose log of parts cannot be read.

A probe reads how many trades each candle table counts, then how many valid rows the source holds, by exchange. Both
grow alike, and what a table misses by nature (trades of windows before the watch) is the least difference ever seen.
So the k-th row in the order of writing became visible in (last probe not showing it, first probe showing it]. Both ends
are read off the server's own clock: before the former's query, after the latter's.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from ...core.background import in_background
from ...core.clock import monotonic_ns
from ...core.errors import K2Error
from .cells import outline, read_cells
from .model import Cell, Quantiles
from .route import COMMITTED, CandleTable, Route
from .selection import Selection
from .session import Session, integer, literal

# At most ten a second: twenty on six tables cost a third of a core, and fifty slow down the inserts they look for.
INTERVAL_S = 0.1
# Candles of windows that began this long before the watch still count late trades.
EARLIER_S = 3600
STOP_TIMEOUT_S = 60.0
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Counts = Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class Probe:
    """One look: trades by candle tier and exchange, then rows by exchange; the server's times before and after."""

    before_us: int
    after_us: int
    candles: Counts
    rows: Mapping[str, int]


@dataclass(frozen=True)
class Change:
    """After ``low_us`` and until ``high_us``, the first ``visible`` rows of an exchange became visible."""

    exchange: str
    visible: int
    low_us: int
    high_us: int


class Prober:
    """Probes in the background from its making until ``stop``."""

    def __init__(self, session: Session, route: Route) -> None:
        """Begin; raises K2Error when the first look fails."""
        self._session = session
        self._route = route
        self._stopping = threading.Event()
        self.probes: list[Probe] = []
        self.trouble: Optional[str] = None
        self.since_us = integer(session.ask("SELECT toUnixTimestamp64Micro(now64(6))").scalar())
        self.probes.append(self._look())
        self._ended = in_background(self._run)

    def stop(self) -> None:
        """End the probing; raises K2Error when it failed in a way that was not foreseen."""
        self._stopping.set()
        self._ended.result(STOP_TIMEOUT_S)

    @property
    def gap_us(self) -> int:
        """The longest time between two probes, from before the one to after the other."""
        probes = self.probes
        return max((late.after_us - early.before_us for early, late in zip(probes, probes[1:])), default=0)

    def pending(self) -> int:
        """Rows that the last probe counted and did not show in every candle table."""
        last, missing = self.probes[-1], offsets(self.probes, self._tiers())
        return sum(
            max(
                (rows - last.candles.get((tier, name), 0) - missing[tier, name] for tier in self._tiers()),
                default=0,
            )
            for name, rows in last.rows.items()
        )

    def changes(self, tiers: Sequence[str]) -> list[Change]:
        """When rows became visible in all of ``tiers``."""
        return changes(self.probes, tiers, self.since_us)

    def _tiers(self) -> tuple[str, ...]:
        return tuple(candle.tier.name for candle in self._route.measurable)

    def _run(self) -> None:
        while not self._stopping.is_set():
            began_ns = monotonic_ns()
            try:
                self.probes.append(self._look())
            except K2Error as error:
                self.trouble = str(error)
            self._stopping.wait(max(0.0, INTERVAL_S - (monotonic_ns() - began_ns) / 1e9))

    def _look(self) -> Probe:
        # The server's time of a query is that of its beginning.
        seen = self._session.ask(candles_query(self._route, self.since_us)).rows
        after = self._session.ask(rows_query(self._route, self.since_us)).rows
        return Probe(
            before_us=integer(seen[0][3]),
            after_us=integer(after[0][2]),
            candles={(str(tier), str(name)): integer(count) for tier, name, count, _ in seen if tier},
            rows={str(name): integer(count) for name, count, _ in after if name},
        )


def why_not_probe(route: Route) -> Optional[str]:
    """Why the candles of ``route`` cannot be probed, if they cannot."""
    for candle in route.measurable:
        tier = candle.tier
        lacking = [name for name in ("window", "trade_count") if name not in tier.columns]
        if lacking:
            return f"columns of {tier.name} does not say which one is {' and '.join(lacking)}"
        if route.source.tier.exchange_column and not tier.exchange_column and not tier.exchange:
            return f"{tier.name} does not tell exchanges apart"
    return None


def candles_query(route: Route, since_us: int) -> str:
    """SQL: tier, exchange, trades counted, server's time; the first row holds the time alone."""
    now = "toUnixTimestamp64Micro(now64(6))"
    arms = [f"SELECT '' AS tier, '' AS k2_exchange, toInt64(0) AS trades, {now} AS at"]
    for candle in route.measurable:
        tier = candle.tier
        since_s = since_us // 1_000_000 - EARLIER_S - _seconds(tier.timeframe)
        arms.append(
            f"SELECT {literal(tier.name)}, {_exchange(route, candle)}, toInt64(sum({tier.columns['trade_count']})), "
            f"{now} FROM {tier.table} WHERE {tier.columns['window']} >= toDateTime({since_s}) GROUP BY 2"
        )
    return f"SELECT * FROM ({' UNION ALL '.join(arms)}) ORDER BY tier, k2_exchange"


def rows_query(route: Route, since_us: int) -> str:
    """SQL: exchange, valid rows written since, server's time; the first row holds the time alone."""
    now = "toUnixTimestamp64Micro(now64(6))"
    source = route.source
    return (
        f"SELECT * FROM (SELECT '' AS k2_exchange, toInt64(0) AS trades, {now} AS at UNION ALL "
        f"SELECT {source.exchange}, toInt64(countIf({source.valid})), {now} FROM {source.tier.table} "
        f"WHERE {source.moments[COMMITTED].bounds(since_us, None)} GROUP BY 1) ORDER BY k2_exchange"
    )


def offsets(probes: Sequence[Probe], tiers: Sequence[str]) -> dict[tuple[str, str], int]:
    """By tier and exchange the least difference between rows and trades."""
    names = {name for probe in probes for name in probe.rows}
    return {
        (tier, name): min(probe.rows.get(name, 0) - probe.candles.get((tier, name), 0) for probe in probes)
        for tier in tiers
        for name in names
    }


def changes(probes: Sequence[Probe], tiers: Sequence[str], since_us: int) -> list[Change]:
    """When how many of the rows that were written from ``since_us`` on had become visible in all of ``tiers``."""
    missing = offsets(probes, tiers)
    found = []
    for name in sorted({name for _, name in missing}):
        shown = 0
        before_us = since_us
        for probe in probes:
            visible = min(probe.candles.get((tier, name), 0) + missing[tier, name] for tier in tiers)
            if visible > shown:
                shown = visible
                found.append(Change(name, visible, before_us, probe.after_us))
            before_us = probe.before_us
    return found


@dataclass(frozen=True)
class Probed:
    """Latencies up to one bound of the time in which rows became visible."""

    kind: str
    name: str
    selection: Selection
    since_us: int
    seen: Sequence[Change]
    upper: bool

    @property
    def names(self) -> Sequence[tuple[str, str]]:
        """Kind and name of the cell."""
        return [(self.kind, self.name)]

    def query(self) -> str:
        """SQL: as ``cells.Lags`` says."""
        source = self.selection.source
        written = source.moments[COMMITTED]
        ranks = (
            "SELECT k2_exchange, k2_block AS block_us, sum(k2_valid) OVER (PARTITION BY k2_exchange ORDER BY k2_block "
            "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS rank FROM ("
            f"SELECT {source.exchange} AS k2_exchange, {written.as_us()} AS k2_block, "
            f"toInt64(countIf({source.valid})) AS k2_valid "
            f"FROM {source.tier.table} WHERE {written.bounds(self.since_us, None)} GROUP BY k2_exchange, k2_block)"
        )
        moments = ", ".join(
            f"({literal(change.exchange)}, toInt64({change.visible}), toInt64({self._bound(change)}))"
            for change in self.seen
        )
        shown = (
            "SELECT change.1 AS k2_exchange, change.2 AS visible, change.3 AS at "
            f"FROM (SELECT arrayJoin([{moments}]) AS change)"
        )
        when = (
            f"SELECT r.k2_exchange AS k2_exchange, r.block_us AS block_us, s.at AS at FROM ({ranks}) AS r "
            f"ASOF LEFT JOIN ({shown}) AS s ON r.k2_exchange = s.k2_exchange AND s.visible >= r.rank"
        )
        return (
            "SELECT 1 AS cell, q.block_us AS block_us, q.second AS second, q.valid AS valid, false AS ambiguous, "
            "if(q.valid AND w.at > 0, toNullable(w.at - q.start_us), NULL) AS lag "
            f"FROM ({self.selection.query()}) AS q ANY LEFT JOIN ({when}) AS w USING (k2_exchange, block_us)"
        )

    def _bound(self, change: Change) -> int:
        return change.high_us if self.upper else change.low_us


def probed_cells(session: Session, route: Route, selection: Selection, prober: Prober) -> list[Cell]:
    """The cells of all exchanges and candles, with both bounds of each quantile."""
    tiers = [candle.tier.name for candle in route.measurable]
    every = prober.changes(tiers)
    wanted = []
    for name in sorted({change.exchange for change in every}):
        own = [change for change in every if change.exchange == name]
        wanted.append(Probed("exchange", name, replace(selection, exchange=name), prober.since_us, own, upper=True))
    for tier in tiers:
        seen = prober.changes([tier])
        if seen:
            wanted.append(Probed("candle", tier, selection, prober.since_us, seen, upper=True))
    cells = []
    for upper in wanted:
        (high,) = read_cells(session, upper)
        (low,) = outline(session, replace(upper, upper=False))
        cells.append(_between(low, high))
    return cells


def _between(low: Cell, high: Cell) -> Cell:
    if low.quantiles is None or high.quantiles is None:
        return high
    quantiles = Quantiles(high.quantiles.levels, low.quantiles.low_ms, high.quantiles.high_ms)
    return replace(high, min_ms=low.min_ms, quantiles=quantiles)


def _exchange(route: Route, candle: CandleTable) -> str:
    if not route.source.tier.exchange_column:
        return route.source.exchange
    tier = candle.tier
    return f"toString({tier.exchange_column})" if tier.exchange_column else literal(tier.exchange or "")


def _seconds(timeframe: Optional[str]) -> int:
    return int((timeframe or "0s")[:-1]) * _SECONDS[(timeframe or "0s")[-1]]
