# SPDX-License-Identifier: Apache-2.0
"""The values that recovery is measured in. All moments are CLOCK_MONOTONIC of the target, in nanoseconds.

Of the service itself nothing is known between samples, nor when within a sample it was as the sample says. An OK shows
that it was up at some moment between the sample's start and end, a FAIL that it was down at some such moment. A sample
without proof (its answer came too late, or the look itself failed) shows neither.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional, Protocol

from ...core.clock import NS_PER_S


class Moment(Protocol):
    """An act happened between two readings of the clock."""

    @property
    def low_ns(self) -> int:
        """The reading before it."""

    @property
    def high_ns(self) -> int:
        """The reading after it."""


@dataclass(frozen=True)
class Sample:
    """One look. ``error`` says why it is not OK; without ``proof`` it is neither a success nor a failure."""

    start_ns: int
    end_ns: int
    ok: bool
    error: str = ""
    proof: bool = True

    @property
    def failed(self) -> bool:
        """Whether it shows that the service was down."""
        return not self.ok and self.proof


@dataclass(frozen=True)
class Span:
    """An interval that contains the truth, in seconds."""

    low_s: float
    high_s: float

    @property
    def not_negative(self) -> Span:
        """The same of something that cannot have been before time zero."""
        return Span(max(0.0, self.low_s), max(0.0, self.high_s))


class LaneKind(enum.Enum):
    """What a lane looks at: the process, what it serves, or the flow of records."""

    PROCESS = "process"
    SERVICE = "service"
    FLOW = "flow"


@dataclass(frozen=True)
class Lane:
    """One thing that is looked at again and again, and the looks so far; ``skipped`` counts looks left out."""

    name: str
    kind: LaneKind
    service: Optional[str]
    exchange: Optional[str]
    interval_s: float
    timeout_s: float
    samples: tuple[Sample, ...] = ()
    skipped: int = 0


def plain_span(span: Optional[Span]) -> Optional[list[float]]:
    """A span, or that there is none, as plain data."""
    return None if span is None else [span.low_s, span.high_s]


def since(zero: Moment, low_ns: int, high_ns: int) -> Span:
    """Something between ``low_ns`` and ``high_ns``, counted from ``zero``, which is as uncertain."""
    return Span((low_ns - zero.high_ns) / NS_PER_S, (high_ns - zero.low_ns) / NS_PER_S)
