# SPDX-License-Identifier: Apache-2.0
"""What the handler knows about itself: metrics, and whether trades flow."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from k2lab.common.status import Health

# Seconds. The budget is 1 ms from the exchange and 2 ms to the acknowledgement; the tail is for outages.
LATENCY_BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ACK_LATE_S = 5.0  # records wait and nothing was acknowledged for so long: the broker is in trouble


class Metrics:
    """All metrics of a handler, bound to its exchange, so that every counter starts at zero instead of absent."""

    def __init__(self, exchange: str, registry: CollectorRegistry = REGISTRY) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"feed_handler_{name}", text, ["exchange"], registry=registry).labels(exchange)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"feed_handler_{name}", text, ["exchange"], registry=registry).labels(exchange)

        def histogram(name: str, text: str) -> Histogram:
            family = Histogram(f"feed_handler_{name}", text, ["exchange"], buckets=LATENCY_BUCKETS, registry=registry)
            return family.labels(exchange)

        self.trades_received = counter("trades_received", "Trades read from the exchange.")
        self.trades_produced = counter("trades_produced", "Trades whose raw record the broker acknowledged.")
        self.reconnects = counter("reconnects", "Connections lost or attempts failed, each followed by another one.")
        self.connected = gauge("connected", "1 while connected and subscribed.")
        self.last_message = gauge("last_message_timestamp_seconds", "When the last trade was received; 0: none yet.")
        self.produce_latency = histogram("produce_latency_seconds", "From produce to the broker's acknowledgement.")
        self.exchange_lag = histogram("exchange_lag_seconds", "From the exchange's trade time to receipt.")
        self.sequence_gaps = counter("sequence_gaps", "Holes seen in the exchange's numbering.")
        self.sequence_missed = counter("sequence_missed", "Messages or trades missing in those holes.")
        self.snapshot_trades = counter("snapshot_trades_skipped", "Trades of snapshots, which repeat earlier ones.")
        self.queue_depth = gauge("queue_depth", "Records not yet acknowledged by the broker.")
        self.delivery_failures = counter("delivery_failures", "Records the broker never acknowledged: lost.")
        self.backpressure = counter("backpressure_seconds", "Time reading stood still because the queue was full.")
        self._exchange = exchange
        self._dead_letters = Counter(
            "feed_handler_dead_letters",
            "Frames or trades sent to the dead-letter topic.",
            ["exchange", "reason"],
            registry=registry,
        )
        for reason in ("invalid_json", "unexpected_shape", "invalid_field", "invalid_number", "invalid_time"):
            self._dead_letters.labels(exchange, reason)

    def dead_letter(self, reason: str) -> None:
        """Count one dead letter."""
        self._dead_letters.labels(self._exchange, reason).inc()


@dataclass
class Status:
    """Facts written by the feed and the publisher and read by /health from another thread (single assignments only).

    Times are of the monotonic clock, in seconds.
    """

    started: float
    connected: bool = False
    connection: str = "not tried yet"
    refused: tuple[str, ...] = ()
    last_trade: float | None = None
    last_ack: float | None = None
    broker_error: str | None = None
    last_failure: float | None = None
    trades: int = 0


def health(status: Status, url: str, stale_after_s: float, queue_depth: Callable[[], int]) -> Health:
    """Judge whether trades flow from the exchange at `url` to the broker."""
    now = time.monotonic()
    reasons: list[str] = []
    if not status.connected:
        reasons.append(f"not connected to {url}: {status.connection}")
    reasons.extend(f"the exchange refused: {words}" for words in status.refused)
    trade_age = now - (status.started if status.last_trade is None else status.last_trade)
    if trade_age > stale_after_s:
        reasons.append(f"no trade for {trade_age:.1f} s (limit {stale_after_s:g} s)")
    depth = queue_depth()
    ack_age = now - (status.started if status.last_ack is None else status.last_ack)
    if status.broker_error is not None:
        reasons.append(f"broker: {status.broker_error}")
    elif depth and ack_age > ACK_LATE_S:
        reasons.append(f"broker: {depth} records wait, none acknowledged for {ack_age:.1f} s")
    if status.last_failure is not None and now - status.last_failure <= stale_after_s:
        reasons.append("broker: records were lost after the delivery timeout, see the log")
    return Health.of(
        reasons,
        connected=status.connected,
        last_message_age_s=None if status.last_trade is None else round(now - status.last_trade, 3),
        last_ack_age_s=None if status.last_ack is None else round(now - status.last_ack, 3),
        queue_depth=depth,
        trades_received=status.trades,
    )
