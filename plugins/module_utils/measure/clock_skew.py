# SPDX-License-Identifier: Apache-2.0
"""How far two clocks lie apart, as bounds.

A remote clock is read between two readings of our own: it was read at some moment of that bracket, so the skew lies
within [remote - after, remote - before] whatever the network did. Several brackets intersect to the narrowest bounds
(Cristian's algorithm with its error kept instead of halved away; F. Cristian, "Probabilistic clock synchronization",
1989).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Optional

from ..core.clock import Deadline
from ..core.errors import K2Error

MIN_READINGS = 5
MAX_READINGS = 100
TIME_LIMIT_S = 10.0


@dataclass(frozen=True)
class Bracket:
    """One remote reading between two own ones; all in microseconds since the epoch.

    ``resolution_us`` widens the bracket where the remote clock is read coarsely.
    """

    before_us: int
    remote_us: int
    after_us: int
    resolution_us: int = 1


@dataclass(frozen=True)
class Skew:
    """Bounds of (remote - own) in milliseconds, from ``n`` readings; ``error`` says why there are none."""

    name: str
    low_ms: Optional[float]
    high_ms: Optional[float]
    n: int
    error: Optional[str] = None

    @property
    def magnitude_ms(self) -> Optional[tuple[float, float]]:
        """The least and the greatest absolute skew that the readings allow."""
        if self.low_ms is None or self.high_ms is None:
            return None
        least = 0.0 if self.low_ms <= 0.0 <= self.high_ms else min(abs(self.low_ms), abs(self.high_ms))
        return least, max(abs(self.low_ms), abs(self.high_ms))


def bound_skew(name: str, brackets: Iterable[Bracket]) -> Skew:
    """Intersect ``brackets``; brackets that contradict each other (a clock stepped between them) give an error,
    not a number.
    """
    taken = list(brackets)
    if not taken:
        return Skew(name, None, None, 0, "no reading of the clock succeeded")
    low = max(b.remote_us - b.after_us for b in taken) / 1000
    high = min(b.remote_us + b.resolution_us - b.before_us for b in taken) / 1000
    if low > high:
        return Skew(
            name, None, None, len(taken), f"the clock moved against ours by {low - high:.3f} ms during the readings"
        )
    return Skew(name, low, high, len(taken))


def measure_skew(
    name: str, read_us: Callable[[], int], limit_ms: float, deadline: Deadline, resolution_us: int = 1
) -> Skew:
    """Read a remote clock through ``read_us`` (microseconds since the epoch) and bound its skew.

    Reads at least ``MIN_READINGS`` times, then until the bounds settle on which side of ``limit_ms`` the skew lies, at
    most ``MAX_READINGS`` times and until ``deadline``: a slow answer only widens its own bracket, another may be quick.
    """
    brackets: list[Bracket] = []
    while True:
        before = time.time_ns() // 1000
        try:
            remote = read_us()
        except K2Error as error:
            return Skew(name, None, None, len(brackets), str(error))
        # +1: own readings are truncated to the microsecond, the bracket must not shrink by that.
        brackets.append(Bracket(before, remote, time.time_ns() // 1000 + 1, resolution_us))
        skew = bound_skew(name, brackets)
        magnitude = skew.magnitude_ms
        settled = magnitude is None or magnitude[1] <= limit_ms or magnitude[0] > limit_ms
        if len(brackets) >= MIN_READINGS and (settled or len(brackets) >= MAX_READINGS or deadline.passed):
            return skew
