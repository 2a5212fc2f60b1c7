# SPDX-License-Identifier: Apache-2.0
"""All watches of a measurement together: begin, wait until all is well, tell what was seen, wait until it is again."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from types import TracebackType
from typing import Optional

from ...core.clock import Deadline
from ...core.errors import DeadlineExceeded
from .flow import FlowBound, FlowWatch, Reading
from .model import Lane, Moment
from .sampler import Watch
from .timeline import Outage, outage_of

_POLL_S = 0.1
_SETTLE_POLL_S = 0.5


class NotSteady(DeadlineExceeded):
    """Not everything was well before the fault: it may not be injected."""


class Samplers:
    """The watches of ``lanes_for`` at work; a context manager that begins and ends them."""

    def __init__(self, watches: Iterable[Watch]) -> None:
        self._watches = tuple(watches)

    def __enter__(self) -> Samplers:
        # Spread over their intervals, so that they do not all look, and their targets all answer, at once.
        for index, watch in enumerate(self._watches):
            watch.start(watch.interval_s * index / len(self._watches))
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Begin no more looks; what was seen stays."""
        for watch in self._watches:
            watch.stop()

    def lanes(self, names: Optional[Collection[str]] = None) -> tuple[Lane, ...]:
        """The lanes, all or ``names``, with what has been seen so far."""
        every = (lane for watch in self._watches for lane in watch.lanes)
        return tuple(lane for lane in every if names is None or lane.name in names)

    def wait_all_ok(self, n: int, deadline: Deadline) -> None:
        """Wait until the last ``n`` samples of every lane are OK.

        :raises NotSteady: not before ``deadline``; it tells which are not, and why.
        """
        while True:
            amiss = [lane for lane in self.lanes() if not _well(lane, n)]
            if not amiss:
                return
            if deadline.passed:
                raise NotSteady(
                    "the platform is not steady",
                    expected=f"{n} successes of every lane, one after another",
                    seen="; ".join(_told(lane, n) for lane in amiss),
                    action="mend what does not answer before anything is broken on purpose",
                )
            time.sleep(min(_POLL_S, deadline.remaining() or _POLL_S))

    def end_baseline(self) -> None:
        """Learn what age of the newest row is usual, by exchange; to be called when all has been well for a while."""
        for watch in self._flows():
            watch.end_baseline()

    def note_fault(self, onset: Moment, exchanges: Collection[str]) -> None:
        """Tell when the fault was brought about, and the flows of which ``exchanges`` it may stop."""
        for watch in self._flows():
            watch.note_fault(onset, exchanges)

    def flow_bounds(self) -> Mapping[str, FlowBound]:
        """The bounds by exchange that flow lanes are judged by."""
        return {name: bound for watch in self._flows() for name, bound in watch.bounds.items()}

    def flow_readings(self) -> tuple[Reading, ...]:
        """The ages of the newest rows so far, for when the backlog was worked off."""
        return tuple(reading for watch in self._flows() for reading in watch.readings)

    def outages(
        self,
        zero: Moment,
        settle_s: float,
        onset: Optional[Moment] = None,
        names: Optional[Collection[str]] = None,
    ) -> Mapping[str, Outage]:
        """The outages by lane, by what has been seen so far."""
        return {lane.name: outage_of(lane, zero, settle_s, onset) for lane in self.lanes(names)}

    def wait_settled(
        self,
        zero: Moment,
        settle_s: float,
        deadline: Deadline,
        *,
        onset: Optional[Moment] = None,
        names: Optional[Collection[str]] = None,
        must_fail: Collection[str] = (),
    ) -> Mapping[str, Outage]:
        """Wait until every lane (or ``names``) is well again to stay, or ``deadline``; the outages as they are then.

        :arg must_fail: lanes that settle only after they have failed, for a fault that takes a while to show. A fault
            may be too short for that: bound the wait.
        """
        while True:
            seen = self.outages(zero, settle_s, onset, names)
            waiting = [
                name for name, each in seen.items() if not each.settled or (name in must_fail and not each.fails)
            ]
            if not waiting or deadline.passed:
                return seen
            time.sleep(min(_SETTLE_POLL_S, deadline.remaining() or _SETTLE_POLL_S))

    def _flows(self) -> Iterable[FlowWatch]:
        return (watch for watch in self._watches if isinstance(watch, FlowWatch))


def _well(lane: Lane, n: int) -> bool:
    last = lane.samples[-n:]
    return len(last) == n and all(sample.ok for sample in last)


def _told(lane: Lane, n: int) -> str:
    bad = next((sample for sample in reversed(lane.samples[-n:]) if not sample.ok), None)
    return f"{lane.name}: " + (bad.error if bad is not None else f"only {len(lane.samples)} samples")
