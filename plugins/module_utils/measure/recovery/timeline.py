# SPDX-License-Identifier: Apache-2.0
"""From samples to bounds: how long a lane was out, when it came back, and how sure that is.

The outage runs from the first moment of being down after the fault to the last before it was up for good. With one
service that goes down and comes up, whatever the phase of the samples and however long each took:

- it went down after the start of the last OK (up at some later moment) and before the end of the first FAIL;
- it came up after the start of the last FAIL and before the end of the first OK that follows;
- so it was out for at least ``start of last FAIL - end of first FAIL`` and at most ``end of first OK - start of last
  OK``. Both ends of a sample count: a probe that hung until its timeout says nothing about when it began to hang.

A stretch that nobody looked at (a hole), or a look without proof, is not success: it widens the upper bound and ends a
window of successes, but it proves no failure, so the lower bound does not use it. What came and went wholly between
two samples is not seen; it was shorter than the two with the time between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ...core.clock import NS_PER_S
from .model import Lane, Moment, Sample, Span, plain_span, since

SETTLE_K = 5
# A lane that misses this many of its looks in a row was not watched meanwhile.
HOLE_INTERVALS = 2.0


@dataclass(frozen=True)
class Outage:
    """What one lane went through, in seconds; spans count from time zero and are None where nothing bounds them.

    ``symptom`` is when it went down. ``lower_s`` and ``upper_s`` bound how long it was out, ``t1`` when it first came
    up again, ``t2`` when it came up to stay: K successes and no less than the settling time, from there on. Without a
    FAIL the outage was ``shorter_than_s``. ``settled`` tells whether it was seen to stay up; ``relapsed`` that it
    failed once more after that, which the outage then includes. ``not_before_s`` is the latest proven failure after
    zero: it was not back before. ``t2_ns`` is ``t2`` on the clock.
    """

    symptom: Optional[Span]
    lower_s: float
    upper_s: Optional[float]
    t1: Optional[Span]
    t2: Optional[Span]
    shorter_than_s: Optional[float]
    fails: int
    n: int
    settled: bool
    relapsed: bool
    not_before_s: float
    t2_ns: Optional[tuple[int, int]] = None

    def to_plain(self) -> dict[str, Any]:
        """As the module returns it."""
        return {
            **{name: plain_span(getattr(self, name)) for name in ("symptom", "t1", "t2")},
            **{name: getattr(self, name) for name in ("lower_s", "upper_s", "shorter_than_s", "fails", "n")},
            **{name: getattr(self, name) for name in ("settled", "relapsed", "not_before_s")},
        }


def outage_of(lane: Lane, zero: Moment, settle_s: float, onset: Optional[Moment] = None) -> Outage:
    """``outage`` of a lane, whose interval tells what is a hole."""
    return outage(lane.samples, zero, settle_s=settle_s, onset=onset, hole_s=HOLE_INTERVALS * lane.interval_s)


def outage(
    samples: Sequence[Sample],
    zero: Moment,
    settle_k: int = SETTLE_K,
    *,
    settle_s: float,
    onset: Optional[Moment] = None,
    hole_s: Optional[float] = None,
) -> Outage:
    """The outage that ``samples`` (one lane's, by time) tell of.

    :arg zero: what spans count from, the injection or the heal. :arg onset: the injection, where it is not zero; what
        failed before it is no part of the outage. :arg settle_s: how long a lane must be seen up to have come to stay.
    :arg hole_s: the longest time without a look that is no hole; None knows no holes.
    """
    return _Timeline(samples, zero, onset or zero, hole_s).outage(settle_k, settle_s)


class _Timeline:
    def __init__(self, samples: Sequence[Sample], zero: Moment, onset: Moment, hole_s: Optional[float]) -> None:
        self.samples = samples
        self.zero = zero
        self.onset = onset
        # Only what may have been seen after the injection can be its doing.
        self.fails = [i for i, one in enumerate(samples) if one.failed and one.end_ns >= onset.low_ns]
        self.doubts = [i for i, one in enumerate(samples) if not one.ok and one.end_ns >= onset.low_ns]
        # A hole has the number of the sample that ends it.
        self.holes = [
            i
            for i in range(1, len(samples))
            if hole_s is not None
            and samples[i].start_ns >= onset.low_ns
            and samples[i].start_ns - samples[i - 1].end_ns > hole_s * NS_PER_S
        ]

    def outage(self, settle_k: int, settle_s: float) -> Outage:
        first = self.fails[0] if self.fails else 0
        begin, run = self._settled_run(first, settle_k, settle_s)
        if not self.fails:
            shorter = self._widest_pair(settled=run is not None)
            return Outage(None, 0.0, None, None, None, shorter, 0, len(self.samples), run is not None, False, 0.0)
        last = self.fails[-1]
        before = self._last_ok_before(first)
        after = self._first_ok_after_all(last, begin)
        samples = self.samples
        t2_ns = None if run is None else self._up_between(run)
        return Outage(
            symptom=None if before is None else self._since(samples[before].start_ns, samples[first].end_ns),
            lower_s=max(0.0, (samples[last].start_ns - samples[first].end_ns) / NS_PER_S),
            upper_s=(
                None
                if before is None or after is None
                else (samples[after].end_ns - samples[before].start_ns) / NS_PER_S
            ),
            t1=self._first_success(first),
            t2=None if t2_ns is None else self._since(*t2_ns).not_negative,
            shorter_than_s=None,
            fails=len(self.fails),
            n=len(samples),
            settled=run is not None,
            relapsed=run is not None and last > run,
            not_before_s=max(0.0, (samples[last].start_ns - self.zero.high_ns) / NS_PER_S),
            t2_ns=t2_ns,
        )

    def _settled_run(self, first: int, settle_k: int, settle_s: float) -> tuple[Optional[int], Optional[int]]:
        """The first window of enough successes from sample ``first`` on: where it begins, and its first after zero.

        Only what was seen after zero counts: a lane that was well while the fault was held may still fall when it
        ends. The time is the one that is certain: from the end of the first OK to the start of the last.
        """
        broken = {*self.doubts, *self.holes}
        begin: Optional[int] = None
        counted: list[int] = []
        for i in range(first, len(self.samples)):
            sample = self.samples[i]
            if i in broken:
                begin, counted = None, []
            if not sample.ok:
                continue
            begin = i if begin is None else begin
            if sample.start_ns >= self.zero.low_ns:
                counted.append(i)
            if len(counted) >= settle_k and (sample.start_ns - self.samples[counted[0]].end_ns >= settle_s * NS_PER_S):
                return begin, counted[0]
        return None, None

    def _last_ok_before(self, first: int) -> Optional[int]:
        """The last OK before anything was amiss; a hole or a doubt ahead of the first FAIL may have been it already."""
        amiss = min([first, *self.doubts, *self.holes])
        return next((i for i in range(amiss - 1, -1, -1) if self.samples[i].ok), None)

    def _first_ok_after_all(self, last: int, begin: Optional[int]) -> Optional[int]:
        """The first OK that nothing amiss follows; what is only in doubt no longer counts once a lane has settled."""
        if begin is not None and begin > last:
            return begin
        amiss = max([last, *self.doubts])
        # The sample that ends a hole may itself be the OK.
        start = max([amiss + 1, *self.holes])
        return next((i for i in range(start, len(self.samples)) if self.samples[i].ok), None)

    def _up_between(self, run: int) -> tuple[int, int]:
        """Between which readings the service came up that was seen up from sample ``run`` on.

        Holes and doubts do not show that it was down: it may have been up since before them.
        """
        down = max(i for i in self.fails if i < run)
        return self.samples[down].start_ns, self.samples[run].end_ns

    def _first_success(self, first: int) -> Optional[Span]:
        """T1: when it came up that was seen up first, counting from zero."""
        for i in range(first + 1, len(self.samples)):
            # A look that began before zero may have seen the time before.
            if self.samples[i].ok and self.samples[i].start_ns >= self.zero.low_ns:
                return self._since(*self._up_between(i)).not_negative
        return None

    def _widest_pair(self, *, settled: bool) -> Optional[float]:
        """The longest that a lane without a FAIL may have been down: from one OK to the next, with both.

        None if it may have been down before the first or after the last.
        """
        oks = [one for one in self.samples if one.ok]
        pairs = [(a, b) for a, b in zip(oks, oks[1:]) if b.end_ns >= self.onset.low_ns]
        watched = bool(pairs) and pairs[0][0].start_ns <= self.onset.low_ns
        if not watched or oks[-1].start_ns < self.zero.high_ns:
            return None
        if not settled and not self.samples[-1].ok:
            return None
        return max(b.end_ns - a.start_ns for a, b in pairs) / NS_PER_S

    def _since(self, low_ns: int, high_ns: int) -> Span:
        span = since(self.zero, low_ns, high_ns)
        # What the injection caused did not come before it; before the heal it did, and that is told.
        return span.not_negative if self.onset is self.zero else span
