# SPDX-License-Identifier: Apache-2.0
"""Which part of the broker is audited, and when consumers have taken it in; on a broker of which all is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.drain import await_drained
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.ranges import (
    BadWatermark,
    BrokerSide,
    choose,
    read_broker,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.broker import (
    Batch,
    BrokerError,
    Extent,
    Partition,
)
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import ConsumerGroup

A0, A1 = Partition("a", 0), Partition("a", 1)
GROUP = ConsumerGroup("writer", "warehouse", ("a",))


@dataclass
class Known:
    """A broker's records by partition; ``low`` rises to ``later`` once they were read."""

    records: Mapping[Partition, list[int]]
    later: Mapping[Partition, int] = field(default_factory=dict)
    commits: Mapping[Partition, int | None] = field(default_factory=dict)
    refuses: bool = False

    def partitions(self, topics: tuple[str, ...]) -> tuple[Partition, ...]:
        return tuple(self.records)

    def extents(self, partitions: tuple[Partition, ...]) -> dict[Partition, Extent]:
        return {p: Extent(self.later.get(p, 0), 100) for p in partitions}

    def committed(self, group: str, partitions: tuple[Partition, ...]) -> dict[Partition, int | None]:
        if self.refuses:
            raise BrokerError("not for you")
        return {p: self.commits.get(p) for p in partitions}

    def is_compacted(self, topic: str) -> bool:
        return False

    def read(self, partition: Partition, extent: Extent, deadline: Deadline) -> Iterator[Batch]:
        offsets = [each for each in self.records[partition] if extent.low <= each < extent.high]
        if offsets:
            yield Batch(offsets, 1000 + offsets[0], 1000 + offsets[-1])


def side(known: Known) -> BrokerSide:
    chosen = choose({p: Extent(0, 100) for p in known.records}, None, 1000)
    return read_broker(known, chosen, Deadline.after(5))


@pytest.mark.parametrize(
    ("begin", "limit", "starts", "bounded", "expired"),
    [
        (None, 1000, (10, 0), 0, 0),
        ({"a": {"0": 50, "1": 100}}, 1000, (50, 100), 0, 0),
        ({"a": {"0": 4}}, 1000, (10, 0), 0, 6),
        (None, 95, (55, 50), 95, 0),
        ({"a": {"0": "60"}}, 1000, (60, 0), 0, 0),
    ],
)
def test_the_range(
    begin: Mapping[str, Mapping[str, int]] | None, limit: int, starts: tuple[int, int], bounded: int, expired: int
) -> None:
    chosen = choose({A0: Extent(10, 100), A1: Extent(0, 100)}, begin, limit)
    assert (chosen.extents[A0].low, chosen.extents[A1].low) == starts
    assert {extent.high for extent in chosen.extents.values()} == {100}
    assert (chosen.bounded, chosen.expired) == (bounded, expired)


@pytest.mark.parametrize(
    ("begin", "says"),
    [
        ({"a": {"0": 101}}, "made anew"),
        ({"b": {"0": 1}}, "another broker"),
        ({"a": {"7": 1}}, "another broker"),
        ({"a": {"first": 1}}, "cannot be read"),
        ({"a": {"0": -1}}, "cannot be read"),
        ({"a": {"0": None}}, "cannot be read"),
        ({"a": 5}, "cannot be read"),
    ],
)
def test_a_watermark_of_something_else_is_refused(begin: Mapping[str, Mapping[str, int]], says: str) -> None:
    with pytest.raises(BadWatermark, match=says):
        choose({A0: Extent(0, 100)}, begin, 1000)


def test_what_exists_is_counted_and_times_are_microseconds() -> None:
    broker = side(Known({A0: [1, 2, 5, 99], A1: []}))
    assert (broker.count(), broker.count("a"), broker.count("b")) == (4, 4, 0)
    assert (broker.first_us, broker.last_us) == ({"a": 1_001_000}, {"a": 1_099_000})


def test_what_retention_took_meanwhile_is_no_part_of_the_range() -> None:
    broker = side(Known({A0: [1, 2, 50, 51]}, later={A0: 50}))
    assert list(broker.offsets[A0]) == [50, 51]
    assert broker.extents[A0] == Extent(50, 100)


def test_control_records_behind_the_last_record_are_nothing_to_wait_for() -> None:
    known = Known({A0: [1, 2, 90]}, commits={A0: 91})
    assert await_drained(known, (GROUP,), side(known), Deadline.after(0)).lag == 0


def test_the_lag_counts_records_not_offsets() -> None:
    known = Known({A0: [1, 2, 90], A1: [7]}, commits={A0: 3})
    drain = await_drained(known, (GROUP,), side(known), Deadline.after(0))
    assert (drain.lag, drain.known) == (2, True)


@pytest.mark.parametrize(
    ("known", "groups", "says"),
    [
        (Known({A0: [1]}), (), "names no group"),
        (Known({A0: [1]}), (GROUP,), "never committed"),
        (Known({A0: [1]}, refuses=True), (GROUP,), "not for you"),
    ],
)
def test_a_group_that_tells_nothing_is_named(known: Known, groups: tuple[ConsumerGroup, ...], says: str) -> None:
    drain = await_drained(known, groups, side(known), Deadline.after(5))
    assert not drain.known
    assert says in drain.unknown[0]
