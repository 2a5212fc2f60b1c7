# SPDX-License-Identifier: Apache-2.0
"""Backoff, gap detection and the judgement of /health."""

from __future__ import annotations

import random
import time

import pytest
from prometheus_client import CollectorRegistry

from k2lab.feed_handler.__main__ import parse
from k2lab.feed_handler.backoff import Backoff
from k2lab.feed_handler.feed import Gaps
from k2lab.feed_handler.monitor import Metrics, Status, health
from k2lab.feed_handler.records import Trade

ARGUMENTS = [
    *("--exchange", "binance", "--url", "ws://127.0.0.1:1/ws", "--symbols", "A,B", "--bootstrap", "127.0.0.1:1"),
    *("--raw-topic", "r", "--topic", "n", "--dead-letter-topic", "d", "--http-port", "1"),
]


def trade(sequence: int, symbol: str = "A") -> Trade:
    return Trade("{}", symbol, symbol, str(sequence), "1", "1", "buy", 1, sequence)


def test_backoff_grows_to_its_ceiling_with_full_jitter_and_resets() -> None:
    backoff = Backoff(0.1, 5.0, random.Random(1))
    delays = []
    for _ in range(200):
        backoff.reset()
        delays.append([backoff.next_delay() for _ in range(20)])
    for attempt in range(20):
        ceiling = min(5.0, 0.1 * 2**attempt)
        drawn = [delay[attempt] for delay in delays]
        assert 0 <= min(drawn) < 0.2 * ceiling
        assert 0.8 * ceiling < max(drawn) <= ceiling


def test_backoff_survives_years_of_failures() -> None:
    backoff = Backoff(0.1, 5.0, random.Random(1))
    assert all(backoff.next_delay() <= 5.0 for _ in range(5000))


def test_gaps_are_counted_per_symbol_and_per_connection() -> None:
    registry = CollectorRegistry()
    gaps = Gaps(Metrics("binance", registry))
    for sequence, symbol in [(1, "A"), (2, "A"), (5, "A"), (100, "B"), (101, "B"), (6, "A")]:
        gaps.trade(trade(sequence, symbol))
    gaps.message(0)
    gaps.message(3)
    gaps.new_connection()
    gaps.message(0)
    labels = {"exchange": "binance"}
    assert registry.get_sample_value("feed_handler_sequence_gaps_total", labels) == 2
    assert registry.get_sample_value("feed_handler_sequence_missed_total", labels) == 4


def test_health_is_ok_only_while_trades_flow_to_the_broker() -> None:
    now = time.monotonic()
    status = Status(started=now - 100, connected=True, last_trade=now, last_ack=now)

    def reasons(depth: int = 0) -> str:
        return " | ".join(health(status, "ws://x", 10.0, lambda: depth).reasons)

    assert reasons() == ""
    status.last_trade = now - 11
    assert "no trade for 11" in reasons()
    status.last_trade = now
    status.last_ack = now - 6
    assert reasons() == ""  # nothing waits: there was nothing to acknowledge
    assert "3 records wait" in reasons(3)
    status.broker_error = "all brokers down"
    assert "all brokers down" in reasons()
    status.broker_error = None
    status.connected = False
    status.connection = "refused"
    assert "not connected to ws://x: refused" in reasons()
    status.connected = True
    status.refused = ("A: unknown",)
    assert "A: unknown" in reasons()


def test_a_handler_that_never_saw_a_trade_turns_unhealthy() -> None:
    status = Status(started=time.monotonic() - 11, connected=True)
    assert not health(status, "ws://x", 10.0, lambda: 0).ok


def test_command_line_is_read() -> None:
    options_read = parse(ARGUMENTS)
    assert options_read.symbols == ("A", "B")
    assert options_read.stale_after == 10.0


@pytest.mark.parametrize(("flag", "value"), [("--url", "http://x"), ("--symbols", "A,A"), ("--http-port", "0")])
def test_command_line_refuses_what_cannot_work(flag: str, value: str) -> None:
    arguments = list(ARGUMENTS)
    arguments[arguments.index(flag) + 1] = value
    with pytest.raises(SystemExit):
        parse(arguments)
