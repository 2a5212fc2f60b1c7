# SPDX-License-Identifier: Apache-2.0
"""Exactly once: proven on the real lab, and the proof proven on labs that are wrong in a known way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ports import free_base_port

from k2lab.common.clock import now_us
from k2lab.crash_test.target import PROCESSOR, Target
from k2lab.ground_truth import Result, compare

from .lab import ROOT, Lab

RATE = 200.0
DRAIN_S = 60.0


@pytest.fixture
def wrong_lab(tmp_path: Path) -> Iterator[Callable[..., Target]]:
    """Start a lab of its own with a known-bad part, given as variables of the role."""
    lab = Lab(tmp_path / "lab", free_base_port())

    def start(**variables: object) -> Target:
        lab.playbook("lab_up", **{"k2_lab_parts": [], **variables})
        return Target(lab.directory)

    yield start
    lab.playbook("lab_down", k2_lab_purge=True)


def run_load(target: Target, seconds: float, disturb: Callable[[], None] = lambda: None) -> Result:
    """Everything the lab sent since its start, compared after `seconds` of load and a drain."""
    target.set_rate(RATE)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        disturb()
        time.sleep(0.05)
    target.stop_load()
    target.drain(DRAIN_S)
    with target.clickhouse(60.0) as clickhouse:
        return compare(target.lab.truth, clickhouse, target.plan.broker, exchanges=target.exchanges)


def total(result: Result, count: Callable[[object], int]) -> int:
    return sum(count(exchange) for exchange in result.exchanges.values())


@pytest.mark.timeout(1200)  # each end of a service is followed by a full recovery
@pytest.mark.parametrize(
    ("end", "rounds", "services"),
    [("killed", 3, None), ("stopped", 3, "kafka,clickhouse,silver-processor")],
)
def test_nothing_is_lost_or_doubled_when_services_end(
    lab: Lab, tmp_path: Path, end: str, rounds: int, services: str | None
) -> None:
    output = tmp_path / "crash-test.json"
    command = [sys.executable, "-m", "k2lab.crash_test", "--lab-dir", str(lab.directory), "--output", str(output)]
    command += ["--end", end, "--rounds", str(rounds), *(["--services", services] if services else [])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "lab")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(output.read_text())
    assert result["exact"]
    assert {recovery["n"] for recovery in result["recovery"].values()} == {rounds}
    for exchange in result["comparison"]["exchanges"].values():
        assert exchange["sent"] > 0
        assert (
            exchange["broker"]
            == exchange["raw"]
            == exchange["bronze"]
            == exchange["silver"]
            == exchange["silver_distinct"]
        )
        assert set(exchange["candle_trades"].values()) == {exchange["silver_valid"]}


def test_a_processor_that_drops_17_rows_is_caught(wrong_lab: Callable[..., Target]) -> None:
    result = run_load(wrong_lab(k2_lab_processor_variant="drop", k2_lab_processor_variant_rows=17), 3.0)
    assert not result.exact
    assert total(result, lambda exchange: exchange.lost_in_pipeline.count) == 17
    assert total(result, lambda exchange: exchange.lost_by_tier.get("raw", 0)) == 17
    assert total(result, lambda exchange: exchange.lost_upstream.count) == 0
    assert total(result, lambda exchange: sum(exchange.duplicated.values())) == 0


def test_a_processor_that_doubles_5_rows_is_caught(wrong_lab: Callable[..., Target]) -> None:
    result = run_load(wrong_lab(k2_lab_processor_variant="double", k2_lab_processor_variant_rows=5), 3.0)
    assert not result.exact
    for tier in ("raw", "bronze", "silver"):
        assert total(result, lambda exchange, tier=tier: exchange.duplicated[tier]) == 5
    assert total(result, lambda exchange: exchange.lost_in_pipeline.count) == 0
    surplus = sum(
        int(difference.seen) - int(difference.expected)
        for difference in result.candle_differences
        if difference.column == "trade_count" and difference.timeframe == "1d"
    )
    assert surplus == 5


def test_a_processor_without_intents_doubles_rows_when_killed(wrong_lab: Callable[..., Target]) -> None:
    target = wrong_lab(k2_lab_processor_variant="at-least-once")
    due = [time.monotonic() + 2.4, time.monotonic() + 4.7]

    def kill() -> None:
        pid = target.running_pid(PROCESSOR)
        if due and time.monotonic() > due[0] and pid is not None:
            os.kill(pid, signal.SIGKILL)
            del due[0]

    result = run_load(target, 6.0, kill)
    with target.clickhouse(30.0) as clickhouse:
        [[surplus]] = clickhouse.rows(
            "SELECT count() - uniqExact(topic, kafka_partition, kafka_offset) FROM k2.silver_trades"
        )
    assert int(surplus) > 0
    assert not result.exact
    assert total(result, lambda exchange: exchange.duplicated["silver"]) == int(surplus)
    assert total(result, lambda exchange: exchange.lost_in_pipeline.count) == 0


def test_summing_candles_are_caught_after_a_merge(wrong_lab: Callable[..., Target]) -> None:
    target = wrong_lab(k2_lab_candles="summing")
    started = now_us()
    run_load(target, 4.0)
    with target.clickhouse(60.0) as clickhouse:
        clickhouse.execute("OPTIMIZE TABLE k2.ohlcv_1d FINAL")
        result = compare(target.lab.truth, clickhouse, target.plan.broker, exchanges=target.exchanges, since_us=started)
    wrong = {difference.column for difference in result.candle_differences}
    assert "close_price" in wrong
    assert not wrong & {"volume", "quote_volume", "trade_count"}
    assert not result.exact
