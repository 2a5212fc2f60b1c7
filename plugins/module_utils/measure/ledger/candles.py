# SPDX-License-Identifier: Apache-2.0
"""Candles beside what their trades come to.

Every candle whose window saw a record of the range is made again from all distinct valid rows of its source in that
window, inside ClickHouse: one scan for all timeframes, which are put together from windows of their greatest common
divisor. Windows are aligned to the epoch, in UTC. Open and close are those of the least and greatest (exchange time,
sequence, offset), as far as the source has these columns; where it has neither sequence nor offset, any price of the
tied trades is right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from .database import Database, Params, nested, whole
from .expressions import Table, exact, number, scale_of
from .path import EXCHANGE_HOP
from .result import SHOWN, CandleDifference, CandleResult, Verdict

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_VALUES = ("trade_count", "volume", "high", "low", "open", "close")
_SEPARATOR = "\x1f"
# More examples than are shown, so that the first in order are among them.
_EXAMPLES = 1000


@dataclass(frozen=True)
class Touching:
    """Which rows of the source belong to the range, as a condition and its parameters."""

    condition: str
    params: Params


@dataclass(frozen=True)
class Family:
    """Candle tiers of one source whose candles are told apart by the same columns.

    ``distinct_by`` are the source's offset columns, empty where they tell nothing. ``exchange`` is set where the
    candles are of one exchange only.
    """

    source: Table
    candles: tuple[Table, ...]
    distinct_by: tuple[str, ...]
    exchange: Optional[str] = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns, beside exchange and window, that tell candles apart."""
        return keys_of(self.candles[0])


def keys_of(candle: Table) -> tuple[str, ...]:
    """The columns, beside exchange and window, that tell candles apart."""
    other = (candle.tier.exchange_column, candle.tier.columns.get("window"))
    return tuple(column for column in candle.tier.key_columns if column not in other)


def seconds_of(timeframe: str) -> int:
    """The span of a timeframe such as 5m."""
    return int(timeframe[:-1]) * _SECONDS[timeframe[-1]]


def unfit(source: Table, candle: Table) -> Optional[str]:
    """Why the candles of a tier cannot be made again from ``source``; None where they can."""
    if source.time_us is None:
        return f"{source.tier.name} has no hop {EXCHANGE_HOP}, so nobody knows which window a trade belongs to"
    if source.tier.price_column is None or source.tier.size_column is None:
        return f"{source.tier.name} has no price_column or no size_column"
    if "window" not in candle.tier.columns:
        return "its columns name no window"
    if candle.tier.exchange_column and not (source.tier.exchange_column or source.tier.exchange):
        return f"{source.tier.name} does not tell exchanges apart"
    return None


def check_candles(database: Database, family: Family, touching: Touching, closed_before_us: int) -> list[Found]:
    """Make the candles of ``family`` again and compare.

    Windows that end after ``closed_before_us`` are counted apart. Raises K2Error.
    """
    touching = Touching(touching.condition, {**touching.params, "k2_exchange": family.exchange or ""})
    period = _period(database, family, touching)
    if period is None:
        return []
    distinct = family.distinct_by if _doubled(database, family, period, touching.params) else ()
    sql = _comparison(family, touching, period, distinct, closed_before_us)
    return [Found.of(row) for row in database.rows(sql, touching.params)]


@dataclass(frozen=True)
class Found:
    """What was found of the windows of one timeframe that are closed, or of those that are open."""

    seconds: int
    open: bool
    windows: int
    missing: int
    too_many: int
    too_few: int
    differing: int
    first: tuple[CandleDifference, ...]

    @classmethod
    def of(cls, row: Sequence[object]) -> Found:
        """From a row of the comparison."""
        seconds, is_open, windows, missing, too_many, too_few, differing = (whole(v) for v in row[:7])  # type: ignore[arg-type]
        texts = sorted(str(text) for text in nested(row[7]))[:SHOWN]  # type: ignore[arg-type]
        first = []
        for text in texts:
            key, column, expected, seen = text.split(_SEPARATOR)
            first.append(CandleDifference(key, column, expected, seen or None))
        return cls(seconds, bool(is_open), windows, missing, too_many, too_few, differing, tuple(first))


def candle_results(family: Family, found: Sequence[Found], quiescent: bool) -> list[CandleResult]:
    """One result per tier; open windows count only if nothing flowed while they were compared."""
    results = []
    for candle in family.candles:
        seconds = seconds_of(candle.tier.timeframe or "")
        mine = [each for each in found if each.seconds == seconds]
        results.append(_result(candle, mine, quiescent))
    return results


