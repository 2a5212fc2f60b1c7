# SPDX-License-Identifier: Apache-2.0
"""Prometheus metrics of the simulator, one child of each per exchange."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

# Seconds; lateness of an idle loop is well under 2 ms, a stall shows in the last buckets.
LATENESS_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class ExchangeMetrics:
    """The metrics of one exchange, already bound to its label."""

    def __init__(self, families: MetricFamilies, exchange: str) -> None:
        self.sent = families.sent.labels(exchange)
        self.lateness = families.lateness.labels(exchange)
        self.connections = families.connections.labels(exchange)
        self.rate = families.rate.labels(exchange)
        self.last_sequence = families.last_sequence.labels(exchange)
        self.cut = families.cut.labels(exchange)
        self.refused = families.refused.labels(exchange)
        self.slow_clients = families.slow_clients.labels(exchange)


class MetricFamilies:
    """All metric families, registered once in `registry`."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.registry = registry
        self.sent = Counter(
            "exchange_simulator_trades_sent", "Trades logged and sent.", ["exchange"], registry=registry
        )
        self.lateness = Histogram(
            "exchange_simulator_send_lateness_seconds",
            "Time from a trade's scheduled time to its sending.",
            ["exchange"],
            buckets=LATENESS_BUCKETS,
            registry=registry,
        )
        self.connections = Gauge(
            "exchange_simulator_connections", "WebSocket clients connected.", ["exchange"], registry=registry
        )
        self.rate = Gauge(
            "exchange_simulator_rate_trades_per_second", "Scheduled rate.", ["exchange"], registry=registry
        )
        self.last_sequence = Gauge(
            "exchange_simulator_last_sequence", "Sequence of the last trade logged.", ["exchange"], registry=registry
        )
        self.cut = Counter(
            "exchange_simulator_connections_cut", "Connections dropped by command.", ["exchange"], registry=registry
        )
        self.refused = Counter(
            "exchange_simulator_connections_refused", "Connections refused by command.", ["exchange"], registry=registry
        )
        self.slow_clients = Counter(
            "exchange_simulator_slow_clients",
            "Clients dropped for reading too slowly.",
            ["exchange"],
            registry=registry,
        )

    def of(self, exchange: str) -> ExchangeMetrics:
        """The children of `exchange`; creating them makes every counter start at zero, not absent."""
        return ExchangeMetrics(self, exchange)
