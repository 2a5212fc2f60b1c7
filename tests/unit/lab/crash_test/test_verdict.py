# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from k2lab.crash_test.rounds import End, Kill
from k2lab.crash_test.verdict import gaps, recoveries
from k2lab.ground_truth import Gap

EXCHANGES = ("binance", "kraken", "coinbase")


def kill(service: str, recovery_s: float = 1.0, end: End = End.KILLED) -> Kill:
    return Kill(service, end, 0.5, 10_000_000, recovery_s, {})


def test_broker_database_and_processor_excuse_no_loss() -> None:
    assert gaps([kill("kafka"), kill("clickhouse"), kill("silver-processor")], EXCHANGES) == []


def test_a_handler_excuses_its_own_exchange_for_seconds() -> None:
    assert gaps([kill("feed-handler-kraken")], EXCHANGES) == [Gap("kraken", 9_000_000, 15_000_000)]


def test_the_simulator_excuses_every_exchange() -> None:
    assert [gap.exchange for gap in gaps([kill("exchange-simulator")], EXCHANGES)] == list(EXCHANGES)


def test_summary_by_service_and_way() -> None:
    stopped = kill("kafka", 9.0, End.STOPPED)
    summary = recoveries([kill("kafka", 5.0), kill("kafka", 3.0), stopped, kill("kafka", 4.0), kill("clickhouse", 1.0)])
    killed = summary["kafka killed"]
    assert (killed.n, killed.min_s, killed.median_s, killed.max_s) == (3, 3.0, 4.0, 5.0)
    assert summary["kafka stopped"].n == summary["clickhouse killed"].n == 1
