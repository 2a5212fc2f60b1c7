# SPDX-License-Identifier: Apache-2.0
"""Which offsets a tier holds: gathered inside ClickHouse as bits, so that ten million rows are a few thousand numbers.

A word is 64 offsets, a block 64 words. Per block comes back which of its words are full, and the bits of the others.
Bits say which offsets are there, the number of rows beside the number of bits how many are there more than once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Optional

from ...platform.broker import Extent, Partition
from ...profile.model import Tier
from .database import Database, Params, Source, whole, wholes
from .offsets import BLOCK, OffsetSet, block_bits
from .path import written_at
from .result import SHOWN

# How far the writers' clocks may lie behind the broker's. A bound only: what then seems to be missing is looked for
# without it.
_SLACK_S = 3600


@dataclass
class Held:
    """Offsets of a tier within the range, by partition; ``rows`` counts duplicates too."""

    offsets: dict[Partition, OffsetSet] = field(default_factory=dict)
    rows: int = 0
    doubled_blocks: list[tuple[Partition, int]] = field(default_factory=list)

    @property
    def distinct(self) -> int:
        """How many different offsets."""
        return sum(len(offsets) for offsets in self.offsets.values())


@dataclass(frozen=True)
class Scope:
    """The part of a tier that is looked at: offsets of one topic, in rows written since ``since_us``.

    ``index`` keeps the parameters of several scopes in one query apart.
    """

    topic: str
    index: int
    extents: Mapping[int, Extent]
    since_us: Optional[int] = None

    def where(self, tier: Tier) -> str:
        """The condition, for a query that binds ``params``."""
        topic, partition, offset = tier.offset_columns
        ranges = " OR ".join(
            f"({partition} = {number} AND {offset} >= {extent.low} AND {offset} < {extent.high})"
            for number, extent in sorted(self.extents.items())
            if extent.low < extent.high
        )
        condition = f"({topic} = {{k2_topic_{self.index}:String}} AND ({ranges or '0'}))"
        written = written_at(tier)
        if written is None or self.since_us is None:
            return condition
        seconds = self.since_us // 1_000_000 - _SLACK_S
        return f"({written} >= toDateTime({max(0, seconds)}) AND {condition})"

    @property
    def params(self) -> Params:
        """What the condition binds."""
        return {f"k2_topic_{self.index}": self.topic}


def held_offsets(database: Database, source: Source, tier: Tier, scopes: Iterable[Scope]) -> Held:
    """What ``tier`` holds of ``scopes``; one query, one scan of three columns, per topic.

    Raises K2Error.
    """
    _, partition, offset = tier.offset_columns
    held = Held()
    for scope in scopes:
        rows = database.rows(
            "SELECT k2_partition, intDiv(k2_word, 64) AS k2_block, sum(k2_rows), "
            "groupBitOr(if(k2_full, bitShiftLeft(toUInt64(1), k2_word % 64), 0)), "
            "groupArrayIf(k2_word % 64, NOT k2_full), groupArrayIf(k2_mask, NOT k2_full) "
            f"FROM (SELECT toUInt32({partition}) AS k2_partition, intDiv(toUInt64({offset}), 64) AS k2_word, "
            f"count() AS k2_rows, groupBitOr(bitShiftLeft(toUInt64(1), toUInt64({offset}) % 64)) AS k2_mask, "
            "bitNot(k2_mask) = 0 AS k2_full "
            f"FROM {source.table} WHERE {scope.where(tier)} GROUP BY k2_partition, k2_word) "
            "GROUP BY k2_partition, k2_block",
            scope.params,
        )
        for number, block, count, full, words, masks in rows:
            where = Partition(scope.topic, whole(number))
            bits = block_bits(whole(full), wholes(words), wholes(masks))
            held.offsets.setdefault(where, OffsetSet()).add_block(whole(block), bits)
            held.rows += whole(count)
            if whole(count) != bin(bits).count("1"):
                held.doubled_blocks.append((where, whole(block)))
    return held


def doubled_ids(database: Database, source: Source, tier: Tier, scopes: Iterable[Scope], held: Held) -> tuple[str, ...]:
    """The first offsets that ``tier`` holds more than once; looks only where there are any.

    Raises K2Error.
    """
    _, partition, offset = tier.offset_columns
    found: list[tuple[Partition, int]] = []
    for scope in scopes:
        blocks = sorted((p.number, block) for p, block in held.doubled_blocks if p.topic == scope.topic)[:SHOWN]
        if not blocks:
            continue
        places = " OR ".join(
            f"({partition} = {number} AND {offset} >= {block * BLOCK} AND {offset} < {(block + 1) * BLOCK})"
            for number, block in blocks
        )
        rows = database.rows(
            f"SELECT toUInt32({partition}) AS k2_partition, toUInt64({offset}) AS k2_offset FROM {source.table} "
            f"WHERE {scope.where(tier)} AND ({places}) "
            f"GROUP BY k2_partition, k2_offset HAVING count() > 1 ORDER BY k2_partition, k2_offset LIMIT {SHOWN}",
            scope.params,
        )
        found += [(Partition(scope.topic, whole(number)), whole(at)) for number, at in rows]
    return tuple(f"{where}/{at}" for where, at in sorted(found)[:SHOWN])


def constant_offsets(database: Database, source: Source, tier: Tier) -> bool:
    """Whether every row of ``tier`` carries the same offset: a literal that tells nothing apart.

    Raises K2Error.
    """
    offset = tier.offset_columns[2]
    ((rows, low, high),) = database.rows(
        f"SELECT count(), min(toInt64({offset})), max(toInt64({offset})) FROM {source.table}"
    )
    return whole(rows) > 1 and low == high


def first_ids(offsets: Mapping[Partition, OffsetSet]) -> tuple[str, ...]:
    """The least ids of a set, as texts."""
    ids: list[str] = []
    for partition in sorted(offsets):
        for offset in offsets[partition]:
            if len(ids) == SHOWN:
                return tuple(ids)
            ids.append(f"{partition}/{offset}")
    return tuple(ids)
