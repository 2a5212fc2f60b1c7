# SPDX-License-Identifier: Apache-2.0
"""ClickHouse columns as Iceberg columns: every type by an explicit rule, none by guess, no value rounded or cut.

An Iceberg table keeps the columns it was made from. When ClickHouse shows others, the table is refused until somebody
decides what that means: silently dropping a new column or reading a changed one loses data for good.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    TimestamptzType,
)

from k2lab.common.errors import LabError

NOT_MOVED = frozenset({"first_trade", "last_trade"})
"""Tuples behind the candles' open and close; their fields are moved under K2's names (open_time, open_price, ...)."""

# UInt64 columns that cannot pass 2^63 - 1 by what they are. The conversion is checked all the same.
_SIGNED_64 = frozenset({"kafka_offset", "trade_count"})

_SIMPLE: dict[str, type[IcebergType]] = {
    "Bool": BooleanType,
    "Date": DateType,
    "Float32": FloatType,
    "Float64": DoubleType,
    "Int8": IntegerType,
    "Int16": IntegerType,
    "Int32": IntegerType,
    "Int64": LongType,
    "String": StringType,
    "UInt8": IntegerType,
    "UInt16": IntegerType,
    "UInt32": LongType,
}
_WRAPPED = re.compile(r"(LowCardinality|Nullable|Array)\((.*)\)")
_AGGREGATE = re.compile(r"SimpleAggregateFunction\(\w+, (.*)\)")
_MAP = re.compile(r"Map\(((?:LowCardinality\()?String\)?), (.*)\)")
_DECIMAL = re.compile(r"Decimal\((\d+), (\d+)\)")
_TIME = re.compile(r"DateTime64\([0-6], 'UTC'\)")
_SECONDS = "DateTime('UTC')"
_ENUM = ("Enum8(", "Enum16(")


class SourceColumn(NamedTuple):
    """A column as ClickHouse describes it."""

    name: str
    type: str


@dataclass(frozen=True)
class Column:
    """A column to move: its Iceberg type, whether it is always there, and the expression that reads it."""

    name: str
    type: IcebergType
    required: bool
    expression: str


class UnsupportedTypeError(LabError):
    """No rule for a column's type."""


def moved(source: Sequence[SourceColumn]) -> tuple[SourceColumn, ...]:
    """The columns that are moved."""
    return tuple(column for column in source if column.name not in NOT_MOVED)


def column_of(source: SourceColumn) -> Column:
    """The rule for one column; raises UnsupportedTypeError when there is none."""
    bare = source.type
    aggregate = _AGGREGATE.fullmatch(bare)
    if aggregate:
        bare = aggregate[1]
    bare, nullable = _unwrap(bare)
    ids = iter(range(1_000_000, 1_000_100))  # of nested fields; create_table() numbers all fields anew
    return Column(
        name=source.name,
        type=_top_level_type(bare, source, ids),
        required=not nullable,
        expression=_expression(bare, source.name),
    )


def fields(columns: Sequence[Column]) -> list[NestedField]:
    """The columns as fields of an Iceberg schema."""
    return [
        NestedField(number, column.name, column.type, required=column.required)
        for number, column in enumerate(columns, start=1)
    ]


def contract(source: Sequence[SourceColumn]) -> str:
    """What an Iceberg table keeps of the columns it was made from."""
    return json.dumps(sorted(source), separators=(",", ":"))


def check_contract(table: str, kept: str, source: Sequence[SourceColumn]) -> None:
    """Raise LabError, naming each difference, when ClickHouse no longer shows the columns of the contract."""
    expected = {str(name): str(type_) for name, type_ in json.loads(kept)}
    seen = dict(source)
    differences = [
        f"{name} {expected.get(name, 'absent')} is now {seen.get(name, 'absent')}"
        for name in sorted(expected.keys() | seen.keys())
        if expected.get(name) != seen.get(name)
    ]
    if differences:
        raise LabError(
            f"the columns from which the Iceberg table {table} was made",
            "; ".join(differences),
            f"nothing was moved. Undo the change in ClickHouse, or move {table} of the cold tier aside (rename it in "
            "the catalog and delete its row of offload_watermarks): the next run makes it anew from all of ClickHouse",
        )


def _unwrap(text: str) -> tuple[str, bool]:
    nullable = False
    while (match := _WRAPPED.fullmatch(text)) and match[1] != "Array":
        nullable |= match[1] == "Nullable"
        text = match[2]
    return text, nullable


def _top_level_type(bare: str, source: SourceColumn, ids: Iterator[int]) -> IcebergType:
    # Only here, where an expression can put right that they would arrive as numbers.
    if bare.startswith(_ENUM):
        return StringType()
    if bare == _SECONDS:
        return TimestamptzType()
    return _iceberg_type(bare, source, ids)


def _iceberg_type(bare: str, source: SourceColumn, ids: Iterator[int]) -> IcebergType:
    simple = _SIMPLE.get(bare)
    if simple is not None:
        return simple()
    if bare == "UInt64":
        return LongType() if source.name in _SIGNED_64 else DecimalType(20, 0)
    if decimal := _DECIMAL.fullmatch(bare):
        if int(decimal[1]) <= 38:
            return DecimalType(int(decimal[1]), int(decimal[2]))
    elif _TIME.fullmatch(bare):
        return TimestamptzType()
    elif array := _WRAPPED.fullmatch(bare):
        element, nullable = _unwrap(array[2])
        return ListType(next(ids), _iceberg_type(element, source, ids), element_required=not nullable)
    elif mapping := _MAP.fullmatch(bare):
        value, nullable = _unwrap(mapping[2])
        key_id, value_id = next(ids), next(ids)
        value_type = _iceberg_type(value, source, ids)
        return MapType(key_id, StringType(), value_id, value_type, value_required=not nullable)
    raise UnsupportedTypeError(
        f"a type with a rule for column {source.name}",
        source.type,
        f"nothing was moved. Add a rule to {__name__}, or name the column in NOT_MOVED if it is not needed",
    )


def _expression(bare: str, name: str) -> str:
    # In ClickHouse's Arrow output a DateTime is a bare integer and an Enum its number.
    if bare == _SECONDS:
        return f"toDateTime64(`{name}`, 0, 'UTC') AS `{name}`"
    if bare.startswith(_ENUM):
        return f"toString(`{name}`) AS `{name}`"
    return f"`{name}`"
