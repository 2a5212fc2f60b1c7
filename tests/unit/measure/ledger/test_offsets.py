# SPDX-License-Identifier: Apache-2.0
"""Sets of offsets behave as sets do, whatever holes they have."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.offsets import (
    BLOCK,
    WORD,
    OffsetSet,
    block_bits,
)

offsets = st.sets(st.one_of(st.integers(0, 3 * BLOCK), st.integers(2**62, 2**62 + 200)), max_size=300)


@given(offsets, offsets)
def test_they_are_sets(these: set[int], those: set[int]) -> None:
    one, other = OffsetSet(these), OffsetSet(those)
    assert list(one) == sorted(these)
    assert len(one) == len(these)
    assert list(one - other) == sorted(these - those)
    assert list(one & other) == sorted(these & those)
    assert (one == other) is (these == those)
    assert bool(one) is bool(these)
    if these:
        assert one.last() == max(these)


@given(offsets, st.integers(0, 3 * BLOCK))
def test_what_retention_took_is_cut_off(these: set[int], start: int) -> None:
    assert list(OffsetSet(these).from_start(start)) == sorted(each for each in these if each >= start)


@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 9000)), max_size=5))
def test_runs_add_up(runs: list[tuple[int, int]]) -> None:
    found = OffsetSet()
    for start, length in runs:
        found.add_run(start, start + length)
    expected = {each for start, length in runs for each in range(start, start + length)}
    assert list(found) == sorted(expected)


@given(st.sets(st.integers(0, BLOCK - 1), max_size=200), st.sets(st.integers(0, 63), max_size=64))
def test_a_block_comes_back_from_full_words_and_masks(single: set[int], full: set[int]) -> None:
    everything = single | {word * WORD + bit for word in full for bit in range(WORD)}
    words: dict[int, int] = {}
    for each in everything:
        words[each // WORD] = words.get(each // WORD, 0) | 1 << each % WORD
    partial = {word: mask for word, mask in words.items() if mask != 2**WORD - 1}
    full_words = sum(1 << word for word, mask in words.items() if word not in partial)
    found = OffsetSet()
    found.add_block(7, block_bits(full_words, partial.keys(), partial.values()))
    assert list(found) == [7 * BLOCK + each for each in sorted(everything)]


def test_ten_million_offsets_without_holes_are_small_and_fast() -> None:
    whole = OffsetSet()
    whole.add_run(0, 10_000_000)
    assert len(whole) == 10_000_000
    lacking = OffsetSet()
    lacking.add_run(0, 5_000_000)
    lacking.add_run(5_000_017, 10_000_000)
    assert list(whole - lacking) == list(range(5_000_000, 5_000_017))