def _result(candle: Table, found: Sequence[Found], quiescent: bool) -> CandleResult:
    counted = [each for each in found if quiescent or not each.open]
    windows = sum(each.windows for each in found)
    compared = sum(each.windows for each in counted)
    missing, too_many, too_few, differing = (
        sum(getattr(each, name) for each in counted) for name in ("missing", "too_many", "too_few", "differing")
    )
    first = tuple(sorted((d for each in counted for d in each.first), key=lambda d: (d.key, d.column)))[:SHOWN]
    if missing or too_few:
        verdict, reason = Verdict.LOST, f"{missing} candles missing, {too_few} with too few trades"
    elif too_many:
        verdict, reason = Verdict.DUPLICATED, f"{too_many} candles with too many trades"
    elif differing:
        verdict, reason = Verdict.DIFFERENT, f"{differing} candles differ from their trades"
    elif not compared:
        why = "all their windows are still being written" if windows else "no window saw a valid record of the range"
        verdict, reason = Verdict.INCONCLUSIVE, f"no candle compared: {why}"
    else:
        left = f", {windows - compared} still being written were not" if windows > compared else ""
        verdict, reason = Verdict.EXACT, f"{compared} candles are what their trades come to{left}"
    return CandleResult(
        candle.tier.name,
        candle.tier.table,
        verdict,
        reason,
        windows,
        compared,
        windows - compared,
        missing,
        differing,
        first,
    )


def _period(database: Database, family: Family, touching: Touching) -> Optional[tuple[int, int]]:
    """The time that the range's valid rows lie in, in whole windows of every timeframe (seconds, end exclusive)."""
    time_us = family.source.time_us
    ((rows, first, last),) = database.rows(
        f"SELECT count(), min({time_us}), max({time_us}) FROM {family.source.source.table} "
        f"WHERE {touching.condition} AND {_valid(family)}",
        touching.params,
    )
    if not whole(rows):
        return None
    # Windows of different spans begin together at their least common multiple only.
    span = 1
    for candle in family.candles:
        seconds = seconds_of(candle.tier.timeframe or "")
        span = span * seconds // math.gcd(span, seconds)
    return whole(first) // 1_000_000 // span * span, (whole(last) // 1_000_000 // span + 1) * span


def _doubled(database: Database, family: Family, period: tuple[int, int], params: Params) -> bool:
    """Whether the source holds a record of the period more than once; told by bits, as for tiers."""
    if not family.distinct_by:
        return False
    topic, partition, offset = family.distinct_by
    ((rows, distinct),) = database.rows(
        "SELECT sum(k2_rows), sum(bitCount(k2_mask)) FROM (SELECT count() AS k2_rows, "
        f"groupBitOr(bitShiftLeft(toUInt64(1), toUInt64({offset}) % 64)) AS k2_mask "
        f"FROM {family.source.source.table} WHERE {_within(family, period)} AND {_valid(family)} "
        f"GROUP BY {topic}, {partition}, intDiv(toUInt64({offset}), 64))",
        params,
    )
    return rows != distinct


def _valid(family: Family) -> str:
    """Which rows of the source belong in candles of this family."""
    tier = family.source.tier
    mine = f"{tier.exchange_column} = {{k2_exchange:String}}" if family.exchange and tier.exchange_column else "1"
    return f"{tier.valid_column or '1'} AND {mine}"


def _within(family: Family, period: tuple[int, int]) -> str:
    column = family.source.tier.time_columns[EXCHANGE_HOP].column
    return f"{column} >= toDateTime({period[0]}) AND {column} < toDateTime({period[1]})"


