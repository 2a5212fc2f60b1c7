# SPDX-License-Identifier: Apache-2.0
"""Whether the consumers have taken in all of the range: by what their groups have committed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from ...core.clock import Deadline
from ...core.errors import K2Error
from ...platform.broker import Partition
from ...profile.model import ConsumerGroup
from .ranges import BrokerSide, Reader

_POLL_S = 0.5


@dataclass(frozen=True)
class Drain:
    """``lag`` counts records of the range that some group has not yet committed; ``unknown`` says which group did not
    tell, and why.
    """

    lag: int
    unknown: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Every group has told, and there is one."""
        return not self.unknown


def await_drained(
    reader: Reader,
    groups: tuple[ConsumerGroup, ...],
    broker: BrokerSide,
    deadline: Deadline,
    progress: Optional[Callable[[float], None]] = None,
) -> Drain:
    """Wait until every group that reads a topic of the range has committed its last record, or ``deadline`` passes.

    Offsets behind the last record (control records) are nothing to wait for. ``progress`` is called with the lag.
    """
    topics = {partition.topic for partition in broker.offsets}
    reading = [(group, tuple(topic for topic in group.topics if topic in topics)) for group in groups]
    reading = [(group, read) for group, read in reading if read]
    if not reading:
        return Drain(0, ("k2_broker.groups names no group that reads these topics",))
    while True:
        drain = _look(reader, reading, broker)
        if progress is not None:
            progress(float(drain.lag))
        if not drain.lag or deadline.passed:
            return drain
        time.sleep(min(_POLL_S, deadline.remaining()))


def _look(reader: Reader, reading: list[tuple[ConsumerGroup, tuple[str, ...]]], broker: BrokerSide) -> Drain:
    lag = 0
    unknown: list[str] = []
    for group, topics in reading:
        wanted: dict[Partition, int] = {
            partition: offsets.last() + 1
            for partition, offsets in broker.offsets.items()
            if partition.topic in topics and offsets
        }
        if not wanted:
            continue
        try:
            committed = reader.committed(group.name, tuple(wanted))
        except K2Error as error:
            unknown.append(str(error))
            continue
        if all(committed.get(partition) is None for partition in wanted):
            unknown.append(f"group {group.name} never committed an offset of these topics")
            continue
        for partition in wanted:
            lag += len(broker.offsets[partition].from_start(committed.get(partition) or 0))
    return Drain(lag, tuple(unknown))
