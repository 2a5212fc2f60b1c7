# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from k2lab.common.errors import LabError
from k2lab.offload.columns import SourceColumn, UnsupportedTypeError, check_contract, column_of, contract, moved


@pytest.mark.parametrize(
    ("source", "iceberg", "required"),
    [
        ("String", "string", True),
        ("LowCardinality(String)", "string", True),
        ("LowCardinality(Nullable(String))", "string", False),
        ("Bool", "boolean", True),
        ("UInt8", "int", True),
        ("Int32", "int", True),
        ("UInt32", "long", True),
        ("Int64", "long", True),
        ("UInt64", "decimal(20, 0)", True),
        ("Nullable(UInt64)", "decimal(20, 0)", False),
        ("Decimal(38, 8)", "decimal(38, 8)", True),
        ("SimpleAggregateFunction(sum, Decimal(38, 8))", "decimal(38, 8)", True),
        ("SimpleAggregateFunction(max, DateTime64(6, 'UTC'))", "timestamptz", True),
        ("Nullable(DateTime64(6, 'UTC'))", "timestamptz", False),
        ("DateTime64(3, 'UTC')", "timestamptz", True),
        ("DateTime('UTC')", "timestamptz", True),
        ("Enum8('a' = 1, 'b, )' = 2)", "string", True),
        ("Nullable(Enum16('a' = 1))", "string", False),
        ("Date", "date", True),
        ("Array(LowCardinality(String))", "list<string>", True),
        ("Array(Nullable(UInt64))", "list<decimal(20, 0)>", True),
        ("Map(String, String)", "map<string, string>", True),
        ("Map(LowCardinality(String), Nullable(Decimal(10, 2)))", "map<string, decimal(10, 2)>", True),
    ],
)
def test_types_have_a_rule(source: str, iceberg: str, required: bool) -> None:
    column = column_of(SourceColumn("x", source))
    assert (str(column.type), column.required) == (iceberg, required)


@pytest.mark.parametrize(
    "source",
    [
        "DateTime64(9, 'UTC')",
        "DateTime64(6)",
        "DateTime('Europe/Berlin')",
        "Decimal(76, 8)",
        "FixedString(3)",
        "UInt128",
        "UUID",
        "Tuple(a String)",
        "Array(Enum8('a' = 1))",
        "Array(DateTime('UTC'))",
        "Map(UInt8, String)",
        "AggregateFunction(sum, UInt64)",
    ],
)
def test_what_could_lose_something_has_none(source: str) -> None:
    with pytest.raises(UnsupportedTypeError, match="a type with a rule for column x"):
        column_of(SourceColumn("x", source))


def test_kafka_offsets_and_counts_are_plain_numbers() -> None:
    assert str(column_of(SourceColumn("kafka_offset", "UInt64")).type) == "long"
    assert str(column_of(SourceColumn("trade_count", "SimpleAggregateFunction(sum, UInt64)")).type) == "long"


def test_enums_are_read_by_name_and_seconds_as_times() -> None:
    assert column_of(SourceColumn("side", "Enum8('a' = 1)")).expression == "toString(`side`) AS `side`"
    seconds = column_of(SourceColumn("w", "DateTime('UTC')")).expression
    assert seconds == "toDateTime64(`w`, 0, 'UTC') AS `w`"


def test_the_order_of_columns_is_not_part_of_the_contract_and_anything_else_is() -> None:
    source = [SourceColumn("a", "String"), SourceColumn("b", "UInt8"), SourceColumn("first_trade", "Tuple(x UInt8)")]
    kept = contract(moved(source))
    check_contract("t", kept, moved(source[::-1]))
    with pytest.raises(LabError, match=r"b UInt8 is now UInt16; c absent is now String; what to do: nothing was moved"):
        check_contract("t", kept, [source[0], SourceColumn("b", "UInt16"), SourceColumn("c", "String")])
    with pytest.raises(LabError, match="b UInt8 is now absent"):
        check_contract("t", kept, [source[0]])
