# SPDX-License-Identifier: Apache-2.0
"""The lab's ClickHouse tables: SQL files, and what other parts need to know about them (names and timeframes)."""

from __future__ import annotations

from k2lab.schema.ddl import CANDLE_TABLES, TIMEFRAMES, CandleEngine, Statement, statements

__all__ = ["CANDLE_TABLES", "TIMEFRAMES", "CandleEngine", "Statement", "statements"]
