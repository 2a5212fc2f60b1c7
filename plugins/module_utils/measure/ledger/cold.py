# SPDX-License-Identifier: Apache-2.0
"""The cold tier against the hot tables it is copied from: up to its watermark each row once, none missing.

Rows are told apart by topic, partition and offset, where they carry them, else by every value that both sides have;
then multisets are compared, so a row that the hot tier itself holds twice is no fault of the copy. A row is due when
its partition has come further, or when it was written well before the watermark: one that becomes visible just as a run
looks is the next run's. Candles change, so they are compared by key, and value by value where they are due.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from ...core.errors import K2Error
from ...platform.clickhouse import QueryError
from ...platform.iceberg import Iceberg, IcebergTable, explain
from ...profile.model import ObjectStore, Profile, Store, Tier
from .candles import seconds_of
from .database import Database, whole
from .expressions import described
from .held import Scope
from .path import EXCHANGE_HOP, source_of, written_at
from .result import SHOWN, Basis

# Between the time a row carries and the moment it can be seen: the insert that writes it.
SLACK_US = 10_000_000

Marks = Mapping[str, Optional[float]]


@dataclass(frozen=True)
class ColdResult:
    """One table of the cold tier.

    ``hot`` and ``cold`` count the rows looked at, ``not_due`` those that the next run has to move. ``differing`` counts
    candles whose values are not those of the hot tier. Counts are None where nothing could be compared.
    """

    tier: str
    table: str
    source: Optional[str]
    exchange: Optional[str]
    basis: Optional[Basis]
    why: str
    hot: Optional[int] = None
    cold: Optional[int] = None
    missing: Optional[int] = None
    duplicated: Optional[int] = None
    differing: Optional[int] = None
    not_due: Optional[int] = None
    first_missing: tuple[str, ...] = ()
    first_duplicated: tuple[str, ...] = ()


def cold_tiers(profile: Profile) -> tuple[Tier, ...]:
    """The tiers in an object store."""
    return tuple(tier for tier in profile.tiers if tier.store is Store.OBJECT_STORE)


def mark_name(tier: Tier) -> str:
    """What ``k2_watermarks`` calls the tier."""
    return tier.watermark or tier.table.rsplit("/", maxsplit=1)[-1]


class ColdLedger:
    """Compares every table of the cold tier. ``database`` bounds each query."""

    def __init__(self, profile: Profile, database: Database, iceberg: Optional[Iceberg] = None) -> None:
        assert profile.object_store is not None
        self._profile = profile
        self._database = database
        self._store: ObjectStore = profile.object_store
        self._iceberg = iceberg or Iceberg(profile.object_store)

    def compare(
        self, marks: Marks, since_us: Optional[int] = None, scopes: Sequence[Scope] = (), candles: bool = True
    ) -> tuple[ColdResult, ...]:
        """Every table, by the watermarks ``marks`` (seconds since the epoch by name).

        :arg since_us: look at rows written then or later, so that the cost is bounded; without it, at all.
        :arg scopes: where rows carry offsets, look at these only. :arg candles: whether to compare candles, too.
        What cannot be read is part of the result and never raised.
        """
        tiers = [tier for tier in cold_tiers(self._profile) if candles or tier.timeframe is None]
        return tuple(self._one(tier, marks, since_us, scopes) for tier in tiers)

    def _one(self, tier: Tier, marks: Marks, since_us: Optional[int], scopes: Sequence[Scope]) -> ColdResult:
        hot = self._hot(tier)
        blank = ColdResult(tier.name, tier.table, hot.name if hot else None, tier.exchange, None, "")
        if hot is None:
            return replace(blank, why="no tier of ClickHouse that it is made of: name it as its source")
        mark = marks.get(mark_name(tier))
        if mark is None:
            return replace(blank, why=f"no watermark {mark_name(tier)}")
        try:
            table = self._iceberg.table(tier.table)
            pair = _Pair(self._database, hot, tier, table, round(mark * 1e6), since_us, scopes)
            return pair.candles(blank) if tier.timeframe else pair.rows(blank)
        except QueryError as error:
            return replace(blank, why=str(explain(error, self._store)))
        except K2Error as error:
            return replace(blank, why=str(error))

    def _hot(self, tier: Tier) -> Optional[Tier]:
        tiers = [
            each for each in self._profile.tiers if each.store is Store.CLICKHOUSE and each.timeframe == tier.timeframe
        ]
        return source_of(tier, tiers)


class _Pair:
    """A hot table and its copy."""

    def __init__(
        self,
        database: Database,
        hot: Tier,
        cold: Tier,
        table: IcebergTable,
        mark_us: int,
        since_us: Optional[int],
        scopes: Sequence[Scope],
    ) -> None:
        self._database = database
        self._params = dict(table.params)
        self._hot = described(database, hot)
        self._types = database.types(table.expression, _columns(cold), self._params)
        self._hot_tier, self._cold_tier, self._cold = hot, cold, table.expression
        self._due_us = mark_us - SLACK_US
        self._since_us = since_us
        self._scopes = scopes

    def rows(self, blank: ColdResult) -> ColdResult:
        """Records. Raises K2Error."""
        hot, cold = self._hot_tier, self._cold_tier
        offsets = len(hot.offset_columns) == 3 == len(cold.offset_columns)
        if not offsets and written_at(hot) is None:
            return replace(
                blank, why=f"{hot.name} carries neither offsets nor a time of writing: nobody knows what is due"
            )
        keys = (_offset_key(hot), _offset_key(cold)) if offsets else self._value_key()
        both = " UNION ALL ".join(
            f"SELECT {key}, {count}, {_micro(written_at(tier)) if written_at(tier) else '0'} AS k2_at "
            f"FROM {table} WHERE {self._where(tier, hot if tier is cold else tier)}"
            for tier, key, count, table in (
                (hot, keys[0], "1 AS k2_h, 0 AS k2_c", self._hot.source.table),
                (cold, keys[1], "0 AS k2_h, 1 AS k2_c", self._cold),
            )
        )
        head = "k2_o <= maxIf(k2_o, c > 0) OVER (PARTITION BY k2_t, k2_p)" if offsets else "0"
        if offsets:
            # Before the first row that was moved, or in a partition of which none was, only time can tell.
            head = f"(countIf(c > 0) OVER (PARTITION BY k2_t, k2_p) > 0 AND {head})"
        timed = f"k2_w <= {self._due_us}" if written_at(hot) else "0"
        shown = "concat(k2_t, '/', toString(k2_p), '/', toString(k2_o))" if offsets else "hex(k2_o)"
        ((hot_rows, cold_rows, missing, later, doubled, first, twice),) = self._database.rows(
            "SELECT sum(h), sum(c), sumIf(h - c, h > c AND k2_due), sumIf(h - c, h > c AND NOT k2_due), "
            "sumIf(c - greatest(h, 1), c > greatest(h, 1)), "
            f"arraySort(groupArrayIf({SHOWN})(k2_id, h > c AND k2_due)), "
            f"arraySort(groupArrayIf({SHOWN})(k2_id, c > greatest(h, 1))) "
            f"FROM (SELECT h, c, {head} OR {timed} AS k2_due, {shown} AS k2_id FROM ("
            "SELECT k2_t, k2_p, k2_o, toInt64(sum(k2_h)) AS h, toInt64(sum(k2_c)) AS c, maxIf(k2_at, k2_h = 1) AS k2_w "
            f"FROM ({both}) GROUP BY k2_t, k2_p, k2_o))",
            self._params,
        )
        basis = Basis.OFFSETS if offsets else Basis.MULTISETS
        result = replace(
            blank,
            basis=basis,
            hot=whole(hot_rows),
            cold=whole(cold_rows),
            missing=whole(missing),
            duplicated=whole(doubled),
            not_due=whole(later),
            first_missing=_texts(first),
            first_duplicated=_texts(twice),
        )
        return replace(result, why=_reason(result))

    def candles(self, blank: ColdResult) -> ColdResult:
        """Candles. Raises K2Error."""
        hot, cold = self._hot_tier, self._cold_tier
        window = (hot.columns.get("window"), cold.columns.get("window"))
        if not hot.key_columns or len(hot.key_columns) != len(cold.key_columns) or not all(window):
            return replace(blank, why="key_columns and a window are needed on both sides")
        names = [name for name in hot.columns if name in cold.columns]
        written = written_at(hot)
        sides = []
        for tier, table, count, at in (
            (hot, self._hot.source.table, "1 AS k2_h, 0 AS k2_c", written),
            (cold, self._cold, "0 AS k2_h, 1 AS k2_c", None),
        ):
            key = ", '/', ".join(self._text(tier, column) for column in tier.key_columns)
            values = ", ".join(self._text(tier, tier.columns[name]) for name in names)
            since = (
                "1"
                if self._since_us is None
                else _since(tier.columns["window"], self._since_us - 1_000_000 * seconds_of(tier.timeframe or ""))
            )
            sides.append(
                f"SELECT concat({key}, '') AS k2_id, {count}, sipHash128({values}) AS k2_v, "
                f"{_micro(at) if at else '0'} AS k2_at FROM {table} WHERE {since}"
            )
        due = f"k2_w <= {self._due_us}" if written else "0"
        ((hot_rows, cold_rows, missing, later, doubled, differing, first, twice),) = self._database.rows(
            "SELECT sum(h), sum(c), countIf(h > 0 AND c = 0 AND k2_due), countIf(h > 0 AND c = 0 AND NOT k2_due), "
            "sumIf(c - greatest(h, 1), c > greatest(h, 1)), countIf(h = 1 AND c = 1 AND k2_due AND k2_hv != k2_cv), "
            f"arraySort(groupArrayIf({SHOWN})(k2_id, k2_due AND h > 0 AND (c = 0 OR (c = 1 AND k2_hv != k2_cv)))), "
            f"arraySort(groupArrayIf({SHOWN})(k2_id, c > greatest(h, 1))) "
            f"FROM (SELECT k2_id, h, c, k2_hv, k2_cv, {due} AS k2_due FROM ("
            "SELECT k2_id, toInt64(sum(k2_h)) AS h, toInt64(sum(k2_c)) AS c, anyIf(k2_v, k2_h = 1) AS k2_hv, "
            "anyIf(k2_v, k2_c = 1) AS k2_cv, maxIf(k2_at, k2_h = 1) AS k2_w "
            f"FROM ({' UNION ALL '.join(sides)}) GROUP BY k2_id))",
            self._params,
        )
        result = replace(
            blank,
            basis=Basis.KEYS,
            hot=whole(hot_rows),
            cold=whole(cold_rows),
            missing=whole(missing) if written else None,
            duplicated=whole(doubled),
            differing=whole(differing) if written else None,
            not_due=whole(later),
            first_missing=_texts(first),
            first_duplicated=_texts(twice),
        )
        return replace(result, why=_reason(result))

    def _where(self, tier: Tier, hot: Tier) -> str:
        """The rows of ``tier`` that are compared. Both sides hold the same time, so they are cut at the same place."""
        parts = ["1"]
        written = written_at(tier)
        if self._scopes and len(tier.offset_columns) == 3:
            parts.append("(" + " OR ".join(scope.where(tier) for scope in self._scopes) + ")")
            for scope in self._scopes:
                self._params.update((name, str(value)) for name, value in scope.params.items())
        elif self._since_us is not None and written is not None and written_at(hot) is not None:
            parts.append(_since(written, self._since_us))
        if tier.exchange_column and self._cold_tier.exchange:
            self._params["k2_cold_exchange"] = self._cold_tier.exchange
            parts.append(f"{tier.exchange_column} = {{k2_cold_exchange:String}}")
        return " AND ".join(parts)

    def _value_key(self) -> tuple[str, str]:
        """Everything that both sides have of a record, as a hash."""
        pairs = [_values(self._hot_tier), _values(self._cold_tier)]
        shared = [role for role in pairs[0] if role in pairs[1]]
        if not any(role.startswith(("key", "sequence")) for role in shared):
            raise K2Error(
                "rows cannot be told apart",
                expected="key_columns or sequence_columns on both sides, as many",
                seen=", ".join(shared) or "nothing in common",
                action="name them in k2_tiers",
            )
        keys = []
        for tier, roles in zip((self._hot_tier, self._cold_tier), pairs):
            texts = ", ".join(self._text(tier, roles[role]) for role in shared)
            keys.append(f"'' AS k2_t, 0 AS k2_p, sipHash128({texts}) AS k2_o")
        return keys[0], keys[1]

    def _text(self, tier: Tier, column: str) -> str:
        """A value as a text that is the same for the same value, however the two sides store it."""
        kind = self._hot.source.types[column] if tier is self._hot_tier else self._types[column]
        text = f"toString({_micro(column)})" if "DateTime" in kind else f"toString({column})"
        return f"ifNull({text}, '(null)')"


def _columns(tier: Tier) -> Sequence[str]:
    named = [
        *tier.offset_columns,
        *tier.key_columns,
        *tier.sequence_columns,
        *(hop.column for hop in tier.time_columns.values()),
        *tier.columns.values(),
        *(c for c in (tier.exchange_column, tier.price_column, tier.size_column) if c),
    ]
    return tuple(dict.fromkeys(named))


def _values(tier: Tier) -> dict[str, str]:
    """The columns of a record by what they mean."""
    roles = {f"key {n} of {len(tier.key_columns)}": column for n, column in enumerate(tier.key_columns)}
    roles |= {f"sequence {n} of {len(tier.sequence_columns)}": c for n, c in enumerate(tier.sequence_columns)}
    hop = tier.time_columns.get(EXCHANGE_HOP)
    others = {"price": tier.price_column, "size": tier.size_column, "time": hop.column if hop else None}
    return {**roles, **{role: column for role, column in others.items() if column}}


def _offset_key(tier: Tier) -> str:
    topic, partition, offset = tier.offset_columns
    return f"toString({topic}) AS k2_t, toUInt32({partition}) AS k2_p, toUInt64({offset}) AS k2_o"


def _micro(column: Optional[str]) -> str:
    return f"toUnixTimestamp64Micro(toDateTime64({column}, 6, 'UTC'))"


def _since(column: str, us: int) -> str:
    return f"{column} >= fromUnixTimestamp64Micro(toInt64({max(0, us)}), 'UTC')"


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(each) for each in value) if isinstance(value, tuple) else ()


def _reason(result: ColdResult) -> str:
    found = []
    if result.missing:
        found.append(f"{result.missing} missing")
    if result.duplicated:
        found.append(f"{result.duplicated} rows too many")
    if result.differing:
        found.append(f"{result.differing} with other values")
    if result.missing is None:
        found.append("when rows were written is not known, so what is missing cannot be told")
    text = ", ".join(found) or "every row up to the watermark once"
    return f"{text}; {result.not_due} not due yet" if result.not_due else text
