# SPDX-License-Identifier: Apache-2.0
"""Moving an append-only table: everything past the watermark's offsets, up to what was there when the run began."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from k2lab.common.errors import LabError
from k2lab.offload.columns import Column
from k2lab.offload.hot import HotTier
from k2lab.offload.position import Chunk, Head, TopicPartition, chunks, irregular, spans
from k2lab.offload.tables import TradeTable
from k2lab.offload.watermark import Watermark

log = logging.getLogger(__name__)

CHUNK_ROWS = 100_000
"""Rows of one commit: bounds the memory of a run that catches up (about 100 MB)."""

# Rows written longer than this before the last run began were visible to it: an insert takes seconds. Should a clock
# have stepped back further, offsets are missing and the table is read again without this short cut.
_LATE_US = 600_000_000


@dataclass(frozen=True)
class Work:
    """What a run will move of one table: pieces to commit one by one, and how many rows each must have."""

    as_of_us: int
    pieces: Sequence[tuple[Chunk, int]]
    written_at: str | None
    since_us: int


def plan(hot: HotTier, table: TradeTable, held: Watermark) -> Work:
    """Fix the upper bound of this run and cut the way there into pieces.

    Raises LabError when the table changes under the plan: a batch is being repaired.
    """
    as_of_us = hot.now_us()
    written_at: str | None = table.written_at if held.started else None
    since_us = max(0, held.as_of_us - _LATE_US)
    heads = hot.heads(table.name, held.positions, written_at, since_us)
    todo = spans(held.positions, heads)
    if any(irregular(todo, heads)):
        # Either the short cut left rows out, or the topic has holes. Look everywhere.
        written_at = None
        heads = hot.heads(table.name, held.positions, written_at, since_us)
        todo = spans(held.positions, heads)
    rows = sum(head.rows for head in heads.values())
    cut = chunks(todo, rows, CHUNK_ROWS) if rows else []
    return Work(as_of_us, _expected_rows(hot, table, cut, todo, heads), written_at, since_us)


def read(hot: HotTier, table: TradeTable, columns: Sequence[Column], work: Work, index: int) -> pa.Table:
    """The rows of one piece; raises LabError when they are not as many as planned."""
    chunk, rows = work.pieces[index]
    data = hot.read(table.name, columns, chunk, work.written_at, work.since_us)
    if data.num_rows != rows:
        raise _changed(table, rows, data.num_rows)
    return data


def after(held: Watermark, work: Work, index: int) -> Watermark:
    """The watermark once piece `index` is in."""
    chunk, rows = work.pieces[index]
    last = index == len(work.pieces) - 1
    return replace(
        held,
        positions=held.positions.advanced(chunk),
        rows_total=held.rows_total + rows,
        as_of_us=work.as_of_us if last else held.as_of_us,
    )


def evidence(run_id: str, chunk: Chunk, rows: int) -> dict[str, str]:
    """What the snapshot says of itself: who wrote it, and [after, upto] of each partition."""
    ranges = {f"{partition.topic}/{partition.number}": list(span) for partition, span in sorted(chunk.items())}
    return {"k2.run": run_id, "k2.rows": str(rows), "k2.offsets": json.dumps(ranges, separators=(",", ":"))}


def _expected_rows(
    hot: HotTier, table: TradeTable, cut: Sequence[Chunk], todo: Chunk, heads: Mapping[TopicPartition, Head]
) -> Sequence[tuple[Chunk, int]]:
    rows = sum(head.rows for head in heads.values())
    found = irregular(todo, heads)
    if not any(found):
        return [(piece, sum(span.offsets for span in piece.values())) for piece in cut]
    said = "%s: past the watermark %d offsets show no row and %d rows are doubled; moved as they are"
    log.warning(said, table.name, found.holes, found.doubled)
    counted = [(piece, hot.count(table.name, piece)) for piece in cut]
    if sum(count for _, count in counted) != rows:
        raise _changed(table, rows, sum(count for _, count in counted))
    return counted


def _changed(table: TradeTable, expected: int, seen: int) -> LabError:
    return LabError(
        f"{expected} rows of {table.name} past the watermark, as counted a moment before",
        f"{seen}",
        "nothing of this piece was moved. A batch is being repaired; the next run gets it whole",
    )
