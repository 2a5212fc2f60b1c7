# SPDX-License-Identifier: Apache-2.0
"""Records as rows of raw_trades, in ClickHouse's RowBinary."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from k2lab.silver_processor.intent import Partition

COLUMNS = "topic, kafka_partition, kafka_offset, payload, broker_timestamp, received_at"
RECEIVED_AT_HEADER = "received_at_us"
EXCHANGE_TIME_HEADER = "exchange_time_us"

Headers = Iterable[tuple[str, bytes | None]] | None

_POSITION = struct.Struct("<IQ")
_BROKER_TIME = struct.Struct("<q")
_RECEIVED_AT = struct.Struct("<Bq")
_NULL = b"\x01"


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a raw topic; what the exchange's time of it is, is for the latency metric only."""

    partition: Partition
    offset: int
    payload: bytes
    broker_timestamp_ms: int
    received_at_us: int | None
    exchange_time_us: int | None = None


def received_at(headers: Headers) -> int | None:
    """The handler's clock in microseconds from a record's headers; None when absent, unreadable or absurd."""
    return _microseconds(headers, RECEIVED_AT_HEADER)


def exchange_time(headers: Headers) -> int | None:
    """The exchange's time of the trade, likewise."""
    return _microseconds(headers, EXCHANGE_TIME_HEADER)


def _microseconds(headers: Headers, wanted: str) -> int | None:
    for name, value in headers or ():
        if name == wanted and value is not None and value.isdigit() and len(value) <= 16:
            return int(value)
    return None


def row_binary(rows: Iterable[Row]) -> bytes:
    """Encode rows in the order of COLUMNS."""
    out = bytearray()
    for row in rows:
        topic = row.partition.topic.encode()
        out += _varint(len(topic))
        out += topic
        out += _POSITION.pack(row.partition.number, row.offset)
        out += _varint(len(row.payload))
        out += row.payload
        out += _BROKER_TIME.pack(row.broker_timestamp_ms)
        out += _NULL if row.received_at_us is None else _RECEIVED_AT.pack(0, row.received_at_us)
    return bytes(out)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
