# SPDX-License-Identifier: Apache-2.0
"""Which part of the broker is audited, and what exists there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Optional, Protocol

from ...core.clock import Deadline
from ...core.errors import K2Error
from ...platform.broker import Batch, Extent, Partition
from .offsets import OffsetSet

# As somebody gives it back: topic, partition, next offset. Checked when it is used.
Watermark = Mapping[str, object]


class Reader(Protocol):
    """What is asked of a broker; platform.broker.BrokerReader does it."""

    def partitions(self, topics: tuple[str, ...]) -> tuple[Partition, ...]:
        """Every partition of the topics."""

    def extents(self, partitions: tuple[Partition, ...]) -> dict[Partition, Extent]:
        """What each may hold now."""

    def committed(self, group: str, partitions: tuple[Partition, ...]) -> dict[Partition, Optional[int]]:
        """What a group will read next."""

    def is_compacted(self, topic: str) -> bool:
        """Whether the broker removes records that later ones replace."""

    def read(self, partition: Partition, extent: Extent, deadline: Deadline) -> Iterator[Batch]:
        """The offsets of every record."""


class BadWatermark(K2Error):  # noqa: N818 - see core.errors
    """The watermark to go on from is not one of this broker."""


@dataclass(frozen=True)
class Chosen:
    """The offsets to audit by partition, and what was left out of what was asked for."""

    extents: Mapping[Partition, Extent]
    bounded: int = 0
    expired: int = 0


def choose(extents: Mapping[Partition, Extent], begin: Optional[Watermark], max_records: int) -> Chosen:
    """From ``begin`` (else from the low watermark) to the end, and no more than ``max_records`` offsets: the newest.

    ``bounded`` counts offsets left out by ``max_records``, ``expired`` those that the broker no longer had.
    :raises BadWatermark: ``begin`` lies beyond the end, or names what the broker does not have.
    """
    starts = {partition: extent.low for partition, extent in extents.items()}
    expired = 0
    for partition, start in _positions(begin or {}):
        if partition not in extents:
            raise BadWatermark(
                "from_watermark is of another broker or profile",
                expected="topics and partitions of k2_broker.topics.<exchange>.raw",
                seen=str(partition),
                action="take a watermark from this platform (mark_only)",
            )
        extent = extents[partition]
        if start > extent.high:
            raise BadWatermark(
                "from_watermark is of another broker, or the topic was made anew since",
                expected=f"at most {extent.high}, the end of {partition}",
                seen=str(start),
                action="take a new watermark (mark_only)",
            )
        expired += max(0, extent.low - start)
        starts[partition] = max(start, extent.low)
    total = sum(extent.high - starts[partition] for partition, extent in extents.items())
    kept = {
        partition: Extent(
            starts[partition]
            if total <= max_records
            else extent.high - (extent.high - starts[partition]) * max_records // total,
            extent.high,
        )
        for partition, extent in extents.items()
    }
    return Chosen(kept, total - sum(extent.high - extent.low for extent in kept.values()), expired)


def _positions(watermark: Watermark) -> list[tuple[Partition, int]]:
    positions = []
    for topic, partitions in watermark.items():
        for number, offset in partitions.items() if isinstance(partitions, Mapping) else [("", partitions)]:
            if not str(number).isdigit() or isinstance(offset, bool) or not str(offset).isdigit():
                raise BadWatermark(
                    "from_watermark cannot be read",
                    expected="a mapping of topic to partition to offset, as an audit returns it",
                    seen=f"{topic}: {number!r}: {offset!r}",
                    action="give back what mark_only returned",
                )
            positions.append((Partition(topic, int(number)), int(str(offset))))
    return positions


@dataclass(frozen=True)
class BrokerSide:
    """What exists in the broker within the range.

    ``first_us`` and ``last_us`` are the least and greatest of the broker's times at the ends of what was read, by
    topic (microseconds since the epoch; absent where records carry none).
    """

    extents: Mapping[Partition, Extent]
    offsets: Mapping[Partition, OffsetSet]
    first_us: Mapping[str, int]
    last_us: Mapping[str, int]
    records_read: int
    reading_s: float

    def of_topic(self, topic: str) -> dict[Partition, OffsetSet]:
        """The offsets of one topic."""
        return {partition: offsets for partition, offsets in self.offsets.items() if partition.topic == topic}

    def count(self, topic: Optional[str] = None) -> int:
        """How many records exist, of ``topic`` or in all."""
        return sum(len(o) for partition, o in self.offsets.items() if topic in (None, partition.topic))


def read_broker(
    reader: Reader, chosen: Chosen, deadline: Deadline, progress: Optional[Callable[[float, float], None]] = None
) -> BrokerSide:
    """Read the range. ``progress`` is called with (offsets read, all).

    Raises BrokerError, DeadlineExceeded.
    """
    began = time.monotonic()
    found: dict[Partition, OffsetSet] = {}
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    total = float(sum(extent.high - extent.low for extent in chosen.extents.values()))
    before = records = 0
    for partition, extent in chosen.extents.items():
        offsets = found[partition] = OffsetSet()
        for batch in reader.read(partition, extent, deadline):
            offsets.add(batch.offsets)
            records += len(batch.offsets)
            topic = partition.topic
            if batch.first_ms is not None and batch.last_ms is not None:
                first[topic] = min(first.get(topic, batch.first_ms * 1000), batch.first_ms * 1000)
                last[topic] = max(last.get(topic, batch.last_ms * 1000), batch.last_ms * 1000)
            if progress is not None:
                progress(float(before + batch.offsets[-1] + 1 - extent.low), total)
        before += extent.high - extent.low
    # What retention took while this was read is no longer part of the range.
    now = reader.extents(tuple(chosen.extents))
    extents = {
        partition: Extent(min(max(extent.low, now[partition].low), extent.high), extent.high)
        for partition, extent in chosen.extents.items()
    }
    offsets_now = {partition: offsets.from_start(extents[partition].low) for partition, offsets in found.items()}
    return BrokerSide(extents, offsets_now, first, last, records, time.monotonic() - began)
