# SPDX-License-Identifier: Apache-2.0
"""The connection to the exchange: subscribe, read, notice silence, reconnect."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

import aiohttp
from yarl import URL

from k2lab.common.clock import now_us
from k2lab.feed_handler import adapters
from k2lab.feed_handler.adapters.base import Adapter
from k2lab.feed_handler.backoff import Backoff
from k2lab.feed_handler.monitor import Metrics, Status
from k2lab.feed_handler.publisher import Publisher
from k2lab.feed_handler.records import Frame, Reject, Trade

log = logging.getLogger(__name__)

_CLOSE_S = 0.5  # a dead peer answers no closing handshake
_MAX_FRAME_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Timing:
    """Deadlines in seconds.

    connect_s: for the connect and the upgrade. subscribe_s: for the exchange to confirm the subscription.
    idle_s: without any frame, pongs included, the connection counts as dead. stable_s: a connection that lived so
    long makes the next failure start from the shortest backoff again.
    """

    connect_s: float = 5.0
    subscribe_s: float = 10.0
    idle_s: float = 6.0
    stable_s: float = 10.0


class ConnectionLostError(Exception):
    """This connection is over; the text says why."""


class Gaps:
    """Finds holes in the exchange's numbering."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._trades: dict[str, int] = {}
        self._message: int | None = None

    def new_connection(self) -> None:
        """Messages are numbered per connection; trades go on."""
        self._message = None

    def message(self, sequence: int) -> None:
        """Note the number of a message."""
        self._compare("messages", self._message, sequence)
        self._message = sequence

    def trade(self, trade: Trade) -> None:
        """Note the number of a trade."""
        if trade.sequence is not None:
            self._compare(trade.symbol, self._trades.get(trade.symbol), trade.sequence)
            self._trades[trade.symbol] = max(trade.sequence, self._trades.get(trade.symbol, 0))

    def _compare(self, what: str, last: int | None, sequence: int) -> None:
        if last is not None and sequence > last + 1:
            self._metrics.sequence_gaps.inc()
            self._metrics.sequence_missed.inc(sequence - last - 1)
            log.warning("%s: %d missing between %d and %d", what, sequence - last - 1, last, sequence)


