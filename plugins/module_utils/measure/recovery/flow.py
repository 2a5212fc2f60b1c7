# SPDX-License-Identifier: Apache-2.0
"""Whether records still arrive, per exchange: the age of the newest row in the last tier before the candles.

One query tells it for every exchange. What age is too old is learnt from the platform itself: while all is well the
newest row grows older and is young again with every flush, so the bound is a few times what is usual.

A row that is young enough may still be from before a fault. So after a fault, of an exchange that it may touch, only a
row that was written since is a success, and an older one shows nothing. Of an exchange that it may not touch, a row
that is older than usual, but not by far, shows nothing either: quiet markets have gaps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Optional

from ...core.clock import NS_PER_S, monotonic_ns
from ...core.errors import K2Error
from ...platform.clickhouse import ClickHouseClient, Value
from ...profile.model import Profile, Tier
from ..data_flow import UNDIVIDED, watched_exchanges, watched_tiers
from .model import Lane, LaneKind, Moment, Sample
from .sampler import Watch, judged

INTERVAL_S = 0.5
TIMEOUT_S = 2.0
_LEAST_BOUND_S = 1.0
_USUAL = 0.95
_TIMES_USUAL = 3.0
# From these on, and not before, an exchange beyond the reach of a fault has certainly stopped.
_TIMES_SURE, _LEAST_SURE_S = 10.0, 10.0
_LEAST_READINGS = 5


@dataclass(frozen=True)
class FlowBound:
    """What is usual (p95 of the ages while all was well, None of too few), and from what age on nothing flows."""

    usual_s: Optional[float]
    bound_s: float


@dataclass(frozen=True)
class Reading:
    """One query: the age of the newest row by exchange (an exchange without a row is left out), or why there is none.

    The query failing is a failure of the flow: nobody can see a row, and none is written.
    """

    start_ns: int
    end_ns: int
    ages_s: Mapping[str, float]
    error: Optional[str] = None
    proof: bool = True


def flow_tier(profile: Profile) -> Optional[Tier]:
    """The last tier before the candles whose flow can be watched, or else the last; None if there is none."""
    tiers = watched_tiers(profile)
    chosen = [tier for tier in tiers if tier.timeframe is None] or list(tiers)
    return chosen[-1] if chosen else None


def age_query(tier: Tier, horizon_s: int) -> str:
    """Rows (exchange, age of its newest row in microseconds), of the rows that are at most ``horizon_s`` old.

    The bare column in the condition lets the store leave out what is older.
    """
    assert tier.freshness is not None
    column = tier.time_columns[tier.freshness.hop].column
    exchange = tier.exchange_column or f"'{tier.exchange or UNDIVIDED}'"
    return (
        f"SELECT toString({exchange}) AS k2_exchange, "
        f"toUnixTimestamp64Micro(now64(6)) - max(toUnixTimestamp64Micro(toDateTime64({column}, 6))) "
        f"FROM {tier.table} WHERE {column} >= now() - INTERVAL {horizon_s} SECOND GROUP BY k2_exchange"
    )


def ages_of(database: ClickHouseClient, tier: Tier) -> Callable[[], Mapping[str, float]]:
    """What asks for the ages (seconds) by exchange."""
    assert tier.freshness is not None
    query = age_query(tier, int(tier.freshness.max_age_s) + 1)

    def ask() -> Mapping[str, float]:
        return {str(name): _seconds(age) for name, age in database.query(query, timeout_s=TIMEOUT_S).rows}

    return ask


class FlowWatch(Watch):
    """The flow lanes of one tier. Until ``end_baseline`` the profile's own limit of freshness is the bound."""

    def __init__(self, exchanges: Collection[str], max_age_s: float, ages: Callable[[], Mapping[str, float]]) -> None:
        super().__init__("flow", INTERVAL_S)
        self._max_age_s = max_age_s
        self._ages = ages
        self._readings: list[Reading] = []
        self._onset: Optional[Moment] = None
        self._touched: frozenset[str] = frozenset()
        self.bounds = {name: FlowBound(None, max_age_s) for name in exchanges}

    def look(self) -> None:
        """See ``Watch``."""
        start_ns = monotonic_ns()
        ages: Mapping[str, float] = {}
        error, proof = None, True
        try:
            ages = self._ages()
        except K2Error as failure:
            error = failure.seen or str(failure)
        except Exception as failure:  # noqa: BLE001 - a lane must not end: what hindered the look is told
            error, proof = f"{type(failure).__name__}: {failure}", False
        self._readings.append(Reading(start_ns, monotonic_ns(), ages, error, proof))

    @property
    def readings(self) -> tuple[Reading, ...]:
        """What was read so far."""
        return tuple(self._readings)

    def end_baseline(self) -> None:
        """Learn from what was read so far what is usual; all samples are judged by that from now on."""
        readings = self.readings
        self.bounds = {
            name: learnt([each.ages_s[name] for each in readings if name in each.ages_s], self._max_age_s)
            for name in self.bounds
        }

    def note_fault(self, onset: Moment, touched: Collection[str]) -> None:
        """Tell when a fault was brought about, and the flows of which exchanges it may stop."""
        self._onset, self._touched = onset, frozenset(touched)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """See ``Watch``."""
        readings = self.readings
        blank = Lane("", LaneKind.FLOW, None, None, self.interval_s, TIMEOUT_S, (), self.skipped)
        return tuple(
            replace(
                blank,
                name=f"flow:{name}",
                exchange=name,
                samples=tuple(self._sample(name, bound, each) for each in readings),
            )
            for name, bound in self.bounds.items()
        )

    def _sample(self, exchange: str, bound: FlowBound, reading: Reading) -> Sample:
        age_s = reading.ages_s.get(exchange)
        ok: Optional[bool] = age_s is not None and age_s <= bound.bound_s
        if reading.error is not None:
            error, ok = reading.error, False if reading.proof else None
        elif age_s is None:
            error = f"no row of the last {self._max_age_s:g} s"
        else:
            error = f"the newest row is {age_s:.3f} s old, more than {bound.bound_s:.3f} s"
            if self._onset is not None and reading.end_ns >= self._onset.low_ns:
                ok, error = self._since_fault(exchange, bound, reading, age_s, error)
        return judged(reading.start_ns, reading.end_ns, ok, error, TIMEOUT_S)

    def _since_fault(
        self, exchange: str, bound: FlowBound, reading: Reading, age_s: float, error: str
    ) -> tuple[Optional[bool], str]:
        """What a reading shows that may have been taken after the fault; see the module."""
        assert self._onset is not None
        if age_s > bound.bound_s:
            sure_s = min(self._max_age_s, max(_LEAST_SURE_S, _TIMES_SURE * (bound.usual_s or self._max_age_s)))
            doubtful = exchange not in self._touched and age_s <= sure_s
            return (None if doubtful else False), error
        if exchange in self._touched and age_s * NS_PER_S >= reading.start_ns - self._onset.high_ns:
            return None, f"the newest row is {age_s:.3f} s old and may be from before the fault"
        return True, ""


def learnt(ages_s: Sequence[float], max_age_s: float) -> FlowBound:
    """The bound from ages while all was well; the profile's limit where they are too few, and never beyond it."""
    if len(ages_s) < _LEAST_READINGS:
        return FlowBound(None, max_age_s)
    usual_s = max(0.0, sorted(ages_s)[math.ceil(_USUAL * len(ages_s)) - 1])
    return FlowBound(usual_s, min(max_age_s, max(_LEAST_BOUND_S, _TIMES_USUAL * usual_s)))


def flow_watch(profile: Profile) -> Optional[FlowWatch]:
    """The watch of all flows of ``profile``; None where it has no tier that tells."""
    tier = flow_tier(profile)
    if tier is None or tier.freshness is None or profile.clickhouse is None:
        return None
    return FlowWatch(
        watched_exchanges(profile, tier),
        tier.freshness.max_age_s,
        ages_of(ClickHouseClient(profile.clickhouse), tier),
    )


def _seconds(age_us: Value) -> float:
    if not isinstance(age_us, (int, Decimal)):
        raise K2Error("unexpected answer from ClickHouse", expected="an age in microseconds", seen=repr(age_us))
    return float(age_us) / 1e6
