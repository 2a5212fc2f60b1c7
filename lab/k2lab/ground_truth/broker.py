# SPDX-License-Identifier: Apache-2.0
"""What the broker holds, read with assign and no group, from the beginning to the end it has now."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from k2lab.common.errors import LabError
from k2lab.ground_truth.trade import Trade, raw_trade

log = logging.getLogger(__name__)

_TIMEOUT_S = 120.0
_QUERY_TIMEOUT_S = 10.0


class Position(NamedTuple):
    """Where a record is: the topic is the exchange's raw topic."""

    partition: int
    offset: int


def broker_trades(bootstrap: str, exchange: str, topic: str, since_us: int = 0) -> dict[Position, Trade | None]:
    """Every record of `topic` since an exchange time (of the broker, where a record is no trade and has none: None).

    Raises LabError when it cannot be read to its end.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "ground-truth",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    try:
        known = consumer.list_topics(topic, timeout=_QUERY_TIMEOUT_S).topics[topic]
        if known.error is not None:
            raise LabError(f"topic {topic}", str(known.error), "create the topics before comparing")
        partitions = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in known.partitions]
        consumer.assign(partitions)
        found: dict[Position, Trade | None] = {}
        unread = len(partitions)
        deadline = time.monotonic() + _TIMEOUT_S
        while unread:
            if time.monotonic() > deadline:
                raise LabError(
                    f"to read {topic} within {_TIMEOUT_S:g} s", f"{unread} partitions unread", "check the broker"
                )
            for message in consumer.consume(10000, 0.2):
                error = message.error()
                if error is None:
                    position = Position(int(message.partition() or 0), int(message.offset() or 0))
                    trade = _trade(exchange, message.value() or b"")
                    if (trade.time_us if trade else message.timestamp()[1] * 1000) >= since_us:
                        found[position] = trade
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own codes have this form
                    unread -= 1
                else:
                    log.warning("Kafka: %s", error)
        return found
    finally:
        consumer.close()


def _trade(exchange: str, payload: bytes) -> Trade | None:
    try:
        return raw_trade(exchange, payload)
    except ValueError:
        return None
