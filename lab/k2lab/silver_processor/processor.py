# SPDX-License-Identifier: Apache-2.0
"""The loop: gather, announce, insert, and settle when idle."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from k2lab.clickhouse_http import ClickHouse
from k2lab.common.clock import now_us
from k2lab.common.status import Health
from k2lab.silver_processor import metrics
from k2lab.silver_processor.intent import Intent
from k2lab.silver_processor.linger import Linger
from k2lab.silver_processor.rows import Row
from k2lab.silver_processor.sink import Sink, StoppedError
from k2lab.silver_processor.source import Source
from k2lab.silver_processor.variants import Saboteur, Variant

_IDLE_POLL_S = 0.1
_STALLED_AFTER_S = 10.0
_LAG_EVERY_S = 1.0
_AT_LEAST_ONCE_COMMIT_EVERY_S = 1.0


@dataclass(frozen=True)
class Settings:
    """The processor's configuration, checked at the command line."""

    bootstrap: str
    topics: tuple[str, ...]
    group: str
    database: str
    table: str
    linger_ms: float
    max_batch_rows: int
    variant: Variant
    variant_rows: int


class Processor:
    """Moves records until `stop` is set. Memory is bounded by one batch and the consumer's queue (16 MiB)."""

    def __init__(self, settings: Settings, clickhouse: ClickHouse, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._source = Source(settings.bootstrap, settings.topics, settings.group, self._keep_waiting)
        self._sink = Sink(clickhouse, settings.database, settings.table, self._keep_waiting)
        self._linger = Linger(settings.linger_ms)
        self._saboteur = Saboteur(settings.variant, settings.variant_rows)
        self._progress = time.monotonic()
        self._lag_shown = 0.0
        self._committed = 0.0

    def run(self) -> None:
        """Until stopped. Raises LabError when only an operator, or a restart, can help."""
        try:
            self._source.subscribe()
            while not self._stop.is_set():
                self._step()
            self._source.settle()
        except StoppedError:
            pass
        finally:
            self._source.close()

    def health(self) -> Health:
        """Healthy while everything read is written soon; called from the status server's thread."""
        reasons = [trouble for trouble in (self._source.trouble, self._sink.trouble) if trouble]
        stalled_s = time.monotonic() - self._progress
        if not self._source.assigned:
            reasons.append("no partitions assigned")
        elif stalled_s > _STALLED_AFTER_S:
            reasons.append(f"no progress for {stalled_s:.0f} s")
        return Health.of(reasons, since_progress_s=round(stalled_s, 3), linger_ms=round(self._linger.ms, 1))

    def _step(self) -> None:
        self._source.resume()
        self._gather()
        if self._source.newly_assigned:
            self._recover()
        if self._source.buffered:
            self._process()
        elif self._settings.variant is Variant.AT_LEAST_ONCE:
            self._commit_at_least_once()
        elif not self._source.settled:
            self._source.settle()
        now = time.monotonic()
        self._progress = now
        if now - self._lag_shown >= _LAG_EVERY_S:
            self._source.update_lag()
            metrics.LINGER_SECONDS.set(self._linger.ms / 1000)
            self._lag_shown = now

    def _gather(self) -> None:
        """Wait for a first record, then until the oldest has waited its linger or the batch is full."""
        most = self._settings.max_batch_rows
        if not self._source.buffered and not self._source.read(1, _IDLE_POLL_S):
            return
        while (room := most - self._source.buffered) > 0 and not self._stop.is_set():
            # The oldest record's age by the broker's clock; on a host with another clock this is off by the difference,
            # so it is bounded to what can be true: it came after the last batch was done gathering.
            age_ms = min(max(time.time() * 1000 - (self._source.oldest_buffered_ms or 0), 0.0), self._linger.ms)
            left_s = (self._linger.ms - age_ms) / 1000
            if left_s <= 0:
                self._source.read(room, 0)
                return
            self._source.read(room, left_s)

    def _recover(self) -> None:
        intent = self._source.recover()
        if intent is None or self._settings.variant is Variant.AT_LEAST_ONCE:
            return
        state = self._sink.state(intent)
        self._sink.resolve(intent, state, self._source.fetch, self._source.announce)
        self._source.finish(intent)
        self._source.settle()

    def _process(self) -> None:
        intent, rows = self._source.batch(self._settings.max_batch_rows)
        started = time.monotonic()
        if self._settings.variant is Variant.AT_LEAST_ONCE:
            self._process_at_least_once(intent, rows)
        else:
            self._source.announce(intent)
            if not self._sink.insert(intent, self._saboteur.apply(rows)):
                self._sink.resolve(intent, self._sink.state(intent), lambda _: rows, self._source.announce)
            self._source.finish(intent)
        _tell_latency(rows)
        self._linger.observe((time.monotonic() - started) * 1000)

    def _process_at_least_once(self, intent: Intent, rows: Sequence[Row]) -> None:
        self._sink.insert_unprotected(rows)
        self._source.finish(intent)
        self._commit_at_least_once()

    def _commit_at_least_once(self) -> None:
        if time.monotonic() - self._committed >= _AT_LEAST_ONCE_COMMIT_EVERY_S:
            self._source.commit_done()
            self._committed = time.monotonic()

    def _keep_waiting(self, seconds: float) -> None:
        self._source.keep_alive()
        if self._stop.wait(seconds):
            raise StoppedError


def _tell_latency(rows: Sequence[Row]) -> None:
    """All of the rows have just been acknowledged: the views are filled by the same insert."""
    acknowledged_us = now_us()
    for row in rows:
        if row.exchange_time_us is not None:
            metrics.TRADE_SECONDS.labels(row.partition.topic).observe((acknowledged_us - row.exchange_time_us) / 1e6)