def _comparison(
    family: Family, touching: Touching, period: tuple[int, int], distinct: Sequence[str], closed_before_us: int
) -> str:
    scale = max(*family.source.scales, *(_scale(candle) for candle in family.candles))
    spans = sorted({seconds_of(candle.tier.timeframe or "") for candle in family.candles})
    made = _made(family, _trades(family, touching, period, distinct), spans, scale)
    stored = " UNION ALL ".join(_stored(family, candle, period, scale) for candle in family.candles)
    sides = ", ".join(
        f"anyIf(k2_{value}, k2_made) AS k2_e_{value}, anyIf(k2_{value}, NOT k2_made) AS k2_s_{value}"
        for value in _VALUES
    )
    both = (
        f"SELECT k2_seconds, k2_key, k2_window, countIf(NOT k2_made) AS k2_stored, {sides} "
        f"FROM ({made} UNION ALL {stored}) GROUP BY k2_seconds, k2_key, k2_window HAVING countIf(k2_made) > 0"
    )
    judged = (
        f"SELECT *, {_differences()} AS k2_wrong, "
        f"k2_window + k2_seconds > {closed_before_us // 1_000_000} AS k2_unclosed FROM ({both})"
    )
    counted = "k2_stored > 0 AND notEmpty(k2_s_trade_count) AND k2_s_trade_count[1]"
    return (
        "SELECT k2_seconds, k2_unclosed, count(), countIf(k2_stored = 0), "
        f"countIf(k2_stored > 1 OR ({counted} > k2_e_trade_count[1])), countIf({counted} < k2_e_trade_count[1]), "
        "countIf(k2_stored > 0 AND notEmpty(k2_wrong)), "
        f"groupArrayArray({_EXAMPLES})(arrayMap(k2_one -> concat({_name()}, char(31), k2_one), k2_wrong)) "
        f"FROM ({judged}) GROUP BY k2_seconds, k2_unclosed"
    )


def _trades(family: Family, touching: Touching, period: tuple[int, int], distinct: Sequence[str]) -> str:
    """The rows that candles are made of, each record once."""
    tier, types = family.source.tier, family.source.source.types
    assert tier.price_column is not None
    assert tier.size_column is not None
    keys = "".join(f"{column} AS k2_k{index}, " for index, column in enumerate(_keys(family)))
    rows = (
        f"SELECT {keys}{family.source.time_us} AS k2_time, {_rank(family)} AS k2_rank, "
        f"{number(tier.price_column, types[tier.price_column])} AS k2_price, "
        f"{number(tier.size_column, types[tier.size_column])} AS k2_size, {touching.condition} AS k2_touching "
        f"FROM {family.source.source.table} WHERE {_within(family, period)} AND {_valid(family)}"
    )
    if not distinct:
        return rows
    # Only words of 64 offsets in which some are held twice are looked through for what is the same record.
    topic, partition, offset = distinct
    word = f"({topic}, {partition}, intDiv(toUInt64({offset}), 64))"
    doubled = (
        f"SELECT {word} AS k2_word FROM {family.source.source.table} "
        f"WHERE {_within(family, period)} AND {_valid(family)} GROUP BY k2_word "
        f"HAVING count() != bitCount(groupBitOr(bitShiftLeft(toUInt64(1), toUInt64({offset}) % 64)))"
    )
    return (
        f"{rows} AND {word} NOT IN ({doubled}) UNION ALL "
        f"SELECT * FROM ({rows} AND {word} IN ({doubled}) LIMIT 1 BY {topic}, {partition}, {offset})"
    )


def _keys(family: Family) -> list[str]:
    """The columns of the source that tell candles apart, the exchange first."""
    tier = family.source.tier
    if not family.candles[0].tier.exchange_column:
        return list(family.keys)
    return [tier.exchange_column or f"'{tier.exchange}'", *family.keys]


def _ordered(family: Family) -> bool:
    """Whether the source tells the order of trades of one moment."""
    return bool(_sequence(family) or family.distinct_by)


def _sequence(family: Family) -> Optional[str]:
    columns = family.source.tier.sequence_columns
    return columns[-1] if columns and "Int" in family.source.source.types[columns[-1]] else None


def _rank(family: Family) -> str:
    """The place of a trade: exchange time, sequence and offset as the digits of one number, which compares fast."""
    sequence = _sequence(family)
    digits = [family.source.time_us or "0"]
    digits.append(f"ifNull({sequence}, 0)" if sequence else "0")
    digits.append(family.distinct_by[2] if family.distinct_by else "0")
    high, middle, low = (f"toUInt256(toUInt64({digit}))" for digit in digits)
    return f"bitShiftLeft({high}, 128) + bitShiftLeft({middle}, 64) + {low}"


