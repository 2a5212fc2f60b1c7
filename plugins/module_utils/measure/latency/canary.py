# SPDX-License-Identifier: Apache-2.0
"""Records of a reserved symbol, sent by this host and waited for by it: the whole path by one clock, nobody else's.

A candle table's trade count of that symbol tells how many records it shows. Records of one key stay in order, so the
k-th one became visible after the last look that did not count it and by the first one that did.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ...core.background import in_background
from ...core.clock import Deadline, monotonic_ns, utc_us
from ...core.errors import K2Error
from ...fault.journal import Journal
from ...platform.clickhouse import ClickHouseClient
from ...profile.confirm import require_confirmed
from ...profile.model import Profile, Tier
from ..load.cleanup import symbol_columns, symbol_condition
from ..load.generator import Generator, Sending, Stream
from ..load.leftover import parameters
from ..load.records import Trade, from_trade
from ..load.request import RequestError, section
from ..load.schedule import WHOLE, Arrivals, draw
from .model import Span
from .probe import INTERVAL_S
from .route import COMMITTED, Route, find_route
from .session import Limits, Session, integer, literal

LEVELS = (0.5, 0.95, 0.99)
# Of what the platform takes anyway, so that what is measured is its load and not this one.
MOST_SHARE = 0.05
TRAFFIC_S = 30
_SEED = 1


@dataclass(frozen=True)
class CanaryWish:
    """What is to be sent: to one exchange's topic while the window lasts, or for its first ``seconds``."""

    exchange: str
    rate_per_s: float
    seconds: Optional[float]
    confirm: Optional[str]
    state_dir: Path


@dataclass(frozen=True)
class Visible:
    """When one candle tier showed the records: both bounds at each of ``levels``, over those that were seen."""

    tier: str
    n: int
    unseen: int
    levels: tuple[float, ...] = LEVELS
    low_ms: tuple[float, ...] = ()
    high_ms: tuple[float, ...] = ()


@dataclass(frozen=True)
class CanaryResult:
    """What was sent and when it was seen; ``why`` says what spoils or limits it, ``seen`` is of the slowest tier."""

    exchange: str
    symbol: str
    rate_per_s: float
    sent: int
    seen: int
    unseen: int
    resolution_ms: float
    tiers: tuple[Visible, ...]
    why: Optional[str]


@dataclass(frozen=True)
class Look:
    """Trades counted by candle tier, between two moments of this host's clock."""

    before_us: int
    after_us: int
    trades: dict[str, int]


