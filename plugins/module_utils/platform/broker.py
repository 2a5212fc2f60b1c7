# SPDX-License-Identifier: Apache-2.0
"""A broker that speaks the Kafka protocol, through confluent-kafka: what it holds, and how far its groups are.

confluent-kafka is no part of the standard library: it is looked for when a broker is first asked for something, and its
absence is an error that says what to install. Reading joins no group and commits nothing: the consumer here is given
its partitions by hand, and groups are asked about through the admin protocol, which only tells.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ..core.clock import Deadline
from ..core.errors import DeadlineExceeded, K2Error

# librdkafka wants a group's name of every consumer; this one is never joined.
_NO_GROUP = "k2-hardening-reads-without-a-group"
_BATCH = 10_000
# The longest wait for a batch to fill. The end of a partition does not cut it short.
_POLL_S = 0.05


class DriverMissing(K2Error):  # noqa: N818 - see core.errors
    """The Python that runs this has no confluent-kafka."""


class BrokerError(K2Error):
    """The broker did not answer, or refused."""


class TopicMissing(BrokerError):  # noqa: N818 - see core.errors
    """The broker has no such topic."""


@dataclass(frozen=True, order=True)
class Partition:
    """A partition of a topic."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"


@dataclass(frozen=True)
class Extent:
    """The offsets that a partition may hold: from ``low`` up to, and without, ``high``."""

    low: int
    high: int


@dataclass(frozen=True)
class Batch:
    """Offsets of records that exist, ascending, and the broker's time of the first (ms since the epoch, or None)."""

    offsets: list[int]
    first_ms: Optional[int]
    last_ms: Optional[int]


