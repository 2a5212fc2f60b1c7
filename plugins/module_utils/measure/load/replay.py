# SPDX-License-Identifier: Apache-2.0
"""The newest records of a topic, as models of what a load writes. Nothing is committed, no group is joined."""

from __future__ import annotations

from typing import Any

from ...core.clock import Deadline
from ...core.errors import K2Error
from ...platform.broker import BrokerError, BrokerReader, driver
from .records import Recorded

READ_TIMEOUT_S = 30.0
_BATCH = 1000


class NothingToReplay(K2Error):  # noqa: N818 - see core.errors
    """A topic has no record that can be replayed."""


def newest_records(bootstrap: str, topic: str, limit: int) -> list[Recorded]:
    """The ``limit`` newest records of ``topic`` by the broker's time, oldest first.

    :raises TopicMissing: no such topic. :raises BrokerError: no answer within ``READ_TIMEOUT_S``.
    :raises NothingToReplay: the topic is empty.
    """
    reader = BrokerReader(bootstrap)
    extents = reader.extents(reader.partitions([topic]))
    wanted = {each.number: extent for each, extent in extents.items() if extent.high > extent.low}
    if not wanted:
        raise NothingToReplay(
            f"topic {topic} has nothing to replay",
            expected="recorded records",
            seen="an empty topic",
            action="let the platform run for a while, or take another source",
        )
    kafka = driver()
    consumer = kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "k2-hardening-reads-without-a-group",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
    )
    try:
        consumer.assign(
            [
                kafka.TopicPartition(topic, number, max(extent.low, extent.high - limit))
                for number, extent in wanted.items()
            ]
        )
        messages = _until_ends(consumer, {number: extent.high for number, extent in wanted.items()}, topic)
    except kafka.KafkaException as error:
        raise BrokerError(f"topic {topic} cannot be read", expected="its newest records", seen=str(error)) from error
    finally:
        consumer.close()
    messages.sort(key=lambda message: message.timestamp()[1])
    return [
        Recorded(message.value(), tuple(message.headers() or ()))
        for message in messages[-limit:]
        if message.value() is not None
    ]


def _until_ends(consumer: Any, ends: dict[int, int], topic: str) -> list[Any]:
    """Messages up to the offsets ``ends`` by partition; an end may also be one that has no record left."""
    kafka = driver()
    deadline = Deadline.after(READ_TIMEOUT_S)
    found: list[Any] = []
    left = dict(ends)
    while left:
        if deadline.passed:
            raise BrokerError(
                f"topic {topic} was not read in time",
                expected=f"its newest records within {READ_TIMEOUT_S:g} s",
                seen=f"{len(found)} records, {len(left)} partitions unfinished",
                action="check the broker, or replay fewer records",
            )
        for message in consumer.consume(_BATCH, min(0.5, deadline.remaining())):
            error = message.error()
            if error is None:
                found.append(message)
                if message.offset() + 1 >= left.get(message.partition(), message.offset() + 2):
                    del left[message.partition()]
            elif error.code() == kafka.KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                left.pop(message.partition(), None)
            elif not error.retriable():
                raise kafka.KafkaException(error)
    return found
