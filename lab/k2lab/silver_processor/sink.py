# SPDX-License-Identifier: Apache-2.0
"""Insert a batch so that it is in every table exactly once, whatever happened before."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from k2lab.clickhouse_http import AmbiguousError, ClickHouse, ClickHouseError, QueryFailedError, RefusedError
from k2lab.common.errors import LabError
from k2lab.silver_processor import metrics
from k2lab.silver_processor.intent import Intent
from k2lab.silver_processor.ledger import Ledger, State
from k2lab.silver_processor.rows import COLUMNS, Row, row_binary

log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 0.25
_INSERTS_END_WITHIN_S = 60.0
_MOST_REPAIRS = 10

T = TypeVar("T")
Waiter = Callable[[float], None]
"""Waits that many seconds while keeping the consumer's membership alive; raises StoppedError when asked to stop."""


class StoppedError(Exception):
    """SIGTERM came while waiting for a server; the announced batch is left to the next start."""


class Sink:
    """The writing end. `keep_waiting` is called between attempts while ClickHouse cannot be used."""

    def __init__(self, clickhouse: ClickHouse, database: str, table: str, keep_waiting: Waiter) -> None:
        self._clickhouse = clickhouse
        self._database = database
        self._target = f"{database}.{table}"
        self._ledger = Ledger(clickhouse, database, table)
        self._keep_waiting = keep_waiting
        self.trouble: str | None = None

    def insert(self, intent: Intent, rows: Sequence[Row]) -> bool:
        """Insert once, deduplicated by the intent's token; False when it is not certain that all of it was written."""
        started = time.monotonic()
        try:
            token: dict[str, str | int] = {"insert_deduplication_token": intent.token}
            self._post(rows, token | {"insert_deduplicate": 1, "deduplicate_insert": "enable"})
        except ClickHouseError as error:
            self._note_trouble("insert", error)
            return False
        metrics.INSERT_SECONDS.observe(time.monotonic() - started)
        self._succeeded(len(rows))
        return True

    def insert_unprotected(self, rows: Sequence[Row]) -> None:
        """Insert without token until the server says yes: the known-bad variant's way."""
        self._persist("insert", lambda: self._post(rows, {"insert_deduplicate": 0, "deduplicate_insert": "disable"}))
        self._succeeded(len(rows))

    def state(self, intent: Intent) -> State:
        """After a doubt: wait out any insert still running, then examine each tier. Outlasts a server that is away."""
        found = self._persist("examine", lambda: self._settled_state(intent))
        metrics.RECOVERIES.labels(found.value).inc()
        return found

    def resolve(
        self, intent: Intent, state: State, fetch: Callable[[Intent], Sequence[Row]], announce: Callable[[Intent], None]
    ) -> None:
        """From any state to COMPLETE. `fetch` reads the batch's records, `announce` commits a new attempt to Kafka.

        An absent batch is first inserted under its own token, so that a twin still on its way to the server is
        discarded with it. If the server then holds back the rows (its deduplication log outlived the part), or rows
        are partial, the remains are taken out and a new token is used. Where only candles differ they are made again
        from silver, which is what they are a function of.
        """
        tried = False
        for _ in range(_MOST_REPAIRS):
            if state is State.COMPLETE:
                return
            if state is State.CANDLES_DIFFER:
                self._persist("repair", partial(self._remake_candles, intent))
            else:
                if state is State.PARTIAL or tried:
                    self._persist("repair", partial(self._take_out, intent))
                    intent = intent.next_attempt()
                    announce(intent)
                self.insert(intent, fetch(intent))
                tried = True
            state = self.state(intent)
        if state is not State.COMPLETE:
            raise LabError(
                f"batch {intent.batch} to be whole after {_MOST_REPAIRS} repairs",
                f"{state.value} after attempt {intent.attempt}",
                "compare raw, bronze, silver and candles by hand; the batch stays announced in Kafka",
            )

    def _post(self, rows: Sequence[Row], settings: dict[str, str | int]) -> None:
        self._clickhouse.execute(
            f"INSERT INTO {self._target} ({COLUMNS}) FORMAT RowBinary",
            body=row_binary(rows),
            settings={
                "async_insert": 0,
                "deduplicate_blocks_in_dependent_materialized_views": 1,
                # The six candle views side by side: the same work, done a quarter sooner where a core is free.
                "parallel_view_processing": 1,
                **settings,
            },
        )

    def _succeeded(self, rows: int) -> None:
        self.trouble = None
        metrics.ROWS.inc(rows)
        metrics.BATCHES.inc()
        metrics.LAST_INSERT.set_to_current_time()

    def _settled_state(self, intent: Intent) -> State:
        self._settle()
        return self._ledger.state(intent)

    def _settle(self) -> None:
        """Wait until no insert of ours runs any more: what is looked at, and what a repair adds to, stands still."""
        deadline = time.monotonic() + _INSERTS_END_WITHIN_S
        ours = f"query_kind = 'Insert' AND position(query, ' {self._database}.') > 0"
        while int(self._clickhouse.rows(f"SELECT count() FROM system.processes WHERE {ours}")[0][0]):
            if time.monotonic() > deadline:
                raise LabError(
                    f"inserts into {self._database} to end within {_INSERTS_END_WITHIN_S:g} s of the connection's end",
                    "one is still running",
                    "look at system.processes; restart ClickHouse if it cannot be killed",
                )
            self._keep_waiting(_FIRST_PAUSE_S)

    def _take_out(self, intent: Intent) -> None:
        log.warning("batch %s is partly written: taking it out", intent.batch)
        self._settle()
        self._ledger.take_out(intent)
        metrics.REPAIRS.inc()

    def _remake_candles(self, intent: Intent) -> None:
        log.warning("batch %s is written, but candles differ from silver: making them again", intent.batch)
        self._settle()
        self._ledger.remake_candles(intent)
        metrics.REPAIRS.inc()

    def _persist(self, operation: str, act: Callable[[], T]) -> T:
        """Repeat `act` until it succeeds: a server that is away comes back, and nothing else can be done without it."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                result = act()
            except (RefusedError, AmbiguousError, QueryFailedError) as error:
                self._note_trouble(operation, error)
                self._keep_waiting(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                self.trouble = None
                return result

    def _note_trouble(self, operation: str, error: ClickHouseError) -> None:
        self.trouble = f"{operation}: {error}"
        metrics.RETRIES.labels(operation).inc()
        log.warning("%s failed: %s", operation, error)
