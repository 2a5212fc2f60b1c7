# SPDX-License-Identifier: Apache-2.0
"""Render the SQL files into the ordered list of CREATE statements."""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from string import Template

TIMEFRAMES: dict[str, int] = {"1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "1d": 86400}
"""Candle length in seconds by K2's name for it."""

CANDLE_TABLES: tuple[str, ...] = tuple(f"ohlcv_{timeframe}" for timeframe in TIMEFRAMES)

# What one insert costs is the number of parts and of files per part, not rows: nine tables, one part each. Packed parts
# (one file instead of eleven) halve the wall time and take two thirds off the kernel's share; statistics and sparse
# encodings are useless on parts of five rows. The window of 1,000 tokens is about a minute, more than any insert can
# linger on its way.
# Merges: the selector takes every part for 5 MiB larger than it is, so tiny parts are merged with the whole day again
# and again: measured, 610 M rows rewritten for 0.6 M inserted, 85 % of the server's CPU. Hence thirty parts at a
# time, all of them (one heuristic would take the small ones out again), into parts of 2 MiB at most: a day at 50
# trades/s is 70 parts.
TABLE_SETTINGS = (
    "non_replicated_deduplication_window = 1000, min_bytes_for_full_part_storage = 10485760, "
    "min_parts_to_merge_at_once = 30, merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0, "
    "max_bytes_to_merge_at_max_space_in_pool = 2097152, auto_statistics_types = '', "
    "ratio_of_defaults_for_sparse_serialization = 1.0, write_marks_for_substreams_in_compact_parts = 0"
)

# Position 4 is the price; 1 to 3 order the trades of a window and break ties.
TRADE_TYPE = "Tuple(time DateTime64(6, 'UTC'), sequence UInt64, kafka_offset UInt64, price Decimal(38, 8))"


class CandleEngine(enum.Enum):
    """Which design of the candle tables; `summing` is known to be wrong and exists for tests of the tool."""

    AGGREGATING = "aggregating"
    SUMMING = "summing"


@dataclass(frozen=True)
class Statement:
    """One CREATE statement; `comment` (tables only) carries a digest of the definition to detect drift."""

    name: str
    sql: str
    comment: str | None


def statements(database: str, candles: CandleEngine = CandleEngine.AGGREGATING) -> list[Statement]:
    """All statements in the order they must run, the database itself first.

    Raises ValueError when `database` is not a plain identifier (it is pasted into SQL).
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", database):
        raise ValueError(f"database must be a plain identifier (letters, digits, _), not {database!r}")
    rendered = [Statement(database, f"CREATE DATABASE IF NOT EXISTS {database}", None)]
    for name in ("10_raw_trades", "20_bronze_trades", "30_silver_trades", "50_processor_repairs"):
        rendered += _render(_read(name), database=database)
    candle_sql = _read(f"40_candles_{candles.value}")
    for timeframe, seconds in TIMEFRAMES.items():
        rendered += _render(candle_sql, database=database, timeframe=timeframe, seconds=str(seconds))
    return rendered


def _read(name: str) -> str:
    return (resources.files("k2lab.schema") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def _render(sql: str, **values: str) -> Iterator[Statement]:
    without_comments = re.sub(r"^--.*\n", "", sql, flags=re.MULTILINE)
    for template in without_comments.split(";\n"):
        if not template.strip():
            continue
        body = Template(template).substitute(
            values, settings=TABLE_SETTINGS, trade_type=TRADE_TYPE, comment="${comment}"
        )
        digest = hashlib.sha256(body.encode()).hexdigest()[:16]
        created = re.match(r"\s*CREATE (?:TABLE|VIEW|MATERIALIZED VIEW) IF NOT EXISTS \w+\.(\w+)", body)
        if created is None:
            raise ValueError(f"not a CREATE ... IF NOT EXISTS statement: {body[:80]!r}")
        has_comment = "${comment}" in body
        comment = f"schema {digest}"
        yield Statement(created.group(1), body.replace("${comment}", comment).strip(), comment if has_comment else None)
