# SPDX-License-Identifier: Apache-2.0
"""How long to gather records before an insert: as long as the latency target allows, as each insert costs the same."""

from __future__ import annotations

TARGET_MS = 90.0
"""Receipt to commit of the slowest record of a batch; leaves 10 ms of 100 for the way from exchange to broker."""

_TAIL = 1.5  # a slow insert over the average one
_REST = 1.0  # at least this long between inserts, in inserts: what bounds the server's share of a core
_WEIGHT = 0.1  # of the newest insert in the running average


class Linger:
    """The current linger, from a running average of what announcing and inserting a batch takes."""

    def __init__(self, longest_ms: float, first_guess_ms: float = 30.0) -> None:
        self._longest_ms = longest_ms
        self._insert_ms = first_guess_ms

    def observe(self, insert_ms: float) -> None:
        """Take note of one insert's duration."""
        self._insert_ms += _WEIGHT * (insert_ms - self._insert_ms)

    @property
    def ms(self) -> float:
        """Milliseconds from a batch's first record to its insert.

        What the target leaves after a slow insert; but never less than _REST average inserts, since on a busy machine
        ever more and smaller inserts would only make it busier; and never more than the longest allowed.
        """
        return min(self._longest_ms, max(TARGET_MS - _TAIL * self._insert_ms, _REST * self._insert_ms))
