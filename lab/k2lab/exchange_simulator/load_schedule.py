# SPDX-License-Identifier: Apache-2.0
"""One exchange's part of a load run: times fixed before the first trade is sent, and an account of how sending went."""

from __future__ import annotations

import math
import random
from array import array
from bisect import bisect_left
from collections.abc import Sequence

from k2lab.exchange_simulator.lateness import Lateness
from k2lab.exchange_simulator.schedule import Arrival


def arrivals(arrival: Arrival, rate: float, seconds: float, seed: str) -> array[int]:
    """Due times as microseconds from the start of the run, all of them within `seconds`.

    They follow from the arguments alone. Constant gaps begin half a gap in: no trade falls on an edge of the run.
    """
    end_us = round(seconds * 1e6)
    due = array("q")
    draw = random.Random(seed)
    at = 0.5 / rate if arrival is Arrival.CONSTANT else draw.expovariate(rate)
    number = 0
    while (at_us := round(at * 1e6)) < end_us:
        due.append(at_us)
        number += 1
        at = (number + 0.5) / rate if arrival is Arrival.CONSTANT else at + draw.expovariate(rate)
    return due


class LoadSchedule:
    """Due times on the monotonic clock, as Schedule has them, of which there is a last one."""

    def __init__(self, due_us: array[int], rate: float, start: float, start_us: int) -> None:
        """Begin at `start` (monotonic seconds), which is `start_us` microseconds since the epoch."""
        self._due_us = due_us
        self._rate = rate
        self._start = start
        self._start_us = start_us
        self._taken = 0
        self._given_up = False
        self.sent = 0
        self.heard = 0
        self.lateness = Lateness()

    @property
    def scheduled(self) -> int:
        """Trades of the whole run."""
        return len(self._due_us)

    @property
    def done(self) -> bool:
        """Whether nothing more will be sent."""
        return self._given_up or self._taken == len(self._due_us)

    @property
    def rate(self) -> float:
        """Trades per second; none when nothing more will be sent."""
        return 0.0 if self.done else self._rate

    @property
    def next_due(self) -> float:
        """When the next trade is due; infinite when none is left."""
        return math.inf if self.done else self._start + self._due_us[self._taken] / 1e6

    def take(self, now: float, limit: int) -> list[float]:
        """Remove and return the due times up to `now`, oldest first, `limit` at most."""
        due: list[float] = []
        while self.next_due <= now and len(due) < limit:
            due.append(self.next_due)
            self._taken += 1
        return due

    def stamp_us(self, at: float) -> int:
        """The due time `at` in microseconds since the epoch, as it was fixed, whatever the wall clock did since."""
        return self._start_us + round((at - self._start) * 1e6)

    def record(self, due: Sequence[float], sent: float, heard: int) -> None:
        """Account for trades that were due at `due` and handed to the connections by `sent`."""
        self.sent += len(due)
        self.heard += heard
        for at in due:
            self.lateness.add((sent - at) * 1000)

    def cut(self, end: float) -> None:
        """Make the run end at `end` (monotonic seconds), as if it had been ordered so: later trades are not due."""
        end_us = round((end - self._start) * 1e6)
        del self._due_us[max(self._taken, bisect_left(self._due_us, end_us)) :]

    def give_up(self) -> None:
        """Send no more; what is left was never sent."""
        self._given_up = True
