# SPDX-License-Identifier: Apache-2.0
"""The reading end: a consumer with static membership whose commits carry intents.

Static membership (group.instance.id) is what makes a restart after kill -9 take 0.2 s; without it the group waits 45 s
for the dead member.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, KafkaException, Message, TopicPartition

from k2lab.common.errors import LabError
from k2lab.silver_processor import metrics
from k2lab.silver_processor.intent import Intent, Partition, Range, decode
from k2lab.silver_processor.rows import Row, exchange_time, received_at
from k2lab.silver_processor.sink import Waiter

log = logging.getLogger(__name__)

_QUERY_TIMEOUT_S = 5.0
_FETCH_TIMEOUT_S = 30.0
_PAUSE_S = 0.2

# ruff: noqa: SLF001 - librdkafka's own error codes begin with an underscore.

# After these the group has given our partitions to somebody, or forgotten us: start over from what is committed.
_MEMBERSHIP_LOST = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError._FENCED,
        KafkaError._FATAL,
        KafkaError._MAX_POLL_EXCEEDED,
    }
)


class Source:
    """Records of the raw topics, buffered per partition from the first one that is not done.

    `done` is the offset up to which everything is in ClickHouse; the committed offset follows it.
    """

    def __init__(self, bootstrap: str, topics: Sequence[str], group: str, keep_waiting: Waiter) -> None:
        self._topics = list(topics)
        self._keep_waiting = keep_waiting
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "group.instance.id": f"{group}-1",
                "client.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "queued.max.messages.kbytes": 16384,
                "reconnect.backoff.ms": 50,
                "reconnect.backoff.max.ms": 500,
                "socket.timeout.ms": 10000,
                "socket.nagle.disable": True,
                "topic.metadata.refresh.interval.ms": 10000,
                "error_cb": self._on_error,
            }
        )
        self._buffer: dict[Partition, deque[Row]] = {}
        self._next: dict[Partition, int] = {}
        self._done: dict[Partition, int] = {}
        self._announced: set[Partition] = set()
        self._paused = False
        self.newly_assigned = False
        self.trouble: str | None = None

    def subscribe(self) -> None:
        """Join the group once broker and all topics are there; outlasts a broker that is away."""
        missing = self._missing_topics()
        while missing:
            self.trouble = f"waiting for topics {missing}"
            self._keep_waiting(_PAUSE_S)
            missing = self._missing_topics()
        self.trouble = None
        self._consumer.subscribe(
            self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def close(self) -> None:
        """Leave in order. A static member's partitions stay reserved for its return."""
        self._consumer.close()

    @property
    def assigned(self) -> bool:
        """Whether the group has given us partitions."""
        return bool(self._next)

    @property
    def buffered(self) -> int:
        """Number of records read and not yet done."""
        return sum(len(rows) for rows in self._buffer.values())

    @property
    def oldest_buffered_ms(self) -> int | None:
        """Broker time of the oldest buffered record."""
        return min((rows[0].broker_timestamp_ms for rows in self._buffer.values() if rows), default=None)

    def read(self, most: int, timeout_s: float) -> int:
        """Buffer up to `most` records, waiting at most `timeout_s`; returns how many came."""
        count = 0
        for message in self._consumer.consume(most, timeout_s):
            error = message.error()
            if error is not None:
                self._on_error(error)
            else:
                count += self._add(message)
        return count

    def keep_alive(self) -> None:
        """Serve the group while nothing can be read on: fetching is paused, membership stays."""
        if not self._paused:
            self._consumer.pause(self._consumer.assignment())
            self._paused = True
        message = self._consumer.poll(0)
        if message is not None and message.error() is None:
            self._add(message)

    def resume(self) -> None:
        """Read on after keep_alive()."""
        if self._paused:
            self._consumer.resume(self._consumer.assignment())
            self._paused = False

    def recover(self) -> Intent | None:
        """After an assignment: take over what is committed; returns the batch that was under way, if any."""
        self.newly_assigned = False
        committed = self._committed()
        self._done = {partition: offset for partition, (offset, _) in committed.items()}
        intent = decode(committed)
        self._announced = set(intent.ranges) if intent else set()
        return intent

    def batch(self, most: int) -> tuple[Intent, list[Row]]:
        """The next batch from the buffer, at most `most` rows."""
        rows: list[Row] = []
        ranges: dict[Partition, Range] = {}
        for partition, waiting in sorted(self._buffer.items()):
            taken = [waiting[index] for index in range(min(len(waiting), most - len(rows)))]
            if taken:
                start = self._done.get(partition, taken[0].offset)
                ranges[partition] = Range(start, taken[-1].offset + 1, len(taken))
                rows += taken
        return Intent(ranges, attempt=1, announced_s=int(time.time())), rows

    def fetch(self, intent: Intent) -> list[Row]:
        """The records of a batch that was under way; raises LabError when the broker no longer has them all."""
        self.resume()
        deadline = time.monotonic() + _FETCH_TIMEOUT_S
        while any(self._next.get(partition, 0) < span.end for partition, span in intent.ranges.items()):
            if time.monotonic() > deadline:
                raise LabError(
                    f"to read batch {intent.batch} again within {_FETCH_TIMEOUT_S:g} s",
                    f"read up to {self._next}",
                    "check the broker",
                )
            self.read(1000, _PAUSE_S)
        rows = [
            row
            for partition, span in sorted(intent.ranges.items())
            for row in self._buffer[partition]
            if span.start <= row.offset < span.end
        ]
        if len(rows) != intent.rows:
            raise LabError(
                f"{intent.rows} records of the announced batch {dict(intent.ranges)} in the broker",
                f"{len(rows)}",
                "the broker's retention or a deleted topic took them; reset the group's offsets to accept the loss",
            )
        return rows

    def announce(self, intent: Intent) -> None:
        """Commit what is done and what comes next, in one request."""
        offsets = {partition: (self._done[partition], "") for partition in self._announced if partition in self._done}
        offsets |= {partition: (span.start, intent.metadata(partition)) for partition, span in intent.ranges.items()}
        self._commit(offsets)
        self._announced = set(intent.ranges)

    def finish(self, intent: Intent) -> None:
        """The batch is in every table: forget its rows. The commit follows with the next announcement or settle()."""
        for partition, span in intent.ranges.items():
            self._done[partition] = span.end
            waiting = self._buffer.get(partition)
            while waiting and waiting[0].offset < span.end:
                waiting.popleft()

    @property
    def settled(self) -> bool:
        """Whether the committed offsets say all that is done."""
        return not self._announced

    def settle(self) -> None:
        """Commit what is done and that nothing is under way, so that lag reads 0 when it is."""
        if self._announced:
            self._commit({partition: (self._done[partition], "") for partition in self._announced})
            self._announced = set()

    def commit_done(self) -> None:
        """Commit what is done without announcing anything: the known-bad variant's way."""
        if self._done:
            self._commit({partition: (offset, "") for partition, offset in self._done.items()})

    def update_lag(self) -> None:
        """Set the lag metric from the watermarks that come with each fetch."""
        for partition in self._next:
            _, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
            if high >= 0:
                lag = max(0, high - self._done.get(partition, 0))
                metrics.LAG.labels(partition.topic, str(partition.number)).set(lag)

    def _add(self, message: Message) -> int:
        partition, offset = Partition(str(message.topic()), int(message.partition() or 0)), int(message.offset() or 0)
        if partition not in self._next or offset < max(self._next[partition], self._done.get(partition, 0)):
            return 0  # revoked meanwhile, or delivered again after an assignment
        kind, timestamp_ms = message.timestamp()
        broker_ms = timestamp_ms if kind != TIMESTAMP_NOT_AVAILABLE else 0
        headers = message.headers()
        row = Row(
            partition,
            offset,
            message.value() or b"",
            broker_ms,
            received_at(headers),  # type: ignore[arg-type]
            exchange_time(headers),  # type: ignore[arg-type]
        )
        self._buffer[partition].append(row)
        self._next[partition] = offset + 1
        return 1

    def _committed(self) -> dict[Partition, tuple[int, str]]:
        asked = [TopicPartition(*partition) for partition in self._next]
        while True:
            try:
                answer = self._consumer.committed(asked, timeout=_QUERY_TIMEOUT_S)
                found = {
                    Partition(p.topic, p.partition): (p.offset, p.metadata or "")
                    for p in answer
                    if p.error is None and p.offset >= 0
                }
                failed = [p for p in answer if p.error is not None]
                if not failed:
                    break
                self.trouble = f"reading committed offsets: {failed[0].error}"
            except KafkaException as error:
                self._fail_if_lost(error)
                self.trouble = f"reading committed offsets: {error}"
            self._keep_waiting(_PAUSE_S)
        self.trouble = None
        for partition, (offset, _) in found.items():
            self._check_reachable(partition, offset)
        return found

    def _check_reachable(self, partition: Partition, offset: int) -> None:
        while True:
            try:
                _, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), timeout=_QUERY_TIMEOUT_S)
                break
            except KafkaException as error:
                self.trouble = f"reading watermarks: {error}"
                self._keep_waiting(_PAUSE_S)
        self.trouble = None
        if offset > high:
            raise LabError(
                f"the committed offset {offset} of {partition.topic}/{partition.number} within the topic",
                f"the topic ends at {high}: it was deleted and made again",
                "reset the group's offsets, and truncate the tables if the new records are to start over",
            )

    def _commit(self, offsets: Mapping[Partition, tuple[int, str]]) -> None:
        request = [TopicPartition(p.topic, p.number, offset, metadata) for p, (offset, metadata) in offsets.items()]
        while True:
            started = time.monotonic()
            try:
                answer = self._consumer.commit(offsets=request, asynchronous=False) or []
                errors = [p.error for p in answer if p.error is not None]
                if not errors:
                    metrics.COMMIT_SECONDS.observe(time.monotonic() - started)
                    self.trouble = None
                    return
                raise KafkaException(errors[0])
            except KafkaException as error:
                self._fail_if_lost(error)
                self.trouble = f"commit: {error}"
                metrics.RETRIES.labels("commit").inc()
                log.warning("commit failed, repeating: %s", error)
            self._keep_waiting(_PAUSE_S)

    def _missing_topics(self) -> list[str]:
        try:
            known = self._consumer.list_topics(timeout=_QUERY_TIMEOUT_S).topics
        except KafkaException as error:
            log.info("broker not there yet: %s", error)
            return self._topics
        return [topic for topic in self._topics if topic not in known or known[topic].error is not None]

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        for p in partitions:
            partition = Partition(p.topic, p.partition)
            self._buffer[partition] = deque()
            self._next[partition] = 0
        self._paused = False
        self.newly_assigned = True
        log.info("assigned %d partitions", len(partitions))

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        for p in partitions:
            partition = Partition(p.topic, p.partition)
            self._buffer.pop(partition, None)
            self._next.pop(partition, None)
            self._done.pop(partition, None)
            self._announced.discard(partition)
        log.info("revoked %d partitions", len(partitions))

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            raise self._lost(str(error))
        log.warning("Kafka: %s", error)

    def _fail_if_lost(self, error: KafkaException) -> None:
        kafka_error = error.args[0]
        if kafka_error.fatal() or kafka_error.code() in _MEMBERSHIP_LOST:
            raise self._lost(str(kafka_error)) from error

    @staticmethod
    def _lost(seen: str) -> LabError:
        return LabError(
            "to be the only member of the consumer group with this instance id",
            seen,
            "restart (the supervisor does); if it repeats, stop the second processor",
        )
