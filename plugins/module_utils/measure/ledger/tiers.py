# SPDX-License-Identifier: Apache-2.0
"""Tiers whose rows carry offsets, against what exists in the broker."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...core.clock import Deadline
from ...core.errors import K2Error
from ...platform.broker import Partition
from .database import Database
from .expressions import Table
from .held import Held, Scope, constant_offsets, doubled_ids, first_ids, held_offsets
from .offsets import OffsetSet
from .path import written_at
from .ranges import BrokerSide, Reader
from .result import Basis, TierResult, Verdict

_POLL_S = 1.0
Offsets = Mapping[Partition, OffsetSet]


@dataclass(frozen=True)
class Sight:
    """What a tier holds of the range, within ``scopes``.

    ``bounded`` tells that the time of writing may be relied on to find them, ``moving`` that rows still came when the
    time was up.
    """

    table: Table
    held: Held
    expected: Offsets
    scopes: tuple[Scope, ...]
    bounded: bool = True
    moving: bool = False

    @property
    def missing(self) -> dict[Partition, OffsetSet]:
        """What the broker has and the tier lacks."""
        return minus(self.expected, self.held.offsets)

    @property
    def unexpected(self) -> dict[Partition, OffsetSet]:
        """What the tier has and the broker lacks."""
        return minus(self.held.offsets, self.expected)


def minus(these: Offsets, those: Offsets) -> dict[Partition, OffsetSet]:
    """The offsets of ``these`` that are not among ``those``, without empty partitions."""
    left = {partition: offsets - those.get(partition, OffsetSet()) for partition, offsets in these.items()}
    return {partition: offsets for partition, offsets in left.items() if offsets}


def size(offsets: Offsets) -> int:
    """How many offsets."""
    return sum(len(each) for each in offsets.values())


def look(database: Database, table: Table, broker: BrokerSide, topics: Sequence[str]) -> Sight:
    """What ``table`` holds now.

    The first look is bounded by the time of writing, where the tier has it; if that misses anything, the bound is
    not to be trusted, and the second does without. Raises K2Error.
    """
    expected = {p: offsets for p, offsets in broker.offsets.items() if p.topic in topics}
    for bounded in (True, False):
        scopes = scopes_of(broker, topics, bounded)
        sight = Sight(table, held_offsets(database, table.source, table.tier, scopes), expected, scopes, bounded)
        if not sight.missing or written_at(table.tier) is None:
            break
    return sight


def look_until_still(
    database: Database, table: Table, broker: BrokerSide, topics: Sequence[str], still_s: float, deadline: Deadline
) -> Sight:
    """Look until nothing is missing, or no row has come for ``still_s`` seconds: a commit may precede what it is for.

    Raises K2Error.
    """
    sight = look(database, table, broker, topics)
    changed = time.monotonic()
    while sight.missing and time.monotonic() - changed < still_s:
        if deadline.passed:
            return replace(sight, moving=True)
        time.sleep(min(_POLL_S, still_s, deadline.remaining()))
        again = look(database, table, broker, topics)
        if size(again.missing) != size(sight.missing):
            changed = time.monotonic()
        sight = again
    return sight


def useless_offsets(database: Database, sight: Sight) -> bool:
    """Whether the tier's offset column is the same in all rows.

    Raises K2Error.
    """
    return bool(sight.missing) and constant_offsets(database, sight.table.source, sight.table.tier)


def scopes_of(broker: BrokerSide, topics: Sequence[str], bounded: bool = True) -> tuple[Scope, ...]:
    """The range as parts of a tier, one per topic; ``bounded`` by the broker's time of its first record."""
    return tuple(
        Scope(
            topic,
            index,
            {p.number: extent for p, extent in broker.extents.items() if p.topic == topic},
            broker.first_us.get(topic) if bounded else None,
        )
        for index, topic in enumerate(topics)
    )


def judge(database: Database, reader: Reader, sight: Sight, above: Sequence[Sight], lag: int) -> TierResult:
    """The verdict on one tier; ``above`` are the tiers it is made of, ``lag`` the records still to be taken in.

    Raises K2Error.
    """
    tier, held, missing, unexpected = sight.table.tier, sight.held, sight.missing, sight.unexpected
    here = missing
    for source in above:
        here = minus(here, source.missing)
    doubled = held.rows - held.distinct
    result = TierResult(
        tier.name,
        tier.table,
        tier.exchange,
        Basis.OFFSETS,
        Verdict.EXACT,
        "",
        expected=size(sight.expected),
        rows=held.rows,
        distinct=held.distinct,
        missing=size(missing),
        lost_here=size(here),
        duplicated=doubled,
        unexpected=size(unexpected),
        first_missing=first_ids(missing),
        first_duplicated=doubled_ids(database, sight.table.source, tier, sight.scopes, held) if doubled else (),
        first_unexpected=first_ids(unexpected),
    )
    verdict, reason = _verdict(reader, result, sight, lag)
    return replace(result, verdict=verdict, reason=reason)


def _verdict(reader: Reader, result: TierResult, sight: Sight, lag: int) -> tuple[Verdict, str]:
    if not result.expected:
        return Verdict.INCONCLUSIVE, "no record of the range is for this tier"
    found = []
    if result.missing:
        already = f", {result.missing - (result.lost_here or 0)} of them before" if result.lost_here else ", all before"
        found.append(f"{result.missing} missing{already if result.lost_here != result.missing else ''}")
    if result.duplicated:
        found.append(f"{result.duplicated} rows too many")
    unexpected = result.unexpected and not _compaction(reader, sight)
    if result.unexpected:
        why = "" if unexpected else ", which compaction took from there"
        found.append(f"{result.unexpected} that the broker does not hold{why}")
    in_flight = f"{lag} records not taken in when the time was up" if lag else "rows still came when the time was up"
    reason = ", ".join(found) or "every record once"
    if result.missing and not (lag or sight.moving):
        return Verdict.LOST, reason
    if result.duplicated:
        return Verdict.DUPLICATED, reason
    if result.missing:
        return Verdict.INCONCLUSIVE, f"{reason}; {in_flight}"
    return (Verdict.DIFFERENT if unexpected else Verdict.EXACT), reason


def _compaction(reader: Reader, sight: Sight) -> bool:
    """Whether every topic with rows that the broker lacks is one from which the broker takes records."""
    try:
        return all(reader.is_compacted(topic) for topic in sorted({p.topic for p in sight.unexpected}))
    except K2Error:
        return False
