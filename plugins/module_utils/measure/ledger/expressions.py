# SPDX-License-Identifier: Apache-2.0
"""SQL expressions that make columns of different types comparable by value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from ...profile.model import Resolution, Tier
from .database import Database, Source
from .path import EXCHANGE_HOP

_DECIMAL = re.compile(r"Decimal\((\d+), (\d+)\)")
_SCALE_OF_OTHERS = 18
_STEP_US = {Resolution.MICROSECOND: 1, Resolution.MILLISECOND: 1000, Resolution.SECOND: 1_000_000}


@dataclass(frozen=True)
class Table:
    """A tier of ClickHouse that was looked at and can be read."""

    tier: Tier
    source: Source

    @property
    def scales(self) -> tuple[int, ...]:
        """Decimals of price and size."""
        columns = (self.tier.price_column, self.tier.size_column)
        return tuple(scale_of(self.source.types[column]) for column in columns if column)

    @property
    def time_us(self) -> Optional[str]:
        """The exchange's time of a row in microseconds since the epoch; None where the tier does not have it."""
        hop = self.tier.time_columns.get(EXCHANGE_HOP)
        return f"toUnixTimestamp64Micro(toDateTime64({hop.column}, 6))" if hop else None


def described(database: Database, tier: Tier) -> Table:
    """``tier`` with the types of all its columns.

    Raises TableMissing, ColumnMissing, QueryError, ClickHouseUnreachable.
    """
    named = [
        *tier.offset_columns,
        *tier.key_columns,
        *tier.sequence_columns,
        *(hop.column for hop in tier.time_columns.values()),
        *tier.columns.values(),
        *(c for c in (tier.exchange_column, tier.price_column, tier.size_column, tier.valid_column) if c),
    ]
    return Table(tier, database.describe(tier.table, tuple(dict.fromkeys(named))))


def scale_of(kind: str) -> int:
    """Decimals that a column of type ``kind`` holds; of what is no Decimal, as many as prices and sizes have."""
    found = _DECIMAL.search(kind)
    return int(found.group(2)) if found else _SCALE_OF_OTHERS


def exact(expression: str, kind: str, scale: int) -> str:
    """``expression`` as a Decimal of ``scale`` decimals; texts and floats by what they spell. NULL stays NULL."""
    if _DECIMAL.search(kind):
        return f"toDecimal256({expression}, {scale})"
    return f"toDecimal256OrNull(toString({expression}), {scale})"


def number(expression: str, kind: str) -> str:
    """``expression`` as a Decimal in its own scale, NULL as 0: to add up within one column, at little cost."""
    found = _DECIMAL.search(kind)
    if not found:
        return f"ifNull({exact(expression, kind, _SCALE_OF_OTHERS)}, 0)"
    return f"ifNull({expression}, CAST(0, '{found.group()}'))" if kind.startswith("Nullable(") else expression


@dataclass(frozen=True)
class Role:
    """What a column means, and the expression that tells it in the upper and in the lower tier, as a Nullable text.

    ``spelling`` says that tiers may rightly spell it in two ways (a symbol, a stream), so that it counts only if any
    record has it alike.
    """

    name: str
    upper: str
    lower: str
    spelling: bool = False


def shared_roles(upper: Table, lower: Table) -> tuple[Role, ...]:
    """What two tiers both say of a record: exchange, its time, price, size, and the columns of its sequence."""
    roles: list[Role] = []
    above, below = upper.tier, lower.tier
    if above.exchange_column and below.exchange_column:
        roles.append(Role("exchange", _text(above.exchange_column), _text(below.exchange_column), spelling=True))
    streams = (_streams(above), _streams(below))
    if len(streams[0]) == len(streams[1]):
        pairs = zip(*streams)
        roles += [Role(low, _text(up), _text(low), spelling=True) for up, low in pairs]
    if upper.time_us and lower.time_us:
        hops = (above.time_columns[EXCHANGE_HOP], below.time_columns[EXCHANGE_HOP])
        step = max(_STEP_US[hop.resolution] for hop in hops)
        above_us, below_us = (f"toString(intDiv({each}, {step}))" for each in (upper.time_us, lower.time_us))
        roles.append(Role("exchange time", above_us, below_us))
    for name, up, low in (
        ("price", above.price_column, below.price_column),
        ("size", above.size_column, below.size_column),
    ):
        if up and low:
            kinds = (upper.source.types[up], lower.source.types[low])
            scale = max(scale_of(kind) for kind in kinds)
            above_value, below_value = (f"toString({exact(c, kind, scale)})" for c, kind in zip((up, low), kinds))
            roles.append(Role(name, above_value, below_value))
    return tuple(roles)


def _streams(tier: Tier) -> Sequence[str]:
    return [column for column in tier.sequence_columns if column != tier.exchange_column]


def _text(column: str) -> str:
    return f"toString({column})"


def not_null(expression: str) -> str:
    """A Nullable text as one that is none, NULL being told from the empty text."""
    return f"ifNull({expression}, '(null)')"
