# SPDX-License-Identifier: Apache-2.0
"""How late trades were sent, as a DDSketch: mergeable with the sketches of other senders, quantiles within 1 %."""

from __future__ import annotations

import math

from ddsketch.ddsketch import BaseDDSketch
from ddsketch.mapping import LogarithmicMapping
from ddsketch.store import DenseStore

RELATIVE_ACCURACY = 0.01


class Lateness:
    """A sketch of milliseconds that are not negative."""

    def __init__(self) -> None:
        self._store = DenseStore()
        self._sketch = BaseDDSketch(LogarithmicMapping(RELATIVE_ACCURACY), self._store, DenseStore(), 0.0)
        self._min = math.inf
        self._max = 0.0

    def add(self, milliseconds: float) -> None:
        """Count one value; the monotonic clock never lets it be below zero."""
        self._sketch.add(milliseconds)
        self._min = min(self._min, milliseconds)
        self._max = max(self._max, milliseconds)

    def merge(self, other: Lateness) -> None:
        """Take in the values of `other`."""
        self._sketch.merge(other._sketch)
        self._min = min(self._min, other._min)
        self._max = max(self._max, other._max)

    def plain(self) -> dict[str, object]:
        """As JSON carries it; the indices of bins are those of DDSketch's logarithmic mapping."""
        count = round(self._sketch.count)
        return {
            "relative_accuracy": RELATIVE_ACCURACY,
            "count": count,
            "sum": self._sketch.sum,
            "min": self._min if count else None,
            "max": self._max if count else None,
            "zeros": count - round(self._store.count),
            "bins": {str(self._store.offset + index): round(n) for index, n in enumerate(self._store.bins) if n},
        }
