# SPDX-License-Identifier: Apache-2.0
"""The schedule never waits for the sending, and the truth log holds whatever may have been sent."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from k2lab.common.errors import LabError
from k2lab.exchange_simulator import dataset
from k2lab.exchange_simulator.schedule import Arrival, Schedule
from k2lab.exchange_simulator.truth import HEADER, SentTrade, TruthLog

DATA = Path(__file__).parents[4] / "lab/data/real_trades.csv"


def trade(sequence: int, symbol: str = "XRPETH") -> SentTrade:
    return SentTrade(sequence, "binance", symbol, 100 + sequence, "buy", "0.10", "1.00", 5_000_000 + sequence, 4, 5, 1)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_constant_schedule_is_exact() -> None:
    schedule = Schedule(Arrival.CONSTANT, 4.0, "seed")
    schedule.start(100.0)
    assert schedule.take(101.0, 10) == [100.25, 100.5, 100.75, 101.0]


def test_poisson_schedule_has_its_rate_and_depends_on_the_seed_alone() -> None:
    def due(seed: str, step: float) -> list[float]:
        schedule = Schedule(Arrival.POISSON, 50.0, seed)
        schedule.start(0.0)
        return [at for tick in range(1, int(100 / step) + 1) for at in schedule.take(tick * step, 10**6)]

    smooth, stalled = due("1/binance", 0.01), due("1/binance", 50.0)
    assert smooth == stalled  # a process that slept 50 s sends the same trades, late
    assert 4700 < len(smooth) < 5300
    assert due("2/binance", 50.0) != stalled


def test_nothing_is_due_while_stopped_or_at_rate_zero() -> None:
    schedule = Schedule(Arrival.CONSTANT, 10.0, "seed")
    assert schedule.take(1e9, 10) == []
    schedule.set(0.0, Arrival.CONSTANT, 5.0)
    assert schedule.take(1e9, 10) == []


def test_truth_log_resumes_where_it_stopped(tmp_path: Path) -> None:
    log = TruthLog(tmp_path, "binance", 10_000, 100_000)
    assert log.open({"XRPETH"}).sequence == 0
    log.append([trade(1), trade(2, "ETHUSDT"), trade(3)])
    log.close()
    resume = TruthLog(tmp_path, "binance", 10_000, 100_000).open({"XRPETH", "ETHUSDT"})
    assert (resume.sequence, dict(resume.trade_ids)) == (3, {"XRPETH": 103, "ETHUSDT": 102})
    assert (tmp_path / "binance.csv").read_text().splitlines()[0] == HEADER


def test_truth_log_rotates_keeps_its_cap_and_still_resumes(tmp_path: Path) -> None:
    log = TruthLog(tmp_path, "binance", 500, 1500)
    log.open({"XRPETH"})
    for sequence in range(1, 101):
        log.append([trade(sequence)])
    log.close()
    kept = sorted(int(row["sequence"]) for path in tmp_path.glob("*.csv") for row in rows(path))
    assert kept == list(range(kept[0], 101))
    assert 1 < kept[0] < 95
    assert log.removed_segments > 0
    assert sum(path.stat().st_size for path in tmp_path.glob("*.csv")) < 2500
    again = TruthLog(tmp_path, "binance", 500, 1500)
    assert again.open({"XRPETH"}).sequence == 100


def test_incomplete_last_line_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "binance.csv"
    path.write_text(f"{HEADER}\n{trade(1).csv_line()}2,binance,XRP")
    log = TruthLog(tmp_path, "binance", 10_000, 100_000)
    assert log.open({"XRPETH"}).sequence == 1
    log.append([trade(2)])
    log.close()
    assert [row["sequence"] for row in rows(path)] == ["1", "2"]


def test_foreign_file_is_refused_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "binance.csv").write_text("a,b\n1,2\n")
    with pytest.raises(LabError, match="truth log with the columns"):
        TruthLog(tmp_path, "binance", 10_000, 100_000).open(set())


def test_real_trades_keep_their_numbers_and_every_symbol_trades_all_the_time() -> None:
    loaded = dataset.load(DATA)
    assert {name: len(data.templates) for name, data in loaded.items()} == {
        "binance": 7000,
        "kraken": 644,
        "coinbase": 97,
    }
    binance = loaded["binance"]
    assert {template.symbol for template in binance.templates[:20]} == {"XRPETH", "ETHUSDT"}
    first = next(template for template in binance.templates if template.symbol == "XRPETH")
    assert (first.price, first.size, first.side) == ("0.00141342", "23.00000000", "sell")
    assert binance.last_trade_ids["XRPETH"] == 13525806
    assert {template.side for data in loaded.values() for template in data.templates} == {"buy", "sell"}


def test_missing_data_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"real_trades\.csv with --data"):
        dataset.load(tmp_path / "none.csv")
