# SPDX-License-Identifier: Apache-2.0
"""Tiers whose rows carry no offsets: compared with the tier before by keys, else by whole trades, else by counts.

Two tiers are compared over the same stretch of the exchange's time, so that a trade lies in it in both or in neither.
What the broker itself holds can then be counted only, and equal counts prove nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Optional

from .database import Database, Params, nested, whole
from .expressions import Role, Table, not_null, shared_roles
from .path import EXCHANGE_HOP, written_at
from .result import SHOWN, Basis, TierResult, Verdict

_BUCKETS = 1024
_SLACK_S = 3600


@dataclass(frozen=True)
class Stretch:
    """The records of one exchange: how many the range has, and a stretch of time.

    At first that of the broker's times; ``exchange_stretch`` makes it one of the exchange's.
    """

    exchange: str
    records: int
    first_us: int
    last_us: int


def exchange_stretch(database: Database, upper: Table, stretch: Stretch) -> Stretch:
    """The exchange's times of what ``upper`` holds of the range: of all rows that were written since it began.

    Where nobody knows when a row was written, the broker's times stand for the exchange's. Raises K2Error.
    """
    written = written_at(upper.tier)
    if written is None or upper.time_us is None:
        return stretch
    condition, params = _of_exchange(upper, stretch.exchange)
    ((rows, first, last),) = database.rows(
        f"SELECT count(), min({upper.time_us}), max({upper.time_us}) FROM {upper.source.table} "
        f"WHERE {written} >= toDateTime({stretch.first_us // 1_000_000}) AND {condition}",
        params,
    )
    return replace(stretch, first_us=whole(first), last_us=whole(last)) if rows else stretch


def by_trades(database: Database, upper: Optional[Table], lower: Table, stretch: Stretch) -> TierResult:
    """``lower`` against ``upper``, the tier before it, or against the broker's count where there is none.

    Raises K2Error.
    """
    tier = lower.tier
    blank = TierResult(tier.name, tier.table, stretch.exchange, Basis.COUNTS, Verdict.INCONCLUSIVE, "")
    if upper is None:
        return _by_count(database, lower, stretch, blank)
    basis, roles, why = _basis(database, upper, lower, stretch)
    if not roles:
        return replace(blank, reason=why)
    comparison = _Comparison(upper, lower, roles, stretch)
    blank = replace(blank, basis=basis)
    above, below, buckets = comparison.buckets(database)
    if not above and not below:
        return replace(blank, expected=0, rows=0, reason=f"{why}; no trade of the range in either tier")
    result = replace(blank, expected=above, rows=below, missing=0, lost_here=0, duplicated=0, unexpected=0)
    if buckets:
        result = comparison.detail(database, buckets, result)
    if result.missing == above and result.unexpected == below:
        return replace(result, reason=f"{why}; not one trade in common: the columns do not mean the same")
    return _judged(result, f"{why}, against {upper.tier.name}")


def _judged(result: TierResult, why: str) -> TierResult:
    found = [
        f"{count} {what}"
        for count, what in (
            (result.missing, "missing"),
            (result.duplicated, "too many"),
            (result.unexpected, "that the tier before does not have"),
        )
        if count
    ]
    if result.missing:
        verdict = Verdict.LOST
    elif result.duplicated:
        verdict = Verdict.DUPLICATED
    else:
        verdict = Verdict.DIFFERENT if result.unexpected else Verdict.EXACT
    return replace(result, verdict=verdict, reason=f"{', '.join(found) or 'all there, each as often'}; {why}")


def _by_count(database: Database, lower: Table, stretch: Stretch, blank: TierResult) -> TierResult:
    """More rows may have been written since than the range has records, but fewer cannot if none is lost."""
    tier = lower.tier
    written = written_at(tier)
    if written is None:
        return replace(blank, expected=stretch.records, reason="no offsets, no tier before it, no time of writing")
    condition, params = _of_exchange(lower, stretch.exchange)
    ((rows,),) = database.rows(
        f"SELECT count() FROM {lower.source.table} "
        f"WHERE {written} >= toDateTime({max(0, stretch.first_us // 1_000_000 - _SLACK_S)}) AND {condition}",
        params,
    )
    counted = replace(blank, expected=stretch.records, rows=whole(rows))
    if whole(rows) < stretch.records:
        lost = stretch.records - whole(rows)
        return replace(
            counted, missing=lost, lost_here=lost, verdict=Verdict.LOST, reason=f"at least {lost} rows too few"
        )
    why = "no offsets and no tier before it: as many rows as records, or more, prove nothing"
    return replace(counted, reason=why)


def _basis(database: Database, upper: Table, lower: Table, stretch: Stretch) -> tuple[Basis, tuple[Role, ...], str]:
    """By what to compare, and why by nothing better."""
    if upper.time_us is None or lower.time_us is None:
        return Basis.COUNTS, (), f"no hop {EXCHANGE_HOP} in {upper.tier.name} and {lower.tier.name} to compare over"
    keys = _keys(upper, lower)
    why = "rows carry no offsets"
    if keys:
        comparison = _Comparison(upper, lower, keys, stretch)
        repeats = comparison.repeats(database)
        if not repeats:
            return Basis.KEYS, keys, f"{why}; their key is unique in {upper.tier.name}"
        why += f", and their key is not unique in {upper.tier.name} ({repeats} rows repeat one)"
    else:
        why += f", and {upper.tier.name} and {lower.tier.name} have no key in common"
    roles = shared_roles(upper, lower)
    if {"price", "size", "exchange time"} <= {role.name for role in roles}:
        return Basis.MULTISETS, roles, why + "; whole trades compared"
    return Basis.COUNTS, (), why + "; and no price, size and time in common"


def _keys(upper: Table, lower: Table) -> tuple[Role, ...]:
    pairs = [
        [column for column in table.tier.key_columns if column != table.tier.exchange_column]
        for table in (upper, lower)
    ]
    if not pairs[0] or len(pairs[0]) != len(pairs[1]):
        return ()
    return tuple(Role(low, f"toString({up})", f"toString({low})") for up, low in zip(*pairs))


def _of_exchange(table: Table, exchange: str) -> tuple[str, Params]:
    column = table.tier.exchange_column
    return (f"{column} = {{k2_exchange:String}}", {"k2_exchange": exchange}) if column else ("1", {})


class _Comparison:
    """Two tiers of one exchange over one stretch of its time."""

    def __init__(self, upper: Table, lower: Table, roles: Sequence[Role], stretch: Stretch) -> None:
        # Rows are chosen by their exchange, which may be spelt in two ways or be told by the table alone.
        kept = [role for role in roles if role.name != "exchange"]
        self._upper = self._side(upper, [role.upper for role in kept], stretch)
        self._lower = self._side(lower, [role.lower for role in kept], stretch)
        self._params: Params = {"k2_exchange": stretch.exchange}

    def _side(self, table: Table, columns: Sequence[str], stretch: Stretch) -> str:
        values = ", ".join(not_null(column) for column in columns)
        condition, _ = _of_exchange(table, stretch.exchange)
        return (
            f"SELECT [{values}] AS k2_trade FROM {table.source.table} "
            f"WHERE {table.time_us} BETWEEN {stretch.first_us} AND {stretch.last_us} AND {condition}"
        )

    def _both(self) -> str:
        return (
            f"(SELECT k2_trade, 1 AS k2_above FROM ({self._upper}) "
            f"UNION ALL SELECT k2_trade, 0 AS k2_above FROM ({self._lower}))"
        )

    def repeats(self, database: Database) -> int:
        """Rows of the upper tier that repeat a key."""
        ((rows, keys),) = database.rows(f"SELECT count(), uniqExact(k2_trade) FROM ({self._upper})", self._params)
        return whole(rows) - whole(keys)

    def buckets(self, database: Database) -> tuple[int, int, list[int]]:
        """Rows of the upper and the lower tier, and the buckets of hashes in which they differ."""
        rows = database.rows(
            f"SELECT cityHash64(k2_trade) % {_BUCKETS} AS k2_bucket, countIf(k2_above), countIf(NOT k2_above), "
            "sumIf(cityHash64(k2_trade), k2_above), sumIf(cityHash64(k2_trade), NOT k2_above) "
            f"FROM {self._both()} GROUP BY k2_bucket",
            self._params,
        )
        differing = [whole(row[0]) for row in rows if row[1] != row[2] or row[3] != row[4]]
        return sum(whole(row[1]) for row in rows), sum(whole(row[2]) for row in rows), sorted(differing)

    def detail(self, database: Database, buckets: Sequence[int], result: TierResult) -> TierResult:
        """What of which trade is too few or too many, in those buckets."""
        missing, surplus = "k2_up > k2_down", "k2_down > k2_up"
        inner = (
            "SELECT arrayStringConcat(k2_trade, '/') AS k2_id, countIf(k2_above) AS k2_up, "
            f"countIf(NOT k2_above) AS k2_down FROM {self._both()} "
            f"WHERE cityHash64(k2_trade) % {_BUCKETS} IN ({', '.join(map(str, buckets))}) "
            "GROUP BY k2_trade HAVING k2_up != k2_down"
        )
        ((lost, doubled, unknown, *ids),) = database.rows(
            f"SELECT sumIf(k2_up - k2_down, {missing}), sumIf(k2_down - k2_up, {surplus} AND k2_up > 0), "
            f"sumIf(k2_down - k2_up, {surplus} AND k2_up = 0), "
            f"groupArrayIf(1000)(k2_id, {missing}), groupArrayIf(1000)(k2_id, {surplus} AND k2_up > 0), "
            f"groupArrayIf(1000)(k2_id, {surplus} AND k2_up = 0) FROM ({inner})",
            self._params,
        )
        first = [tuple(sorted(str(each) for each in nested(found)))[:SHOWN] for found in ids]
        return replace(
            result,
            missing=whole(lost),
            lost_here=whole(lost),
            duplicated=whole(doubled),
            unexpected=whole(unknown),
            first_missing=first[0],
            first_duplicated=first[1],
            first_unexpected=first[2],
        )
