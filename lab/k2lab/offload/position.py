# SPDX-License-Identifier: Apache-2.0
"""Watermarks as Kafka positions: up to where each partition has been moved, and what comes next.

The silver processor is the only writer of the trade tables and finishes a batch, or takes it out and writes it anew,
before it begins the next one. So the offsets a table shows of one partition are always a beginning of what it will
ever show, whatever times the rows carry, and "up to offset N" names exactly the rows moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class TopicPartition(NamedTuple):
    """A Kafka topic's partition."""

    topic: str
    number: int


class Span(NamedTuple):
    """Offsets after `after` up to and with `upto`."""

    after: int
    upto: int

    @property
    def offsets(self) -> int:
        """How many offsets lie in it; at most as many records do."""
        return self.upto - self.after


class Head(NamedTuple):
    """What a table shows of a partition past the watermark: first and last offset, number of rows."""

    first: int
    last: int
    rows: int


Chunk = Mapping[TopicPartition, Span]
"""What one commit moves."""


@dataclass(frozen=True)
class Positions:
    """The highest offset moved, per partition. A partition that is not named has not been moved at all."""

    offsets: Mapping[TopicPartition, int] = field(default_factory=dict)

    def advanced(self, chunk: Chunk) -> Positions:
        """The positions after `chunk`; raises ValueError when it does not begin where these end."""
        for partition, span in chunk.items():
            held = self.offsets.get(partition)
            if (held is not None and span.after != held) or span.upto < span.after:
                raise ValueError(f"{partition.topic}/{partition.number} is moved up to {held}, not {span}")
        return Positions({**self.offsets, **{partition: span.upto for partition, span in chunk.items()}})

    @property
    def highest(self) -> int | None:
        """The highest offset of any partition."""
        return max(self.offsets.values(), default=None)

    def to_json(self) -> dict[str, dict[str, int]]:
        """{topic: {partition: offset}}, sorted."""
        document: dict[str, dict[str, int]] = {}
        for partition, offset in sorted(self.offsets.items()):
            document.setdefault(partition.topic, {})[str(partition.number)] = offset
        return document

    @classmethod
    def from_json(cls, document: object) -> Positions:
        """The reverse of to_json(); raises ValueError, TypeError or AttributeError on anything else."""
        if not isinstance(document, dict):
            raise ValueError(f"not positions: {document!r}")  # noqa: TRY004 - one error for whatever is wrong with it
        offsets: dict[TopicPartition, int] = {}
        for topic, partitions in document.items():
            for number, offset in partitions.items():
                offsets[TopicPartition(topic, int(number))] = int(offset)
        return cls(offsets)


def spans(moved: Positions, heads: Mapping[TopicPartition, Head]) -> dict[TopicPartition, Span]:
    """From the watermark up to the heads. A partition met for the first time begins with its first row."""
    return {
        partition: Span(moved.offsets.get(partition, head.first - 1), head.last) for partition, head in heads.items()
    }


class Irregular(NamedTuple):
    """Where a table does not show one row per offset.

    `holes`: records the topic never had, or rows that are gone. `doubled`: rows beyond the first of an offset.
    """

    holes: int
    doubled: int


def irregular(todo: Chunk, heads: Mapping[TopicPartition, Head]) -> Irregular:
    """How far each partition is from one row per offset; (0, 0) is as it should be."""
    gaps = [span.offsets - heads[partition].rows for partition, span in todo.items()]
    return Irregular(sum(gap for gap in gaps if gap > 0), -sum(gap for gap in gaps if gap < 0))


def chunks(todo: Chunk, rows: int, most_rows: int) -> Sequence[Chunk]:
    """Cut the spans so that each piece holds about `most_rows` of the `rows` in all; every offset is in one piece."""
    pieces = max(1, -(-rows // most_rows))
    cut: list[Chunk] = []
    for index in range(pieces):
        piece: dict[TopicPartition, Span] = {}
        for partition, span in todo.items():
            after = span.after + span.offsets * index // pieces
            upto = span.after + span.offsets * (index + 1) // pieces
            if upto > after:
                piece[partition] = Span(after, upto)
        if piece:
            cut.append(piece)
    return cut
