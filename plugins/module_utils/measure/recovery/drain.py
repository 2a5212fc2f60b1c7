# SPDX-License-Identifier: Apache-2.0
"""When the backlog was worked off (T3): all that was in the broker at T2 is committed, and rows are fresh as usual.

Offsets are watched from the beginning, so that the target is what the topics held when the platform served again, not
when somebody had made sure of that. The first look that began after T2 sets it; records that came between count too,
which can only make T3 later. The broker may be what is broken: a look without an answer is kept as such.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, Protocol

from ...core.clock import Deadline, monotonic_ns
from ...core.errors import K2Error
from ...platform.broker import Batch, BrokerReader, Extent, Partition, watermark_of
from ...profile.model import Broker, ConsumerGroup
from .flow import FlowBound, Reading
from .model import Lane, Moment, Span, since
from .sampler import Watch

INTERVAL_S = 1.0
_ASK_S = 2.0
# Up to so many offsets behind the target it is worth a look whether there is any record among them.
_FEW = 16
_LOOK_S = 2.0
_POLL_S = 0.5


class Reader(Protocol):
    """What is asked of the broker; see ``BrokerReader``."""

    def partitions(self, topics: Iterable[str]) -> tuple[Partition, ...]:
        """Every partition of ``topics``."""

    def extents(self, partitions: Iterable[Partition]) -> dict[Partition, Extent]:
        """What each partition holds."""

    def committed(self, group: str, partitions: Iterable[Partition]) -> dict[Partition, Optional[int]]:
        """How far ``group`` is."""

    def read(self, partition: Partition, extent: Extent, deadline: Deadline) -> Iterable[Batch]:
        """The offsets of the records within ``extent``."""


@dataclass(frozen=True)
class DrainLook:
    """One look: where the partitions end, and how far each group is; ``error`` where the broker did not tell.

    Both were so at some moment between start and end.
    """

    start_ns: int
    end_ns: int
    extents: Mapping[Partition, Extent] = field(default_factory=dict)
    committed: Mapping[str, Mapping[Partition, Optional[int]]] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Drained:
    """``between_ns`` bounds when the target was reached; None where it was not, and ``why`` tells.

    ``target`` is the ends of the partitions at T2, None where the broker has not told them.
    """

    target: Optional[Mapping[Partition, Extent]]
    between_ns: Optional[tuple[int, int]]
    why: str

    @property
    def reached(self) -> bool:
        """Whether all of the target is committed."""
        return self.between_ns is not None

    def to_plain(self) -> dict[str, Any]:
        """As the module returns it."""
        target = None if self.target is None else watermark_of(self.target)
        return {"target": target, "reached": self.reached, "why": self.why}


class DrainWatch(Watch):
    """Watches ends and commits of every group of a broker; start it with the fault, or before."""

    def __init__(self, groups: Sequence[ConsumerGroup], reader: Reader) -> None:
        super().__init__("drain", INTERVAL_S)
        self._groups = tuple(groups)
        self._reader = reader
        self._partitions: tuple[Partition, ...] = ()
        self._looks: list[DrainLook] = []

    @classmethod
    def of(cls, broker: Broker) -> DrainWatch:
        """The watch of a profile's broker."""
        return cls(broker.groups, BrokerReader(broker.bootstrap, _ASK_S))

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """It has none: a lag is no failure."""
        return ()

    def look(self) -> None:
        """See ``Watch``."""
        start_ns = monotonic_ns()
        try:
            self._partitions = self._partitions or self._reader.partitions(
                sorted({topic for group in self._groups for topic in group.topics})
            )
            extents = self._reader.extents(self._partitions)
            committed = {group.name: self._reader.committed(group.name, self._of(group)) for group in self._groups}
        except Exception as failure:  # noqa: BLE001 - the watch must not end: what hindered the look is told
            error = str(failure) if isinstance(failure, K2Error) else f"{type(failure).__name__}: {failure}"
            self._looks.append(DrainLook(start_ns, monotonic_ns(), error=error))
        else:
            self._looks.append(DrainLook(start_ns, monotonic_ns(), extents, committed))

    def drained(self, t2_ns: tuple[int, int]) -> Drained:
        """Whether, and when, what the topics held at T2 was committed by every group that reads them."""
        looks = tuple(self._looks)
        if not self._groups:
            return Drained(None, None, "k2_broker.groups names no group")
        first = next((i for i, each in enumerate(looks) if each.start_ns >= t2_ns[1] and not each.error), None)
        if first is None:
            last = looks[-1].error if looks else ""
            return Drained(None, None, "the broker has not told its offsets since T2" + (f": {last}" if last else ""))
        target = looks[first].extents
        # It cannot have been reached before T2: what came until then was part of it.
        low_ns = t2_ns[0]
        for look in looks[first:]:
            if look.error:
                continue
            behind = self._behind(look, target)
            if not behind or (look is looks[-1] and self._holds_nothing(behind, target)):
                return Drained(target, (low_ns, look.end_ns), "")
            low_ns = max(low_ns, look.start_ns)
        return Drained(target, None, self._told(looks, target))

    def _of(self, group: ConsumerGroup) -> tuple[Partition, ...]:
        return tuple(each for each in self._partitions if each.topic in group.topics)

    def _behind(self, look: DrainLook, target: Mapping[Partition, Extent]) -> dict[tuple[str, Partition], int]:
        """Where each group that has not reached the target is; the low end where it never committed."""
        found: dict[tuple[str, Partition], int] = {}
        for group in self._groups:
            for partition in self._of(group):
                extent = target[partition]
                at = look.committed[group.name].get(partition)
                at = extent.low if at is None else max(at, extent.low)
                if at < extent.high:
                    found[group.name, partition] = at
        return found

    def _holds_nothing(self, behind: Mapping[tuple[str, Partition], int], target: Mapping[Partition, Extent]) -> bool:
        """Whether no record lies between commit and target: what transactions leave there no group ever commits."""
        if any(target[partition].high - at > _FEW for (_, partition), at in behind.items()):
            return False
        deadline = Deadline.after(_LOOK_S)
        try:
            return not any(
                batch.offsets
                for (_, partition), at in behind.items()
                for batch in self._reader.read(partition, Extent(at, target[partition].high), deadline)
            )
        except K2Error:
            return False

    def _told(self, looks: Sequence[DrainLook], target: Mapping[Partition, Extent]) -> str:
        if looks[-1].error:
            return looks[-1].error
        behind = self._behind(looks[-1], target)
        lag = sum(target[partition].high - at for (_, partition), at in behind.items())
        names = sorted({group for group, _ in behind})
        return f"{lag} offsets from before T2 are not committed yet by {', '.join(names)}"


