# SPDX-License-Identifier: Apache-2.0
"""What a measurement of latency brings back. Times in microseconds since the epoch end in ``_us``, others say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

# Dense where targets lie: every hundredth to 0.9, then 0.002, then 0.0002.
LEVELS = tuple(
    [round(0.01 * i, 4) for i in range(90)]
    + [round(0.9 + 0.002 * i, 4) for i in range(40)]
    + [round(0.98 + 0.0002 * i, 4) for i in range(101)]
)

# Of these, each second of the measurement tells how many values lie above: what slow spells are recognised by.
EXCEEDING_LEVELS = (0.5, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)


@dataclass(frozen=True)
class Span:
    """A half-open stretch of time."""

    start_us: int
    end_us: int


@dataclass(frozen=True)
class WarmUp:
    """What was cut off the beginning, and how many observations (means of insert blocks) that rests on."""

    method: str
    cut_s: float
    observations: int


@dataclass(frozen=True)
class Start:
    """Where the path begins; ``moment`` is None where no column tells, ``gated`` whether a verdict may rest on it."""

    moment: Optional[str]
    tier: Optional[str]
    column: Optional[str]
    resolution_ms: Optional[float]
    gated: bool
    why: str


@dataclass(frozen=True)
class End:
    """How the end of the path was known: ``part_log``, ``probe`` or ``none``."""

    source: str
    resolution_ms: Optional[float]
    why: str


@dataclass(frozen=True)
class Refusal:
    """A column too coarse for what was asked of it."""

    moment: str
    tier: str
    column: str
    type: str
    resolution_ms: Optional[float]
    needed_ms: float
    reason: str


@dataclass(frozen=True)
class Quantiles:
    """Order statistics at fixed levels; low and high differ where commits are known between bounds only."""

    levels: tuple[float, ...]
    low_ms: tuple[float, ...]
    high_ms: tuple[float, ...]


@dataclass(frozen=True)
class Cell:
    """The latency of one exchange, candle or segment.

    ``n`` counts what was measured. ``unattributed`` rows entered and have no known commit, ``invalid`` ones never reach
    a candle; ``ambiguous`` ones were given the latest commit that may be theirs. ``sum_squares`` is the sum over insert
    blocks of the squared number of rows, since rows of one block are dependent. ``why`` says why a cell cannot be used.
    """

    kind: str
    name: str
    why: Optional[str] = None
    n: int = 0
    blocks: int = 0
    sum_squares: int = 0
    negative: int = 0
    late: Optional[int] = None
    duplicates: Optional[int] = None
    unattributed: int = 0
    invalid: int = 0
    ambiguous: int = 0
    min_ms: Optional[float] = None
    max_ms: Optional[float] = None
    mean_ms: Optional[float] = None
    quantiles: Optional[Quantiles] = None
    histogram: tuple[tuple[float, int], ...] = ()
    series: tuple[tuple[int, int, float, float, float], ...] = ()
    exceeding_levels: tuple[float, ...] = EXCEEDING_LEVELS
    exceeding: tuple[tuple[int, int, tuple[int, ...]], ...] = ()


@dataclass(frozen=True)
class Cost:
    """What the queries cost the server; ``without_limits`` says why none of its limits could be set."""

    queries: int
    rows_read: int
    bytes_read: int
    elapsed_s: float
    without_limits: Optional[str] = None


@dataclass(frozen=True)
class Latency:
    """The whole result."""

    window: Span
    measured: Span
    warm_up: WarmUp
    start: Start
    end: End
    refused: tuple[Refusal, ...]
    cells: tuple[Cell, ...]
    rows_in_window: int
    cost: Cost
