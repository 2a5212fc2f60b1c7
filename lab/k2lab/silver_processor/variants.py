# SPDX-License-Identifier: Apache-2.0
"""Known-bad behaviour on demand: proof that the tests which must catch it do."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from k2lab.silver_processor.rows import Row


class Variant(enum.Enum):
    """What is wrong with this processor: nothing, or one thing that has a name."""

    EXACTLY_ONCE = "exactly-once"
    AT_LEAST_ONCE = "at-least-once"
    DROP = "drop"
    DOUBLE = "double"


class Saboteur:
    """Drops or doubles the first `count` rows it sees, over as many batches as that takes; else passes rows through."""

    def __init__(self, variant: Variant, count: int) -> None:
        self._variant = variant
        self._left = count if variant in (Variant.DROP, Variant.DOUBLE) else 0

    def apply(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The rows to insert in place of `rows`."""
        if not self._left:
            return rows
        hit = rows[: self._left]
        self._left -= len(hit)
        return rows[len(hit) :] if self._variant is Variant.DROP else [*hit, *rows]