class Canary:
    """One run, prepared so that what cannot be done is told before anything is touched."""

    def __init__(self, profile: Profile, wish: CanaryWish, window: Span, limits: Limits) -> None:
        """:raises K2Error: not confirmed, or not possible on this platform."""
        require_confirmed(profile, wish.confirm, "a canary")
        records = section(profile).records
        if profile.broker is None or profile.clickhouse is None or wish.exchange not in records:
            raise RequestError(
                "there is nothing to write the canary's records to, or by",
                expected=f"k2_broker, k2_clickhouse and k2_load.records.{wish.exchange} in the profile",
                seen=f"records of {', '.join(sorted(records)) or 'no exchange'}",
            )
        begin_us = max(window.start_us, utc_us())
        seconds = min((window.end_us - begin_us) / 1e6, wish.seconds or math.inf)
        if seconds <= 0 or wish.rate_per_s <= 0:
            raise RequestError(
                "a canary cannot be sent",
                expected="a window that is not over, a rate above 0",
                seen=f"{seconds:.0f} s left of it, {wish.rate_per_s:g}/s",
            )
        self._profile, self._wish, self._window = profile, wish, window
        self._seconds = seconds
        self._form = records[wish.exchange]
        self._bootstrap = profile.broker.bootstrap
        self._topic = profile.broker.topics[wish.exchange].raw
        client = ClickHouseClient(profile.clickhouse)
        self._session = Session(client, limits)
        route = find_route(profile, self._session)
        candles = [c.tier for c in route.measurable if c.tier.exchange in (None, wish.exchange)]
        self._question = self._counting(candles, client, begin_us)
        self.rate_per_s, self._clamped = self._bounded(route)

    def run(self, drain_timeout_s: float) -> CanaryResult:
        """Send from the window's begin on and look until all is seen, or ``drain_timeout_s`` after the last.

        What it wrote stays until ``k2_load`` with ``state: absent``. Raises K2Error.
        """
        wish = self._wish
        start_us = max(self._window.start_us, utc_us())
        schedule = draw([wish.exchange], self.rate_per_s, self._seconds, Arrivals.POISSON, _SEED, WHOLE)
        maker = from_trade(wish.exchange, self._form, Trade("1", "1", "buy"))
        generator = Generator(self._bootstrap, schedule, {wish.exchange: Stream(self._topic, [maker])}, start_us)
        # The monotonic clock alone from here on, as it is for the generator.
        offset_us = utc_us() - monotonic_ns() // 1000
        looks = [self._look(offset_us)]
        journal = Journal(wish.state_dir / self._profile.platform.name / "undo")
        entry = journal.open(
            run_id="",
            target=self._bootstrap,
            action=f"canary: {len(schedule)} records of {self._form.symbol} to {self._topic}",
            undo=f"sending ended with process {os.getpid()}; k2_load with state absent removes what it wrote",
            parameters=parameters(),
        )
        stop = threading.Event()
        sending = in_background(lambda: generator.run(stop, lambda _: None))
        trouble: Optional[str] = None
        try:
            deadline: Optional[Deadline] = None
            while deadline is None or not (deadline.passed or self._all_seen(looks, sending.result(0))):
                threading.Event().wait(INTERVAL_S)
                try:
                    looks.append(self._look(offset_us))
                except K2Error as error:
                    trouble = str(error)
                if deadline is None and sending.done():
                    deadline = Deadline.after(drain_timeout_s)
        finally:
            stop.set()
            sent: Sending = sending.result(drain_timeout_s + 30.0)
            journal.close(entry.id)
        dues = [start_us + due for due in schedule.due_us[: sent.sent]]
        told = [self._clamped, sent.interrupted, *sent.errors, trouble]
        return self._result(dues, looks, [text for text in told if text])

    def _bounded(self, route: Route) -> tuple[float, Optional[str]]:
        written = route.source.moments.get(COMMITTED)
        if written is None:
            raise RequestError("the traffic cannot be seen", expected="a hop committed", seen="none")
        since_us = utc_us() - TRAFFIC_S * 1_000_000
        counted = f"SELECT count() FROM {route.source.tier.table} WHERE {written.bounds(since_us, None)}"
        traffic = integer(self._session.ask(counted).scalar()) / TRAFFIC_S
        most = MOST_SHARE * traffic
        if self._wish.rate_per_s <= most:
            return self._wish.rate_per_s, None
        if not most:
            raise RequestError(
                "a canary may be at most 5 % of the traffic",
                expected=f"rows in {route.source.tier.table} within {TRAFFIC_S} s",
                seen="none",
                action="begin once records flow",
            )
        return most, f"sent at {most:.3g}/s instead of {self._wish.rate_per_s:g}/s: 5 % of {traffic:.3g}/s"

    def _counting(self, candles: Sequence[Tier], client: ClickHouseClient, begin_us: int) -> tuple[str, dict[str, str]]:
        """SQL and its values: tier, trades of the symbol in windows that may hold a record."""
        arms: list[str] = []
        params: dict[str, str] = {}
        for tier in candles:
            columns = symbol_columns(tier, client)
            lacking = [name for name in ("window", "trade_count") if name not in tier.columns]
            if lacking or not columns:
                raise RequestError(
                    f"a canary cannot be seen in {tier.name}",
                    expected="a symbol in its key_columns, and window and trade_count in its columns",
                    seen=f"no {' and no '.join(lacking) or 'text in its key'}",
                )
            where, values = symbol_condition(tier, columns, {self._wish.exchange: self._form.symbol})
            params.update(values)
            since_s = begin_us // 1_000_000 - 86_400
            arms.append(
                f"SELECT {literal(tier.name)}, toInt64(sum({tier.columns['trade_count']})) FROM {tier.table} "
                f"WHERE {tier.columns['window']} >= toDateTime({since_s}) AND ({where})"
            )
        return " UNION ALL ".join(arms), params

    def _look(self, offset_us: int) -> Look:
        before_us = offset_us + monotonic_ns() // 1000
        rows = self._session.ask(*self._question).rows
        return Look(before_us, offset_us + monotonic_ns() // 1000, {str(tier): integer(n) for tier, n in rows})

    def _all_seen(self, looks: Sequence[Look], sent: Sending) -> bool:
        return all(looks[-1].trades[tier] - n >= sent.sent for tier, n in looks[0].trades.items())

    def _result(self, dues: Sequence[int], looks: Sequence[Look], told: list[str]) -> CanaryResult:
        tiers = tuple(visible(tier, dues, looks) for tier in looks[0].trades)
        if any(looks[-1].trades[tier] - n > len(dues) for tier, n in looks[0].trades.items()):
            told.append("more trades of the symbol were counted than sent: someone else writes it, nothing follows")
        seen = min((tier.n for tier in tiers), default=0)
        gap_us = max((late.after_us - early.before_us for early, late in zip(looks, looks[1:])), default=0)
        return CanaryResult(
            exchange=self._wish.exchange,
            symbol=self._form.symbol,
            rate_per_s=self.rate_per_s,
            sent=len(dues),
            seen=seen,
            unseen=len(dues) - seen,
            resolution_ms=gap_us / 1000,
            tiers=tiers,
            why="; ".join(told) or None,
        )


def visible(tier: str, dues: Sequence[int], looks: Sequence[Look]) -> Visible:
    """When the records due at ``dues`` became visible in ``tier``, which the first look shows before any was sent."""
    lows: list[int] = []
    highs: list[int] = []
    shown = 0
    for early, late in zip(looks, looks[1:]):
        now = min(len(dues), late.trades[tier] - looks[0].trades[tier])
        for due in dues[shown:now]:
            lows.append(max(0, early.before_us - due))
            highs.append(late.after_us - due)
        shown = max(shown, now)
    return Visible(tier, shown, len(dues) - shown, LEVELS, _at_levels(lows), _at_levels(highs))


def _at_levels(values_us: list[int]) -> tuple[float, ...]:
    ranked = sorted(values_us)
    return tuple(ranked[math.ceil(level * len(ranked)) - 1] / 1000 for level in LEVELS) if ranked else ()
