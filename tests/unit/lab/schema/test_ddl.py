# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from k2lab.schema import CANDLE_TABLES, TIMEFRAMES, CandleEngine, statements


@pytest.mark.parametrize("engine", list(CandleEngine))
def test_every_table_comes_before_the_view_that_fills_it(engine: CandleEngine) -> None:
    names = [statement.name for statement in statements("k2", engine)]
    assert names[0] == "k2"
    assert len(names) == len(set(names))
    for table in ("bronze_trades", "silver_trades", *CANDLE_TABLES):
        assert names.index(table) < names.index(f"{table}_mv")


def test_nothing_is_left_to_substitute() -> None:
    for statement in statements("other"):
        assert "${" not in statement.sql
        assert "k2." not in statement.sql


def test_digest_tells_the_two_candle_designs_apart() -> None:
    def comments(engine: CandleEngine) -> dict[str, str | None]:
        return {statement.name: statement.comment for statement in statements("k2", engine)}

    good, bad = comments(CandleEngine.AGGREGATING), comments(CandleEngine.SUMMING)
    assert {name for name in good if good[name] != bad[name]} == set(CANDLE_TABLES)


@pytest.mark.parametrize("name", ["", "k2; DROP TABLE x", "k-2", "2k", "k2.silver"])
def test_database_must_be_an_identifier(name: str) -> None:
    with pytest.raises(ValueError, match="plain identifier"):
        statements(name)


def test_longer_candles_are_made_of_whole_minutes() -> None:
    # The processor's ledger recomputes them from the one-minute candles.
    assert all(seconds % TIMEFRAMES["1m"] == 0 for seconds in TIMEFRAMES.values())
