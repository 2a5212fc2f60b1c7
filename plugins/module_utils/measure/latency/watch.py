# SPDX-License-Identifier: Apache-2.0
"""Watching a window until its end, and waiting until all that entered is committed and logged."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from ...core.clock import Deadline, monotonic_ns, utc_us
from ...core.errors import K2Error
from ...core.progress import Progress
from .columns import Moment
from .model import Span
from .route import COMMITTED, Source
from .session import Session, integer
from .survey import Survey

POLL_INTERVAL_S = 1.0
RECENT_S = 5
# Rows come block by block: nothing more is expected once nothing came for this many usual intervals between blocks.
QUIET_INTERVALS = 4
LEAST_QUIET_S = 2.0
LEAVE_ALONE = 4


@dataclass
class SteadyClock:
    """Whether wall clock and monotonic clock went alike since this was made."""

    _began_us: int
    _began_ns: int
    worst_us: int = 0

    @classmethod
    def now(cls) -> SteadyClock:
        """Begin to compare."""
        return cls(utc_us(), monotonic_ns())

    def look(self) -> None:
        """Compare once more."""
        drift_us = (utc_us() - self._began_us) - (monotonic_ns() - self._began_ns) // 1000
        if abs(drift_us) > abs(self.worst_us):
            self.worst_us = drift_us


def wait_for(window: Span, clock: SteadyClock, progress: Progress) -> None:
    """Wait until ``window`` begins."""
    deadline = Deadline.after(max(0.0, (window.start_us - utc_us()) / 1e6))
    while not deadline.passed:
        clock.look()
        progress.update(message=f"begins in {deadline.remaining():.0f} s")
        time.sleep(min(POLL_INTERVAL_S, deadline.remaining()))


def watch(
    session: Session, source: Source, start: Optional[Moment], window: Span, clock: SteadyClock, progress: Progress
) -> None:
    """Wait until ``window`` is over; tell rate and running p99, up to the write of ``source``, meanwhile.

    What goes wrong with a look is told and nothing more: the measurement comes after the watch.
    """
    total_s = (window.end_us - window.start_us) / 1e6
    deadline = Deadline.after(max(0.0, (window.end_us - utc_us()) / 1e6))
    while not deadline.passed:
        clock.look()
        left_s = deadline.remaining()
        try:
            recent = _recent(session, source, start)
        except K2Error as error:
            recent = str(error)
        progress.update(max(0.0, total_s - left_s), total_s, f"{left_s:.0f} s left, {recent}")
        time.sleep(min(POLL_INTERVAL_S, deadline.remaining()))
    clock.look()


def settle(
    look: Callable[[], Survey],
    pending: Callable[[Survey], tuple[int, int]],
    window: Span,
    drain_timeout_s: float,
    progress: Progress,
) -> Survey:
    """Look until no more rows come and nothing is pending, or ``drain_timeout_s`` after the window.

    ``pending`` tells how many insert blocks there are, and how many rows or blocks have no known commit yet. Returns
    the last look.
    """
    deadline = Deadline.after(max(0.0, window.end_us / 1e6 + drain_timeout_s - utc_us() / 1e6))
    interval_s, rows, since_ns = 0.0, -1, monotonic_ns()
    while True:
        looked_ns = monotonic_ns()
        seen = look()
        if seen.rows != rows:
            rows, since_ns = seen.rows, monotonic_ns()
        quiet_s = (monotonic_ns() - since_ns) / 1e9
        count, without = pending(seen)
        if seen.blocks is not None and count > 1:
            interval_s = (seen.blocks.end_us - seen.blocks.start_us) / 1e6 / (count - 1)
        progress.update(message=f"{seen.rows} rows in {count} insert blocks, {without} without a known commit yet")
        if deadline.passed or (not without and quiet_s >= max(LEAST_QUIET_S, QUIET_INTERVALS * interval_s)):
            return seen
        # A look at a long window costs: the server is left alone for a few times as long.
        pause_s = max(POLL_INTERVAL_S, LEAVE_ALONE * (monotonic_ns() - looked_ns) / 1e9)
        time.sleep(min(pause_s, deadline.remaining()))


def _recent(session: Session, source: Source, start: Optional[Moment]) -> str:
    written = source.moments.get(COMMITTED)
    if written is None or start is None:
        return f"{source.tier.name} has no times to watch"
    since = (utc_us() // 1_000_000 - RECENT_S) * 1_000_000
    ((count, p99),) = session.ask(
        f"SELECT count(), quantile(0.99)({written.as_us()} - {start.as_us()}) FROM {source.tier.table} "
        f"WHERE {written.bounds(since, None)}"
    ).rows
    rate = integer(count) / max(1e-6, utc_us() / 1e6 - since / 1e6)
    told = f"p99 {float(str(p99)) / 1000:.0f} ms to {source.tier.name}" if integer(count) else "nothing arrives"
    return f"{rate:.0f} msg/s, {told}"