def driver(module: str = "confluent_kafka") -> Any:
    """The module ``confluent_kafka``, or one of its own.

    Raises DriverMissing.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DriverMissing(
            "the broker cannot be asked",
            expected="confluent-kafka in the Python that Ansible uses on the target",
            seen=str(error),
            action="pip install confluent-kafka there, or set ansible_python_interpreter to a Python that has it",
        ) from error


class BrokerReader:
    """Looks into one broker (``host:port``, several with commas). ``timeout_s`` is the limit of one question."""

    def __init__(self, bootstrap: str, timeout_s: float = 10.0) -> None:
        self._bootstrap = bootstrap
        self._timeout_s = timeout_s

    def partitions(self, topics: Iterable[str]) -> tuple[Partition, ...]:
        """Every partition of ``topics``, sorted.

        :raises TopicMissing: a topic is not there. :raises BrokerError: no answer.
        """
        with self._asking("list its topics"), self._consumer() as consumer:
            known = consumer.list_topics(timeout=self._timeout_s).topics
        found: list[Partition] = []
        for topic in topics:
            if topic not in known or not known[topic].partitions:
                raise TopicMissing(
                    f"the broker has no topic {topic}",
                    expected=f"a topic of that name at {self._bootstrap}",
                    seen=f"{len(known)} other topics",
                    action="correct k2_broker.topics, or create the topic",
                )
            found += [Partition(topic, number) for number in known[topic].partitions]
        return tuple(sorted(found))

    def extents(self, partitions: Iterable[Partition]) -> dict[Partition, Extent]:
        """What each partition may hold now. Records of a transaction that is still open are not yet part of it.

        :raises BrokerError: no answer.
        """
        with self._asking("tell its offsets"), self._consumer() as consumer:
            native = driver().TopicPartition
            return {
                each: Extent(*consumer.get_watermark_offsets(native(each.topic, each.number), timeout=self._timeout_s))
                for each in partitions
            }

    def committed(self, group: str, partitions: Iterable[Partition]) -> dict[Partition, Optional[int]]:
        """The offset that ``group`` will read next in each partition; None where it never committed one.

        :raises BrokerError: no answer, or the group may not be read.
        """
        kafka = driver()
        asked = [kafka.TopicPartition(each.topic, each.number) for each in partitions]
        with self._asking(f"tell how far group {group} is"):
            # A variable of its own: the client must outlive its answer.
            admin = driver("confluent_kafka.admin").AdminClient(self._settings())
            request = [kafka.ConsumerGroupTopicPartitions(group, asked)]
            answer = admin.list_consumer_group_offsets(request, request_timeout=self._timeout_s)[group]
            answered = answer.result(self._timeout_s + 1.0).topic_partitions
        return {
            Partition(each.topic, each.partition): each.offset if each.offset >= 0 and each.error is None else None
            for each in answered
        }

    def is_compacted(self, topic: str) -> bool:
        """Whether the broker removes records of ``topic`` that later ones of the same key replace.

        :raises BrokerError: no answer, or the settings may not be read.
        """
        with self._asking(f"tell the settings of topic {topic}"):
            kafka = driver("confluent_kafka.admin")
            admin = kafka.AdminClient(self._settings())
            resource = kafka.ConfigResource(kafka.ConfigResource.Type.TOPIC, topic)
            answer = admin.describe_configs([resource], request_timeout=self._timeout_s)[resource]
            policy = answer.result(self._timeout_s + 1.0)["cleanup.policy"].value
        return "compact" in str(policy)

    def read(self, partition: Partition, extent: Extent, deadline: Deadline) -> Iterator[Batch]:
        """The offsets of every record of ``partition`` within ``extent``.

        Offsets without a record (control records, compaction, aborted transactions) are left out.
        :raises DeadlineExceeded: not all of it in time. :raises BrokerError: no answer.
        """
        if extent.low >= extent.high:
            return
        kafka = driver()
        with self._asking(f"hand out {partition}"), self._consumer() as consumer:
            consumer.assign([kafka.TopicPartition(partition.topic, partition.number, extent.low)])
            while True:
                if deadline.passed:
                    raise DeadlineExceeded(
                        f"{partition} was not read in time",
                        expected=f"all records up to offset {extent.high}",
                        seen="the deadline passed before",
                        action="bound the range by max_records, or allow more time",
                    )
                messages = consumer.consume(_BATCH, min(_POLL_S, deadline.remaining()))
                records = [message for message in messages if message.error() is None]
                offsets = [message.offset() for message in records]
                beyond = bool(offsets) and offsets[-1] >= extent.high - 1
                if beyond and offsets[-1] >= extent.high:
                    offsets = [offset for offset in offsets if offset < extent.high]
                if offsets:
                    yield Batch(offsets, _time_ms(records[0]), _time_ms(records[len(offsets) - 1]))
                if beyond or (len(records) != len(messages) and self._at_end(messages)):
                    return

    def _at_end(self, messages: list[Any]) -> bool:
        """Whether the events among ``messages`` say that there is no more; raises BrokerError for any other."""
        for message in messages:
            error = message.error()
            if error is None or error.retriable():
                continue
            if error.code() == driver().KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                return True
            if error.fatal() or error.code() >= 0:
                raise driver().KafkaException(error)
        return False

    def _settings(self) -> dict[str, object]:
        return {"bootstrap.servers": self._bootstrap, "log_level": 0}

    @contextlib.contextmanager
    def _consumer(self) -> Iterator[Any]:
        consumer = driver().Consumer(
            {
                **self._settings(),
                "group.id": _NO_GROUP,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                # What retention took meanwhile is no longer part of the broker's side.
                "auto.offset.reset": "earliest",
                # As a consumer reads that takes part in transactions; the same as any other where there are none.
                "isolation.level": "read_committed",
                "allow.auto.create.topics": False,
                "queued.max.messages.kbytes": 32_768,
            }
        )
        try:
            yield consumer
        finally:
            consumer.close()

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        kafka = driver()
        try:
            yield
        except (kafka.KafkaException, TimeoutError) as error:
            raise BrokerError(
                f"the broker did not {what}",
                expected=f"an answer from {self._bootstrap} within {self._timeout_s:g} s",
                seen=_text(error),
                action="check that it runs, that k2_broker.bootstrap names it, and that this user may ask",
            ) from error


def watermark_of(extents: Mapping[Partition, Extent]) -> dict[str, dict[str, int]]:
    """The end of each partition as plain data: topic, partition as text, next offset."""
    plain: dict[str, dict[str, int]] = {}
    for partition, extent in sorted(extents.items()):
        plain.setdefault(partition.topic, {})[str(partition.number)] = extent.high
    return plain


def _time_ms(message: Any) -> Optional[int]:
    kind, time_ms = message.timestamp()
    return int(time_ms) if kind != driver().TIMESTAMP_NOT_AVAILABLE else None


def _text(error: BaseException) -> str:
    detail = error.args[0] if error.args else error
    text = getattr(detail, "str", None)
    return str(text()) if callable(text) else f"{type(error).__name__}: {error}"
