# SPDX-License-Identifier: Apache-2.0
"""Exponential backoff with full jitter.

Method: M. Brooker, "Exponential Backoff and Jitter": drawing the whole delay at random spreads the clients of a
restarted exchange best.
"""

from __future__ import annotations

import random


class Backoff:
    """Delays in seconds before each next attempt: uniform in [0, min(maximum, base * 2^failures))."""

    def __init__(self, base_s: float, maximum_s: float, draw: random.Random) -> None:
        self._base_s = base_s
        self._maximum_s = maximum_s
        self._random = draw
        self._failures = 0

    @property
    def failures(self) -> int:
        """Attempts failed since the last reset."""
        return self._failures

    def next_delay(self) -> float:
        """Count a failure and return the delay before the next attempt."""
        ceiling = min(self._maximum_s, self._base_s * 2.0 ** min(self._failures, 62))
        self._failures += 1
        return self._random.uniform(0.0, ceiling)

    def reset(self) -> None:
        """Forget the failures: the last connection was stable."""
        self._failures = 0
