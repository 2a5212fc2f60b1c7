# SPDX-License-Identifier: Apache-2.0
"""How fine a time column is taken to be, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.columns import (
    Moment,
    bare_type,
    split_name,
    type_resolution_us,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.model import LEVELS
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.survey import refuse_coarse


@pytest.mark.parametrize(
    ("kind", "said_us", "fineness_us"),
    [
        ("DateTime64(6, 'UTC')", 1, 1),
        ("DateTime64(9)", 1, 1),
        ("DateTime64(3)", 1, 1_000),
        ("DateTime64(0)", 1, 1_000_000),
        ("DateTime", 1, 1_000_000),
        ("DateTime('Europe/Oslo')", 1, 1_000_000),
        ("Date", 1, 86_400_000_000),
        ("Date32", 1, 86_400_000_000),
        ("UInt64", 1_000, 1_000),
        ("Int64", 1, 1),
        ("String", 1, None),
        ("Float64", 1, None),
    ],
)
def test_a_type_lets_a_time_be_so_fine(kind: str, said_us: int, fineness_us: int | None) -> None:
    assert type_resolution_us(kind, said_us) == fineness_us


def test_wrappers_do_not_matter() -> None:
    assert bare_type("LowCardinality(Nullable(DateTime64(3, 'UTC')))") == "DateTime64(3, 'UTC')"


def test_a_table_may_name_its_database() -> None:
    assert split_name("`bets`.`stakes`", "other") == ("bets", "stakes")
    assert split_name("stakes", "bets") == ("bets", "stakes")


def moment(kind: str = "DateTime64(6, 'UTC')", type_us: int | None = 1) -> Moment:
    return Moment("exchange", "stakes", "placed", kind, type_us)


@pytest.mark.parametrize(
    ("type_us", "values_us", "needed_us", "resolution_ms"),
    [
        (1, 1, 10_000, None),
        (1, 10_000, 10_000, None),
        (1, 100_000, 10_000, 100.0),
        (1, None, 10_000, None),
        (1_000, 1_000, 500, 1.0),
        (1_000_000, 1_000_000, 50_000, 1_000.0),
    ],
)
def test_coarser_than_a_twentieth_of_the_target_is_refused(
    type_us: int, values_us: int | None, needed_us: float, resolution_ms: float | None
) -> None:
    refusal = refuse_coarse(moment(type_us=type_us), needed_us, values_us)
    assert (None if refusal is None else refusal.resolution_ms) == resolution_ms


def test_what_holds_no_time_is_refused() -> None:
    refusal = refuse_coarse(moment("String", None), 10_000, None)
    assert refusal is not None
    assert "is a String, which holds no time" in refusal.reason


def test_bounds_use_the_bare_column_so_that_keys_serve() -> None:
    assert moment().bounds(5, None) == "placed >= fromUnixTimestamp64Micro(toInt64(5), 'UTC')"
    milliseconds = moment("UInt64", 1_000)
    assert milliseconds.bounds(1_500, 3_000) == "placed >= 2 AND placed < 3"
    assert milliseconds.as_us() == "toInt64(placed) * 1000"


def test_the_grid_of_levels_is_dense_where_targets_lie() -> None:
    assert len(LEVELS) == 231
    assert (LEVELS[0], LEVELS[-1]) == (0.0, 1.0)
    assert all(low < high for low, high in pairwise(LEVELS))
    assert {0.5, 0.9, 0.95, 0.99, 0.999} <= set(LEVELS)
