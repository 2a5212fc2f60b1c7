# SPDX-License-Identifier: Apache-2.0
"""The protocol's unit: a batch named by its offsets, announced in Kafka before it is inserted.

Before each insert ONE commit request stores, per partition, the offset done so far (C) and as its metadata the end (E)
of the batch about to be inserted. The group's offsets live in one partition of Kafka's offsets topic, so the request is
atomic. After a crash the metadata says exactly which rows may have been half written: [C, E) of each partition. The
deduplication token is a function of the same numbers, so a retry has the same boundaries and the same token.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple


class Partition(NamedTuple):
    """A topic's partition."""

    topic: str
    number: int


class Range(NamedTuple):
    """Offsets [start, end) of a partition and how many records they hold (fewer than end - start on sparse topics)."""

    start: int
    end: int
    rows: int


_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")  # Kafka's own rule; topics are pasted into SQL


@dataclass(frozen=True)
class Intent:
    """A batch: its ranges, which attempt this is, and when it was first announced (seconds since the epoch)."""

    ranges: Mapping[Partition, Range]
    attempt: int
    announced_s: int

    def __post_init__(self) -> None:
        for partition in self.ranges:
            if not _TOPIC.fullmatch(partition.topic):
                raise ValueError(f"not a Kafka topic name: {partition.topic!r}")

    @property
    def rows(self) -> int:
        """Number of records in the batch."""
        return sum(span.rows for span in self.ranges.values())

    @property
    def batch(self) -> str:
        """A name for the ranges, the same for every attempt."""
        text = ";".join(f"{p.topic}-{p.number}-{span.start}-{span.end}" for p, span in sorted(self.ranges.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def token(self) -> str:
        """ClickHouse's insert_deduplication_token."""
        return f"{self.batch}-{self.attempt}"

    def next_attempt(self) -> Intent:
        """The same batch under a new token, for use after its remains were taken out."""
        return replace(self, attempt=self.attempt + 1)

    def metadata(self, partition: Partition) -> str:
        """What is committed with the partition's offset (Kafka allows 4,096 bytes; this is about 60)."""
        span = self.ranges[partition]
        return json.dumps(
            {"end": span.end, "rows": span.rows, "attempt": self.attempt, "at": self.announced_s}, separators=(",", ":")
        )


def decode(committed: Mapping[Partition, tuple[int, str]]) -> Intent | None:
    """The intent found in committed (offset, metadata) pairs; None when no batch was under way.

    Raises ValueError when metadata is not ours: another program commits to this group.
    """
    ranges: dict[Partition, Range] = {}
    attempts, times = set(), set()
    for partition, (offset, metadata) in committed.items():
        if not metadata:
            continue
        try:
            fields = json.loads(metadata)
            ranges[partition] = Range(offset, int(fields["end"]), int(fields["rows"]))
            attempts.add(int(fields["attempt"]))
            times.add(int(fields["at"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"expected this processor's metadata on {partition.topic}/{partition.number}; seen {metadata!r}; "
                "what to do: give the processor a group of its own"
            ) from error
    if not ranges:
        return None
    if len(attempts) != 1:
        raise ValueError(
            f"expected one attempt in the committed intent; seen {sorted(attempts)}; "
            "what to do: give the processor a group of its own"
        )
    return Intent(ranges, attempts.pop(), min(times))
