# SPDX-License-Identifier: Apache-2.0
"""Sets of offsets, exact and small: one bit per offset, in blocks of 4096.

Ten million offsets without holes are 2,442 blocks of half a kilobyte. Two sets are compared block by block as whole
numbers, so nothing rests on a hash, and holes (control records, compaction) cost nothing extra.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

WORD = 64
WORDS = 64
BLOCK = WORD * WORDS
_FULL_WORD = (1 << WORD) - 1
_FULL_BLOCK = (1 << BLOCK) - 1


class OffsetSet:
    """Offsets of one partition; grows by runs and by blocks."""

    def __init__(self, offsets: Iterable[int] = ()) -> None:
        self._blocks: dict[int, int] = {}
        self.add(sorted(offsets))

    def add(self, ascending: Sequence[int]) -> None:
        """Add offsets that ascend without repeats; a batch without holes costs as much as one offset."""
        if not ascending:
            return
        if ascending[-1] - ascending[0] + 1 == len(ascending):
            self.add_run(ascending[0], ascending[-1] + 1)
            return
        first = previous = ascending[0]
        for offset in ascending[1:]:
            if offset != previous + 1:
                self.add_run(first, previous + 1)
                first = offset
            previous = offset
        self.add_run(first, previous + 1)

    def add_run(self, start: int, stop: int) -> None:
        """Add every offset from ``start`` up to, and without, ``stop``."""
        while start < stop:
            block, low = divmod(start, BLOCK)
            length = min(stop - start, BLOCK - low)
            self.add_block(block, ((1 << length) - 1) << low)
            start += length

    def add_block(self, block: int, bits: int) -> None:
        """Add the offsets ``block * 4096 + n`` for every bit n of ``bits``."""
        if bits:
            self._blocks[block] = self._blocks.get(block, 0) | bits

    def from_start(self, start: int) -> OffsetSet:
        """Those at or above ``start``."""
        kept = OffsetSet()
        first, low = divmod(start, BLOCK)
        for block, bits in self._blocks.items():
            if block > first:
                kept.add_block(block, bits)
            elif block == first:
                kept.add_block(block, bits >> low << low)
        return kept

    def __len__(self) -> int:
        return sum(BLOCK if bits == _FULL_BLOCK else bin(bits).count("1") for bits in self._blocks.values())

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OffsetSet) and self._blocks == other._blocks

    __hash__ = None  # type: ignore[assignment]

    def __sub__(self, other: OffsetSet) -> OffsetSet:
        left = OffsetSet()
        for block, bits in self._blocks.items():
            left.add_block(block, bits & ~other._blocks.get(block, 0))
        return left

    def __and__(self, other: OffsetSet) -> OffsetSet:
        both = OffsetSet()
        for block, bits in self._blocks.items():
            both.add_block(block, bits & other._blocks.get(block, 0))
        return both

    def __iter__(self) -> Iterator[int]:
        for block in sorted(self._blocks):
            bits = self._blocks[block]
            while bits:
                lowest = bits & -bits
                yield block * BLOCK + lowest.bit_length() - 1
                bits ^= lowest

    def last(self) -> int:
        """The greatest offset. Raises ValueError of an empty set."""
        block = max(self._blocks)
        return block * BLOCK + self._blocks[block].bit_length() - 1


def block_bits(full_words: int, words: Iterable[int], masks: Iterable[int]) -> int:
    """The bits of a block as ClickHouse tells it: which of its words are full, and the bits of the others."""
    if full_words == _FULL_WORD:
        return _FULL_BLOCK
    bits = 0
    for word in range(WORDS):
        if full_words >> word & 1:
            bits |= _FULL_WORD << (word * WORD)
    for word, mask in zip(words, masks):
        bits |= mask << (word * WORD)
    return bits
