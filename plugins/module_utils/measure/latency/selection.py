# SPDX-License-Identifier: Apache-2.0
"""Which rows are measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .columns import Moment
from .model import Span
from .route import COMMITTED, Source
from .session import literal


@dataclass(frozen=True)
class Selection:
    """The rows of ``source`` that began within ``span`` and were written from ``low_us`` to ``high_us``, both included.

    ``exchange`` narrows them to one.
    """

    source: Source
    start: Moment
    span: Span
    low_us: int
    high_us: Optional[int]
    exchange: Optional[str] = None

    def condition(self) -> str:
        """SQL: which rows these are."""
        written = self.source.moments[COMMITTED]
        high_us = None if self.high_us is None else self.high_us + 1
        within = f"{self.start.bounds(self.span.start_us, self.span.end_us)} AND {written.bounds(self.low_us, high_us)}"
        return within if self.exchange is None else f"{within} AND {self.source.exchange} = {literal(self.exchange)}"

    def query(self) -> str:
        """SQL: k2_exchange, start_us, block_us, second (of the span), valid.

        The inner names have a prefix, lest one of them be a column of the table.
        """
        return (
            f"SELECT k2_exchange, k2_start AS start_us, k2_block AS block_us, k2_valid AS valid, "
            f"intDiv(k2_start - {self.span.start_us}, 1000000) AS second FROM ("
            f"SELECT {self.source.exchange} AS k2_exchange, assumeNotNull({self.start.as_us()}) AS k2_start, "
            f"{self.source.moments[COMMITTED].as_us()} AS k2_block, {self.source.valid} AS k2_valid "
            f"FROM {self.source.tier.table} WHERE {self.condition()})"
        )
