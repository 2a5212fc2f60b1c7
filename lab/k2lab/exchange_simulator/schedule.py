# SPDX-License-Identifier: Apache-2.0
"""Open-loop schedules: send times that depend on the clock and the seed, never on how sending goes."""

from __future__ import annotations

import math
import random
from enum import Enum


class Arrival(Enum):
    """How gaps between trades are drawn."""

    POISSON = "poisson"
    CONSTANT = "constant"


class Schedule:
    """A stream of due times on the monotonic clock (seconds).

    Each due time is the previous due time plus a gap, so a stall of the process never moves the schedule: what became
    due meanwhile is late, and its lateness can be measured (no coordinated omission).
    """

    def __init__(self, arrival: Arrival, rate: float, seed: str) -> None:
        self._random = random.Random(seed)
        self._arrival = arrival
        self._rate = rate
        self._next_due = math.inf

    @property
    def arrival(self) -> Arrival:
        """How gaps are drawn."""
        return self._arrival

    @property
    def rate(self) -> float:
        """Trades per second."""
        return self._rate

    @property
    def next_due(self) -> float:
        """When the next trade is due; infinite while stopped or at rate zero."""
        return self._next_due

    def set(self, rate: float, arrival: Arrival, now: float) -> None:
        """Take a new rate from `now` on; what was due before `now` has to be taken before."""
        self._rate, self._arrival = rate, arrival
        self.start(now)

    def start(self, now: float) -> None:
        """Begin (again) at `now`; nothing is due for the time before."""
        self._next_due = now + self._gap()

    def stop(self) -> None:
        """Make nothing due any more."""
        self._next_due = math.inf

    def take(self, now: float, limit: int) -> list[float]:
        """Remove and return the due times up to `now`, oldest first, `limit` at most."""
        due: list[float] = []
        while self._next_due <= now and len(due) < limit:
            due.append(self._next_due)
            self._next_due += self._gap()
        return due

    def _gap(self) -> float:
        if self._rate <= 0:
            return math.inf
        if self._arrival is Arrival.CONSTANT:
            return 1.0 / self._rate
        return self._random.expovariate(self._rate)