class Feed:
    """Reads one exchange for ever."""

    def __init__(
        self,
        exchange: str,
        url: URL,
        symbols: tuple[str, ...],
        publisher: Publisher,
        backoff: Backoff,
        timing: Timing,
        metrics: Metrics,
        status: Status,
    ) -> None:
        self._exchange = exchange
        self._url = url
        self._symbols = symbols
        self._publisher = publisher
        self._backoff = backoff
        self._timing = timing
        self._metrics = metrics
        self._status = status
        self._gaps = Gaps(metrics)
        self._last_frame = 0.0

    async def run(self) -> None:
        """Connect, read, and connect again until cancelled. Raises LabError when records cannot be queued any more."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
            while True:
                connected_at = time.monotonic()
                try:
                    await self._connection(session)
                except (ConnectionLostError, aiohttp.ClientError, OSError, TimeoutError) as error:
                    why = str(error) or type(error).__name__
                finally:
                    self._status.connected = False
                    self._metrics.connected.set(0)
                if time.monotonic() - connected_at >= self._timing.stable_s:
                    self._backoff.reset()
                delay = self._backoff.next_delay()
                self._status.connection = f"{why} (attempt {self._backoff.failures}, next in {delay:.1f} s)"
                self._metrics.reconnects.inc()
                log.warning("%s: %s; next attempt in %.2f s", self._url, why, delay)
                await asyncio.sleep(delay)

    async def _connection(self, session: aiohttp.ClientSession) -> None:
        async with asyncio.timeout(self._timing.connect_s):
            socket = await session.ws_connect(
                self._url,
                autoping=False,  # pings and pongs are signs of life, so they have to be seen here
                max_msg_size=_MAX_FRAME_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
            )
        watchdog: asyncio.Task[None] | None = None
        try:
            adapter = adapters.create(self._exchange, self._url, self._symbols)
            self._gaps.new_connection()
            self._last_frame = time.monotonic()
            self._status.refused = ()
            for request in adapter.subscriptions():
                await socket.send_str(request)
            waiting = set(adapter.to_confirm)
            reader = asyncio.create_task(self._read(socket, adapter, waiting))
            watchdog = asyncio.create_task(self._watch(socket, waiting))
            try:
                done, _ = await asyncio.wait({reader, watchdog}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in (reader, watchdog):
                    task.cancel()
                await asyncio.gather(reader, watchdog, return_exceptions=True)
        finally:
            await socket.close()
        raise ConnectionLostError("the connection ended")

    async def _read(self, socket: aiohttp.ClientWebSocketResponse, adapter: Adapter, waiting: set[str]) -> None:
        while True:
            message = await socket.receive()
            received_at_us = now_us()
            self._last_frame = time.monotonic()
            if message.type is aiohttp.WSMsgType.TEXT:
                await self._handle(adapter.read(message.data), received_at_us, waiting)
            elif message.type is aiohttp.WSMsgType.PING:
                await socket.pong(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                text = message.data.decode(errors="surrogateescape")
                await self._dead_letter(Reject(text, "unexpected_shape", "expected a text frame"), received_at_us)
            elif message.type is not aiohttp.WSMsgType.PONG:
                raise ConnectionLostError(f"the exchange closed the connection ({_closing(socket, message)})")

    async def _handle(self, frame: Frame, received_at_us: int, waiting: set[str]) -> None:
        if frame.message_sequence is not None:
            self._gaps.message(frame.message_sequence)
        for trade in frame.trades:
            if frame.message_sequence is None:
                self._gaps.trade(trade)
            await self._publisher.publish(trade, received_at_us)
            self._status.trades += 1
            self._metrics.exchange_lag.observe((received_at_us - trade.exchange_time_us) / 1e6)
        if frame.trades:
            self._metrics.trades_received.inc(len(frame.trades))
            self._metrics.last_message.set(received_at_us / 1e6)
            self._status.last_trade = self._last_frame
        for reject in frame.rejects:
            await self._dead_letter(reject, received_at_us)
        if frame.snapshot_trades:
            self._metrics.snapshot_trades.inc(frame.snapshot_trades)
        if frame.confirmed and waiting:
            waiting.difference_update(frame.confirmed)
            if not waiting:
                self._subscribed()
        for words in frame.refused:
            log.error("%s refused: %s", self._exchange, words)
            self._status.refused = (*self._status.refused, words)[-10:]

    def _subscribed(self) -> None:
        log.info("connected to %s, %d symbols subscribed", self._url, len(self._symbols))
        self._status.connected = True
        self._status.connection = "connected"
        self._metrics.connected.set(1)

    async def _dead_letter(self, reject: Reject, received_at_us: int) -> None:
        log.warning("dead letter (%s): %s", reject.reason, reject.error)
        self._metrics.dead_letter(reject.reason)
        await self._publisher.publish_dead_letter(reject, received_at_us)

    async def _watch(self, socket: aiohttp.ClientWebSocketResponse, waiting: set[str]) -> None:
        """End the connection when it is silent for too long or the subscription is not confirmed in time."""
        started = time.monotonic()
        interval = self._timing.idle_s / 3
        while True:
            await asyncio.sleep(interval)
            now = time.monotonic()
            if self._publisher.paused:
                self._last_frame = now  # the silence is ours: the queue is full and nothing is being read
                continue
            idle = now - self._last_frame
            if idle >= self._timing.idle_s:
                raise ConnectionLostError(f"silent for {idle:.1f} s")
            if waiting and not self._status.refused and now - started >= self._timing.subscribe_s:
                raise ConnectionLostError(f"subscription not confirmed: {', '.join(sorted(waiting))}")
            if idle >= interval:
                await socket.ping()


def _closing(socket: aiohttp.ClientWebSocketResponse, message: aiohttp.WSMessage) -> str:
    error = socket.exception()
    return f"{message.type.name.lower()}, code {socket.close_code}{f', {error!r}' if error else ''}"
