# SPDX-License-Identifier: Apache-2.0
"""How fine a time column really is: by its type, by what the profile says, and by the values it holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from ...core.errors import K2Error
from ...core.suggest import did_you_mean
from ...profile.model import Resolution, Tier, TimeColumn
from .session import Session

_SAID_US = {Resolution.MICROSECOND: 1, Resolution.MILLISECOND: 1_000, Resolution.SECOND: 1_000_000}
_DATETIME64 = re.compile(r"^DateTime64\((\d)")
# Steps that a clock or a conversion may have; a column whose values are all multiples of one is as coarse as that.
STEPS_US = (1_000_000, 100_000, 10_000, 1_000, 100, 10)


class TableMissing(K2Error):  # noqa: N818 - see core.errors
    """A table of the profile is not there."""


class ColumnMissing(K2Error):  # noqa: N818 - see core.errors
    """A column of the profile is not there."""


@dataclass(frozen=True)
class Table:
    """A table and its columns' types by name."""

    database: str
    name: str
    types: Mapping[str, str]


@dataclass(frozen=True)
class Moment:
    """A moment of the path as a column of a tier; type and profile let it be as fine as ``type_us`` microseconds."""

    name: str
    tier: str
    column: str
    type: str
    type_us: Optional[int]

    def as_us(self) -> str:
        """SQL: the moment in microseconds since the epoch."""
        kind = bare_type(self.type)
        if kind.startswith(("Int", "UInt")):
            return f"toInt64({self.column}) * {self.type_us}"
        return f"toUnixTimestamp64Micro(toDateTime64({self.column}, 6, 'UTC'))"

    def bounds(self, low_us: Optional[int], high_us: Optional[int]) -> str:
        """SQL: the moment lies in [low, high); on the bare column, so that keys and partitions narrow the search."""
        return " AND ".join(
            f"{self.column} {operator} {self._value(us)}"
            for operator, us in ((">=", low_us), ("<", high_us))
            if us is not None
        )

    def _value(self, us: int) -> str:
        if bare_type(self.type).startswith(("Int", "UInt")):
            return str(-(-us // (self.type_us or 1)))
        return f"fromUnixTimestamp64Micro(toInt64({us}), 'UTC')"


def bare_type(kind: str) -> str:
    """A type without Nullable and LowCardinality."""
    for wrapper in ("LowCardinality(", "Nullable("):
        if kind.startswith(wrapper):
            return bare_type(kind[len(wrapper) : -1])
    return kind


def split_name(table: str, database: str) -> tuple[str, str]:
    """Database and name of a table as the profile spells it."""
    first, dot, second = table.replace("`", "").partition(".")
    return (first, second) if dot else (database, first)


def read_table(session: Session, table: str, database: str) -> Table:
    """The columns of ``table``; raises TableMissing."""
    owner, name = split_name(table, database)
    rows = session.ask(
        "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String}",
        {"database": owner, "table": name},
    ).rows
    if not rows:
        raise TableMissing(
            f"there is no table {owner}.{name}",
            expected="the tables that k2_tiers names, readable by the user of k2_clickhouse",
            seen="no column of it in system.columns",
            action="correct the table or k2_clickhouse.database, or grant SELECT on it",
        )
    return Table(owner, name, {str(row[0]): str(row[1]) for row in rows})


def moment(tier: Tier, table: Table, name: str, time: TimeColumn) -> Moment:
    """The moment that ``time`` holds; raises ColumnMissing.

    The coarser of the type and what the profile says counts. A number is taken in the profile's unit.
    """
    kind = table.types.get(time.column)
    if kind is None:
        raise ColumnMissing(
            f"table {table.database}.{table.name} has no column {time.column}",
            expected=f"the column of hop {name} of tier {tier.name}",
            seen=f"{len(table.types)} other columns",
            action=did_you_mean(time.column, table.types),
        )
    said_us = _SAID_US[time.resolution]
    type_us = type_resolution_us(bare_type(kind), said_us)
    return Moment(name, tier.name, time.column, kind, None if type_us is None else max(said_us, type_us))


def type_resolution_us(kind: str, said_us: int) -> Optional[int]:
    """How fine a column of type ``kind`` can be, in microseconds; None for one that holds no time.

    ``said_us`` is the profile's word, which is all there is for a number.
    """
    found = _DATETIME64.match(kind)
    if found:
        return max(1, 10 ** (6 - int(found.group(1)))) if int(found.group(1)) <= 6 else 1
    if kind.startswith("DateTime"):
        return 1_000_000
    if kind.startswith("Date"):
        return 86_400_000_000
    return said_us if kind.startswith(("Int", "UInt")) else None


def coarseness(expression: str) -> str:
    """SQL: how coarse the values of a microsecond ``expression`` are: the largest step that all are multiples of."""
    branches = ", ".join(f"countIf({expression} % {step} != 0) = 0, {step}" for step in STEPS_US)
    return f"multiIf({branches}, 1)"
