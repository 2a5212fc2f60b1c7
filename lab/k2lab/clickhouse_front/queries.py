# SPDX-License-Identifier: Apache-2.0
"""Running statements: bounded in number, known by their query id, stopped when nobody waits for them any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from .engine import Engine, Outcome, SessionSpec
from .errors import QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING, TOO_MANY_SIMULTANEOUS_QUERIES, ClickHouseError
from .statements import Statement

log = logging.getLogger(__name__)

_KILL_TIMEOUT_S: Final = 10.0
_KILL_INTERVAL_S: Final = 0.1  # a kill finds nothing while the query is still being parsed, so it is repeated
_CONTROL_THREADS: Final = 2


class Queries:
    """Runs statements on threads, at most `max_concurrent` at a time; used from the event loop only."""

    def __init__(self, engine: Engine, max_concurrent: int) -> None:
        self._engine = engine
        self._max_concurrent = max_concurrent
        self._threads = ThreadPoolExecutor(max_concurrent, thread_name_prefix="query")
        # KILL QUERY and metrics must get through when all query threads are busy.
        self._control = ThreadPoolExecutor(_CONTROL_THREADS, thread_name_prefix="control")
        self._running: dict[str, asyncio.Future[Outcome]] = {}
        self._stopping: set[asyncio.Task[None]] = set()

    async def run(self, spec: SessionSpec, statement: Statement, data: bytes, output_format: str) -> Outcome:
        """Run one statement; cancelling the caller (a client that hung up) stops it if it only reads.

        Raises ClickHouseError: 202 beyond the limit, 216 for a query id that is running, or the engine's own.
        """
        work: Callable[[], Outcome]
        if statement.input_format is None:
            work = partial(self._engine.query, spec, statement.sql, output_format)
        else:
            work = partial(self._engine.insert, spec, statement.sql, statement.input_format, data)
        if statement.kind == "KILL":
            return await asyncio.get_running_loop().run_in_executor(self._control, work)
        self._admit(spec.query_id)
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        self._running[spec.query_id] = future
        future.add_done_callback(lambda done: self._forget(spec.query_id, done))
        try:
            # The thread cannot be cancelled: its place is free only when the engine is done with it.
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if statement.only_reads and not future.done():
                task = asyncio.create_task(self._stop(spec.query_id, future))
                self._stopping.add(task)
                task.add_done_callback(self._stopping.discard)
            raise

    async def control(self, spec: SessionSpec, sql: str, output_format: str) -> Outcome:
        """Run a statement of the server itself, outside the limit."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._control, self._engine.query, spec, sql, output_format)

    async def stop_all(self) -> bool:
        """Stop whatever still runs, reads and writes; returns whether all of it ended within 10 s."""
        await asyncio.gather(*(self._stop(query_id, future) for query_id, future in list(self._running.items())))
        ended = not self._running
        for threads in (self._threads, self._control):
            threads.shutdown(wait=ended)
        return ended

    def _admit(self, query_id: str) -> None:
        if len(self._running) >= self._max_concurrent:
            raise ClickHouseError.of(
                TOO_MANY_SIMULTANEOUS_QUERIES, f"Too many simultaneous queries. Maximum: {self._max_concurrent}"
            )
        if query_id in self._running:
            raise ClickHouseError.of(
                QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING, f"Query with id = {query_id} is already running."
            )

    def _forget(self, query_id: str, done: asyncio.Future[Outcome]) -> None:
        del self._running[query_id]
        if not done.cancelled():
            done.exception()  # looked at, lest asyncio reports the error of a query whose client has gone

    async def _stop(self, query_id: str, future: asyncio.Future[Outcome]) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _KILL_TIMEOUT_S
        while not future.done():
            if loop.time() > deadline:
                log.warning("query %s did not stop within %.0f s of being killed", query_id, _KILL_TIMEOUT_S)
                return
            try:
                await loop.run_in_executor(self._control, self._engine.kill, query_id)
            except ClickHouseError as error:
                log.warning("cannot kill query %s: %s", query_id, error)
            await asyncio.wait({future}, timeout=_KILL_INTERVAL_S)
