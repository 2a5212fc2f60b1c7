# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2lab.common.errors import LabError
from k2lab.offload.position import Head, Positions, Span, TopicPartition, chunks, irregular, spans
from k2lab.offload.watermark import Watermark

PARTITIONS = st.builds(TopicPartition, st.sampled_from(["a.raw", "b.raw"]), st.integers(0, 9))
OFFSETS = st.integers(0, 2**62)
POSITIONS = st.builds(Positions, st.dictionaries(PARTITIONS, OFFSETS, max_size=6))
SPANS = st.dictionaries(PARTITIONS, st.builds(lambda after, n: Span(after, after + n), OFFSETS, st.integers(1, 5000)))


@settings(deadline=None)
@given(SPANS, st.integers(1, 20_000), st.integers(50, 500))
def test_every_offset_is_in_exactly_one_piece_and_pieces_follow_each_other(
    todo: dict[TopicPartition, Span], rows: int, most: int
) -> None:
    reached = Positions({partition: span.after for partition, span in todo.items()})
    for piece in chunks(todo, rows, most):
        assert all(span.offsets > 0 for span in piece.values())
        reached = reached.advanced(piece)  # refuses gaps and overlaps
    assert reached.offsets == {partition: span.upto for partition, span in todo.items()}


@settings(deadline=None)
@given(SPANS, st.integers(50, 500))
def test_pieces_of_a_topic_without_holes_are_bounded(todo: dict[TopicPartition, Span], most: int) -> None:
    rows = sum(span.offsets for span in todo.values())
    for piece in chunks(todo, rows, most):
        assert sum(span.offsets for span in piece.values()) <= most + len(todo)


@given(POSITIONS)
def test_positions_survive_json(positions: Positions) -> None:
    assert Positions.from_json(json.loads(json.dumps(positions.to_json()))) == positions


@given(POSITIONS, OFFSETS, OFFSETS, st.dictionaries(OFFSETS, st.text(max_size=5), max_size=3))
def test_watermarks_survive_json(positions: Positions, as_of: int, rows: int, digests: dict[int, str]) -> None:
    watermark = Watermark(as_of, rows, positions, updated_at_us=as_of + 1, digests=digests)
    assert Watermark.from_json(watermark.to_json(), "here") == watermark


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"as_of_us": 1}', '{"as_of_us":1,"rows_total":1,"positions":{"t":3}}']
)
def test_what_is_no_watermark_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(LabError, match="a watermark of this program in the cellar"):
        Watermark.from_json(text, "the cellar")


def test_a_watermark_of_another_time_is_at_the_same_place() -> None:
    here = Watermark(as_of_us=1, positions=Positions({TopicPartition("t", 0): 7}))
    assert here.same_place(Watermark(as_of_us=2, positions=here.positions))
    assert not here.same_place(Watermark(as_of_us=1, positions=Positions({TopicPartition("t", 0): 8})))
    assert not Watermark().started
    assert here.started


def test_advancing_refuses_a_gap_an_overlap_and_a_step_back() -> None:
    partition = TopicPartition("t", 0)
    held = Positions({partition: 10})
    assert held.advanced({partition: Span(10, 12)}).offsets == {partition: 12}
    for wrong in (Span(11, 12), Span(9, 12), Span(10, 9)):
        with pytest.raises(ValueError, match="is moved up to 10"):
            held.advanced({partition: wrong})


def test_spans_begin_at_the_watermark_or_at_the_first_row() -> None:
    known, new = TopicPartition("t", 0), TopicPartition("t", 1)
    heads = {known: Head(11, 20, 10), new: Head(500, 509, 10)}
    todo = spans(Positions({known: 10}), heads)
    assert todo == {known: Span(10, 20), new: Span(499, 509)}
    assert irregular(todo, heads) == (0, 0)


@pytest.mark.parametrize(
    ("head", "expected"), [(Head(13, 20, 8), (2, 0)), (Head(11, 20, 9), (1, 0)), (Head(11, 20, 12), (0, 2))]
)
def test_holes_and_doubled_rows_are_counted_and_do_not_make_up_for_each_other(
    head: Head, expected: tuple[int, int]
) -> None:
    partition, doubled = TopicPartition("t", 0), TopicPartition("t", 1)
    heads = {partition: head, doubled: Head(0, 1, 4)}
    todo = spans(Positions({partition: 10}), heads)
    assert irregular(todo, heads) == (expected[0], expected[1] + 2)