def fresh_again(
    readings: Sequence[Reading], bounds: Mapping[str, FlowBound], t2_ns: tuple[int, int]
) -> Optional[tuple[int, int]]:
    """Between which readings of the clock, from T2 on, every exchange had been as fresh as usual once; None if not.

    An exchange of which nothing usual is known must be younger than its bound.
    """
    low_ns, high_ns = t2_ns
    for name, bound in bounds.items():
        limit_s = bound.bound_s if bound.usual_s is None else bound.usual_s
        before_ns = t2_ns[0]
        for reading in readings:
            if reading.start_ns < t2_ns[1] or reading.error is not None:
                continue
            if reading.ages_s.get(name, limit_s + 1.0) <= limit_s:
                low_ns, high_ns = max(low_ns, before_ns), max(high_ns, reading.end_ns)
                break
            before_ns = reading.start_ns
        else:
            return None
    return low_ns, high_ns


def wait_drained(
    watch: DrainWatch,
    flow: Callable[[], tuple[Sequence[Reading], Mapping[str, FlowBound]]],
    t2_ns: tuple[int, int],
    zero: Moment,
    deadline: Deadline,
) -> tuple[Drained, Optional[Span]]:
    """Wait for T3, or ``deadline``; the drain as it is then, and T3 where both it and the flow have come to it.

    :arg flow: tells the readings so far and the bounds; see ``Samplers``.
    """
    while True:
        drained = watch.drained(t2_ns)
        span = t3(drained, fresh_again(*flow(), t2_ns), zero)
        if span is not None or deadline.passed:
            return drained, span
        time.sleep(min(_POLL_S, deadline.remaining() or _POLL_S))


def t3(drained: Drained, fresh_ns: Optional[tuple[int, int]], zero: Moment) -> Optional[Span]:
    """T3: the later of both, from ``zero``; None until there are both."""
    if drained.between_ns is None or fresh_ns is None:
        return None
    (low_a, high_a), (low_b, high_b) = drained.between_ns, fresh_ns
    return since(zero, max(low_a, low_b), max(high_a, high_b)).not_negative
