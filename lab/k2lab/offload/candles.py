# SPDX-License-Identifier: Apache-2.0
"""Moving a candle table: every block in which a candle changed is replaced as a whole.

Replacing is idempotent, so it matters little where exactly one run ended and the next began; the margin makes up for
changes that became visible after younger ones (a clock that stepped back).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from k2lab.offload.columns import Column
from k2lab.offload.hot import Block, HotTier, Stretch
from k2lab.offload.tables import CandleTable
from k2lab.offload.watermark import Watermark

CHUNK_ROWS = 100_000
MARGIN_US = 10_000_000

# A run finds one or two blocks changed; one that catches up need not know them again.
_DIGESTS_KEPT = 50


@dataclass(frozen=True)
class Work:
    """What a run will replace: groups of stretches, one commit each; none when nothing differs."""

    as_of_us: int
    newest_us: int
    digests: Mapping[int, str]
    groups: Sequence[Sequence[Stretch]]


def plan(hot: HotTier, table: CandleTable, columns: Sequence[Column], held: Watermark) -> Work:
    """Find what changed since the watermark.

    The order of the questions matters: what changes after `newest` was asked is found again by the next run, and what
    changes after the digests were taken makes the next ones differ.
    """
    as_of_us = hot.now_us()
    newest_us = hot.newest_change_us(table.name)
    blocks = hot.changed_blocks(table.name, table.block_s, max(0, held.updated_at_us - MARGIN_US))
    digests: Mapping[int, str] = {}
    if 0 < len(blocks) <= _DIGESTS_KEPT:
        everything = [stretch for group in grouped(blocks, table.block_s, CHUNK_ROWS) for stretch in group]
        digests = hot.digests(table.name, columns, table.block_s, everything)
    differing = [
        block
        for block in blocks
        if block.start_s not in digests or digests[block.start_s] != held.digests.get(block.start_s)
    ]
    return Work(as_of_us, newest_us, digests, grouped(differing, table.block_s, CHUNK_ROWS))


def after(held: Watermark, work: Work, index: int, rows: int) -> Watermark:
    """The watermark once group `index`, of `rows` candles, is in. It moves with the last group only."""
    written = replace(held, rows_total=held.rows_total + rows)
    if index < len(work.groups) - 1:
        return written
    return replace(written, as_of_us=work.as_of_us, updated_at_us=work.newest_us, digests=work.digests)


def evidence(run_id: str, group: Sequence[Stretch], rows: int) -> dict[str, str]:
    """What the snapshot says of itself: who wrote it, and the windows it replaced (seconds since the epoch)."""
    return {"k2.run": run_id, "k2.rows": str(rows), "k2.windows": " ".join(f"{s.start_s}-{s.end_s}" for s in group)}


def grouped(blocks: Sequence[Block], block_s: int, most_rows: int) -> Sequence[Sequence[Stretch]]:
    """Neighbouring blocks joined to stretches, and these grouped so that a group holds about `most_rows` candles."""
    groups: list[list[Stretch]] = []
    rows = 0
    for block in blocks:
        if not groups or rows + block.candles > most_rows:
            groups.append([])
            rows = 0
        group = groups[-1]
        rows += block.candles
        if group and group[-1].end_s == block.start_s:
            group[-1] = Stretch(group[-1].start_s, block.start_s + block_s)
        else:
            group.append(Stretch(block.start_s, block.start_s + block_s))
    return groups
