# SPDX-License-Identifier: Apache-2.0
"""The processor's Prometheus metrics."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

ROWS = Counter("silver_processor_rows_inserted", "Rows inserted and acknowledged (retries counted once)")
BATCHES = Counter("silver_processor_batches", "Batches inserted and acknowledged")
INSERT_SECONDS = Histogram("silver_processor_insert_seconds", "One insert, sent to acknowledged", buckets=_BUCKETS_S)
COMMIT_SECONDS = Histogram(
    "silver_processor_commit_seconds", "One commit to Kafka, sent to acknowledged", buckets=_BUCKETS_S
)
RETRIES = Counter("silver_processor_retries", "Operations repeated after an error", ["operation"])
RECOVERIES = Counter(
    "silver_processor_recoveries", "Batches examined tier by tier after a doubt, by state found", ["found"]
)
REPAIRS = Counter(
    "silver_processor_repairs", "Half-written batches taken out of the tables, or their candles made again"
)
LAST_INSERT = Gauge("silver_processor_last_insert_timestamp_seconds", "Time of the last acknowledged insert")
LAG = Gauge(
    "silver_processor_lag_records", "Records between what is done and the partition's end", ["topic", "partition"]
)
TRADE_SECONDS = Histogram(
    "silver_processor_trade_seconds",
    "From the exchange's time of a trade until it is in every table and candle",
    ["topic"],
    buckets=_BUCKETS_S,
)
LINGER_SECONDS = Gauge("silver_processor_linger_seconds", "Current wait from a batch's first record to its insert")
