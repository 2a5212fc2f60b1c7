# SPDX-License-Identifier: Apache-2.0
"""What an audit says. Ids are texts: ``topic/partition/offset``, or the values of a key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Optional

SHOWN = 10


class Verdict(str, Enum):
    """What is known of a tier; ``DIFFERENT`` is a record or candle that is there once, with another value."""

    EXACT = "EXACT"
    DUPLICATED = "DUPLICATED"
    LOST = "LOST"
    DIFFERENT = "DIFFERENT"
    INCONCLUSIVE = "INCONCLUSIVE"

    def __str__(self) -> str:
        return self.value


# The worse first: what is proven wrong weighs more than what is not known.
_ORDER = (Verdict.LOST, Verdict.DUPLICATED, Verdict.DIFFERENT, Verdict.INCONCLUSIVE, Verdict.EXACT)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict over all of ``verdicts``; INCONCLUSIVE of none."""
    return min(verdicts, key=_ORDER.index, default=Verdict.INCONCLUSIVE)


class Basis(str, Enum):
    """By what records are told apart; each proves less than the one before."""

    OFFSETS = "offsets"
    KEYS = "keys"
    MULTISETS = "multisets"
    COUNTS = "counts"

    def __str__(self) -> str:
        return self.value


def weakest(bases: Iterable[Basis]) -> Basis:
    """The basis that proves least."""
    return max(bases, key=list(Basis).index, default=Basis.COUNTS)


@dataclass(frozen=True)
class RangeResult:
    """The part of a partition that was audited: offsets from ``start`` up to ``end``, of which ``records`` exist."""

    topic: str
    partition: int
    start: int
    end: int
    records: int


@dataclass(frozen=True)
class UpstreamResult:
    """What a source says it sent beside what the broker has of it: counts, so one lost and one doubled cancel out."""

    exchange: str
    expected: int
    seen: int
    lost: int
    surplus: int


@dataclass(frozen=True)
class TierResult:
    """One tier against the broker, or against the tier before it where rows carry no offsets.

    ``missing`` counts all it lacks, ``lost_here`` those that its source still has. Counts are None where nothing could
    be read. ``not_due`` are rows beyond the watermark of a cold tier, which ``expected`` leaves out.
    """

    tier: str
    table: str
    exchange: Optional[str]
    basis: Optional[Basis]
    verdict: Verdict
    reason: str
    expected: Optional[int] = None
    rows: Optional[int] = None
    distinct: Optional[int] = None
    missing: Optional[int] = None
    lost_here: Optional[int] = None
    duplicated: Optional[int] = None
    unexpected: Optional[int] = None
    first_missing: tuple[str, ...] = ()
    first_duplicated: tuple[str, ...] = ()
    first_unexpected: tuple[str, ...] = ()
    not_due: Optional[int] = None


@dataclass(frozen=True)
class ValueDifference:
    """A value that is not the same in two tiers."""

    tier: str
    source: str
    id: str
    column: str
    expected: str
    seen: str


@dataclass(frozen=True)
class ValuesResult:
    """Price, size, time and the like of the same record in neighbouring tiers.

    ``compared`` counts pairs of rows, ``by_checksum`` those of them of which only checksums were compared,
    ``not_compared`` those left out by the limit on rows.
    """

    verdict: Verdict
    reason: str
    compared: int = 0
    by_checksum: int = 0
    not_compared: int = 0
    differing: int = 0
    first: tuple[ValueDifference, ...] = ()


@dataclass(frozen=True)
class CandleDifference:
    """A candle whose value is not that of its trades; ``seen`` is None where there is no such candle."""

    key: str
    column: str
    expected: str
    seen: Optional[str]


@dataclass(frozen=True)
class CandleResult:
    """The candles of one tier whose windows saw a record of the range; ``open`` ones were still being written.

    A tier of the cold store is held against the tier ``copy_of``, the others against their trades.
    """

    tier: str
    table: str
    verdict: Verdict
    reason: str
    windows: int = 0
    compared: int = 0
    open: int = 0
    missing: int = 0
    differing: int = 0
    first: tuple[CandleDifference, ...] = ()
    copy_of: Optional[str] = None


@dataclass(frozen=True)
class Cost:
    """What the audit took: of ClickHouse, and of the broker."""

    queries: int
    rows_read: int
    bytes_read: int
    elapsed_s: float
    records_read: int
    reading_s: float


@dataclass(frozen=True)
class Audit:
    """The whole result. ``watermark`` is where the next audit may go on from (``from_watermark``)."""

    basis: Basis
    why_basis: str
    verdict: Verdict
    reason: str
    range: tuple[RangeResult, ...]
    watermark: Mapping[str, Mapping[str, int]]
    upstream: tuple[UpstreamResult, ...]
    tiers: tuple[TierResult, ...]
    values: Optional[ValuesResult]
    candles: tuple[CandleResult, ...]
    cost: Cost