def _made(family: Family, trades: str, spans: Sequence[int], scale: int) -> str:
    """Candles of all spans from rows of trades."""
    base = math.gcd(*spans)
    names = [f"k2_k{index}" for index in range(len(_keys(family)))]
    by = "".join(f"{name}, " for name in names)
    window = f"toUInt32(intDiv(k2_time, {base * 1_000_000}) * {base})"
    sums = (
        "count() AS k2_n, sum(k2_size) AS k2_v, max(k2_price) AS k2_h, min(k2_price) AS k2_l, max(k2_touching) AS k2_in"
    )
    if _ordered(family):
        ends = (
            "[argMin(k2_price, k2_rank)] AS k2_o, [argMax(k2_price, k2_rank)] AS k2_c, "
            "min(k2_rank) AS k2_first, max(k2_rank) AS k2_last"
        )
        inner = f"SELECT {by}{window} AS k2_base, {sums}, {ends} FROM ({trades}) GROUP BY {by}k2_base"
    else:
        # All prices of one moment: any of them may be said to be the first, or the last.
        ends = "groupUniqArray(k2_price) AS k2_o, k2_o AS k2_c, k2_time AS k2_first, k2_time AS k2_last"
        inner = f"SELECT {by}k2_time, {window} AS k2_base, {sums}, {ends} FROM ({trades}) GROUP BY {by}k2_time"
    wide = ", ".join(f"toUInt32({span})" for span in spans)
    return (
        f"SELECT k2_seconds, {_texts(names)} AS k2_key, toUInt32(intDiv(k2_base, k2_seconds) * k2_seconds) "
        "AS k2_window, 1 AS k2_made, [toDecimal256(sum(k2_n), 0)] AS k2_trade_count, "
        f"[toDecimal256(sum(k2_v), {scale})] AS k2_volume, [toDecimal256(max(k2_h), {scale})] AS k2_high, "
        f"[toDecimal256(min(k2_l), {scale})] AS k2_low, "
        f"arrayMap(k2_x -> toDecimal256(k2_x, {scale}), argMin(k2_o, k2_first)) AS k2_open, "
        f"arrayMap(k2_x -> toDecimal256(k2_x, {scale}), argMax(k2_c, k2_last)) AS k2_close "
        f"FROM ({inner}) ARRAY JOIN [{wide}] AS k2_seconds "
        f"GROUP BY k2_seconds, {by}k2_window HAVING max(k2_in) > 0"
    )


def _texts(columns: Sequence[str]) -> str:
    """``columns`` as one array of texts."""
    return f"[{', '.join(f'toString({column})' for column in columns)}]" if columns else "emptyArrayString()"


def _stored(family: Family, candle: Table, period: tuple[int, int], scale: int) -> str:
    """The candles of a tier in the same shape; what it has no column for is an empty array."""
    tier, types = candle.tier, candle.source.types
    window = tier.columns["window"]
    key = _texts([*([tier.exchange_column] if tier.exchange_column else []), *family.keys])
    values = []
    for value in _VALUES:
        digits = 0 if value == "trade_count" else scale
        column = tier.columns.get(value)
        cast = f"ifNull({exact(column, types[column], digits)}, 0)" if column else f"toDecimal256(0, {digits})"
        values.append(f"{f'[{cast}]' if column else f'arrayPopBack([{cast}])'} AS k2_{value}")
    moment = f"toUnixTimestamp(toDateTime({window}))"
    return (
        f"SELECT toUInt32({seconds_of(tier.timeframe or '')}) AS k2_seconds, {key} AS k2_key, "
        f"toUInt32({moment}) AS k2_window, 0 AS k2_made, {', '.join(values)} FROM {candle.source.table} "
        f"WHERE {moment} >= {period[0]} AND {moment} < {period[1]}"
    )


def _differences() -> str:
    """Texts of the values that differ, each column, expected and seen."""
    several = "if(k2_stored > 1, [concat('candle', char(31), '1 row', char(31), toString(k2_stored), ' rows')], [])"
    parts = ["if(k2_stored = 0, [concat('candle', char(31), 'a candle', char(31), '')], [])", several]
    for value in _VALUES:
        seen, expected = f"k2_s_{value}", f"k2_e_{value}"
        text = (
            f"concat('{value}', char(31), arrayStringConcat(arrayMap(k2_x -> toString(k2_x), {expected}), ' or '), "
            f"char(31), toString({seen}[1]))"
        )
        parts.append(f"if(notEmpty({seen}) AND NOT has({expected}, {seen}[1]), [{text}], [])")
    return f"arrayConcat({', '.join(parts)})"


def _name() -> str:
    return (
        "arrayStringConcat(arrayPushBack(k2_key, "
        "formatDateTime(toDateTime(k2_window, 'UTC'), '%Y-%m-%dT%H:%i:%SZ', 'UTC')), '/')"
    )


def _scale(candle: Table) -> int:
    scales = [
        scale_of(candle.source.types[column])
        for value, column in candle.tier.columns.items()
        if value in ("open", "high", "low", "close", "volume")
    ]
    return max(scales, default=0)
