# SPDX-License-Identifier: Apache-2.0
"""Records into Kafka: in order, without duplicates of its own, and never dropped for want of room."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from k2lab.common.errors import LabError
from k2lab.feed_handler.monitor import Metrics, Status
from k2lab.feed_handler.records import Reject, Trade

log = logging.getLogger(__name__)

MAX_DEAD_LETTER_BYTES = 256 * 1024  # the broker takes 1 MiB per record
_POLL_S = 0.25  # bounds how long a stop waits for the delivery thread
_LOG_INTERVAL_S = 10.0  # between two lines of the client library about the same thing
_RETRY_S = 1.0  # a full queue is looked at again after this time even if no acknowledgement woke us up

Headers = dict[str, str | bytes | None]


class _Throttle(logging.Filter):
    """Lets one line per facility through in a while: while a broker is down the library logs every 50 ms."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        facility = record.getMessage().partition(" ")[0]
        now = time.monotonic()
        if now - self._last.get(facility, -_LOG_INTERVAL_S) < _LOG_INTERVAL_S:
            return False
        self._last[facility] = now
        return True


@dataclass(frozen=True, slots=True)
class Topics:
    """Names of the three topics a handler writes to."""

    raw: str
    normalised: str
    dead_letter: str


@dataclass(frozen=True, slots=True)
class ProducerLimits:
    """Bounds of the producer.

    delivery_timeout_s: how long a record may wait for the broker before it is given up (and counted as lost).
    queue_records / queue_mib: room for records not yet acknowledged; when full, reading from the exchange pauses.
    """

    delivery_timeout_s: float = 600.0
    queue_records: int = 200_000
    queue_mib: int = 128


class Publisher:
    """Writes trades and dead letters.

    Delivery reports are served by a thread of its own, so that acknowledgements are seen when they come, whatever the
    event loop does. `fatal` is set when the producer can go on no more; the program must then end and start afresh.
    """

    def __init__(
        self, exchange: str, bootstrap: str, topics: Topics, limits: ProducerLimits, metrics: Metrics, status: Status
    ) -> None:
        self._exchange = exchange
        self._topics = topics
        self._metrics = metrics
        self._status = status
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Event()
        self._paused = False
        self.fatal: asyncio.Future[LabError] = self._loop.create_future()
        self._stopping = threading.Event()
        library_log = log.getChild("librdkafka")
        library_log.addFilter(_Throttle())
        timeout_ms = round(limits.delivery_timeout_s * 1000)
        try:
            self._producer = Producer(
                {
                    "bootstrap.servers": bootstrap,
                    "client.id": f"feed-handler-{exchange}",
                    "enable.idempotence": True,
                    "acks": "all",
                    # Trades are few and late ones are worth less: each goes at once, without waiting for company.
                    "linger.ms": 0,
                    "socket.nagle.disable": True,
                    "message.timeout.ms": timeout_ms,
                    # A broker that froze or vanished without a word is left after this; resending is idempotent.
                    "socket.timeout.ms": 10_000,
                    # A topic that does not exist yet is an outage like any other.
                    "topic.metadata.propagation.max.ms": min(timeout_ms, 3_600_000),
                    "topic.metadata.refresh.fast.interval.ms": 250,
                    "reconnect.backoff.ms": 50,
                    "reconnect.backoff.max.ms": 1000,
                    "retry.backoff.ms": 50,
                    "retry.backoff.max.ms": 500,
                    "queue.buffering.max.messages": limits.queue_records,
                    "queue.buffering.max.kbytes": limits.queue_mib * 1024,
                    # The same partition for a key as the Java clients choose.
                    "partitioner": "murmur2_random",
                    "error_cb": self._on_error,
                    "on_delivery": self._on_delivery,
                },
                logger=library_log,
            )
        except KafkaException as error:
            raise LabError("a usable producer configuration", str(error), "check --bootstrap and the limits") from error
        self._thread = threading.Thread(target=self._serve_deliveries, name="kafka-deliveries", daemon=True)
        self._thread.start()

    @property
    def paused(self) -> bool:
        """True while a full queue holds the reading back."""
        return self._paused

    def queue_depth(self) -> int:
        """Records not yet acknowledged."""
        return len(self._producer)

    async def publish(self, trade: Trade, received_at_us: int) -> None:
        """Queue the raw and the normalised record of `trade`; waits while the queue is full."""
        key = trade.symbol.encode()
        headers: Headers = {
            "received_at_us": str(received_at_us).encode(),
            "exchange_time_us": str(trade.exchange_time_us).encode(),
        }
        await self._produce(self._topics.raw, key, trade.raw.encode(), headers)
        normalised = trade.normalised(self._exchange, received_at_us)
        await self._produce(self._topics.normalised, key, normalised.encode(), None)

    async def publish_dead_letter(self, reject: Reject, received_at_us: int) -> None:
        """Queue what could not be read, as it came, with the reason in the headers."""
        value = reject.text.encode(errors="surrogateescape")
        headers: Headers = {
            "exchange": self._exchange.encode(),
            "reason": reject.reason.encode(),
            "error": reject.error.encode(errors="replace"),
            "received_at_us": str(received_at_us).encode(),
        }
        if len(value) > MAX_DEAD_LETTER_BYTES:
            headers["truncated_from_bytes"] = str(len(value)).encode()
            value = value[:MAX_DEAD_LETTER_BYTES]
        await self._produce(self._topics.dead_letter, self._exchange.encode(), value, headers)

    async def _produce(self, topic: str, key: bytes, value: bytes, headers: Headers | None) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, headers=headers)
            except BufferError:
                await self._wait_for_room()
            except KafkaException as error:
                raise LabError("to queue a record", str(error), "see the producer's earlier log lines") from error
            else:
                return

    async def _wait_for_room(self) -> None:
        started = time.monotonic()
        if not self._paused:
            log.warning("%d records wait for the broker: reading from the exchange pauses", len(self._producer))
        self._room.clear()
        self._paused = True
        try:
            await asyncio.wait_for(self._room.wait(), _RETRY_S)
        except TimeoutError:
            pass  # the caller tries again; a lost wake-up costs a second, not the connection
        finally:
            self._paused = False
            self._metrics.backpressure.inc(time.monotonic() - started)

    async def close(self, timeout_s: float) -> int:
        """Wait up to `timeout_s` for what is queued and stop; returns how many records were not acknowledged."""
        left = await asyncio.to_thread(self._producer.flush, timeout_s)
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, 8 * _POLL_S)
        return int(left)

    # The rest runs in the delivery thread or in librdkafka's.

    def _serve_deliveries(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(_POLL_S)

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._metrics.delivery_failures.inc()
            self._status.last_failure = time.monotonic()
            log.error("a record of %s was given up: %s", message.topic(), error)
            return
        self._status.last_ack = time.monotonic()
        self._status.broker_error = None
        latency_s = message.latency()
        if latency_s is not None:
            self._metrics.produce_latency.observe(latency_s)
        if message.topic() == self._topics.raw:
            self._metrics.trades_produced.inc()
        if self._paused:
            self._loop.call_soon_threadsafe(self._room.set)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._loop.call_soon_threadsafe(self._fail, str(error))
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - the library's public name for it
            self._status.broker_error = str(error)

    def _fail(self, words: str) -> None:
        if not self.fatal.done():
            self.fatal.set_result(LabError("a producer that can go on", words, "it starts afresh with this program"))
