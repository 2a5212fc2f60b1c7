# SPDX-License-Identifier: Apache-2.0
"""What is looked at around one fault, and which of it has to be well again before the platform has recovered."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Optional

from ...core.clock import NS_PER_S, Deadline
from ...platform.runtime.factory import runtime_of
from ...profile.failures import affected_exchanges
from ...profile.model import FailureMode, Profile, RecoveryPoint, Service
from ..recovery.combine import Expectation, Recovery, combine, expectation, first_symptom
from ..recovery.drain import Drained, DrainWatch, wait_drained
from ..recovery.flow import FlowBound, Reading
from ..recovery.lanes import lanes_for
from ..recovery.model import LaneKind, Moment, Span
from ..recovery.result import LaneResult
from ..recovery.samplers import NotSteady, Samplers
from ..recovery.timeline import Outage

# Successes one after another, of every lane, that make a platform steady.
STEADY_N = 3
# So long is waited for a lane of what was broken to fail, before it counts as too short to be seen.
SYMPTOM_S = 5.0


class Watching:
    """All lanes of a platform around one fault; a context manager that begins and ends looking."""

    def __init__(self, profile: Profile, mode: FailureMode, service: Service, settle_s: float) -> None:
        self._settle_s = settle_s
        self._drain: Optional[DrainWatch] = None
        # A runtime for each lane: lanes look from threads of their own.
        watches = list(lanes_for(profile, partial(runtime_of, profile), closely={service.name, *mode.affects}))
        if mode.recovery_at is RecoveryPoint.DRAINED and profile.broker is not None:
            self._drain = DrainWatch.of(profile.broker)
        self._samplers = Samplers(watches if self._drain is None else [*watches, self._drain])
        self._exchanges = affected_exchanges(profile, mode, service)
        lanes = self._samplers.lanes()
        self._expected = {lane.name: expectation(lane, {service.name}, mode.affects, self._exchanges) for lane in lanes}
        self._touched = {name for name, allowed in self._expected.items() if allowed is not Expectation.UNAFFECTED}
        self._own = {lane.name: lane.kind for lane in lanes if lane.service == service.name}

    def __enter__(self) -> Watching:
        self._samplers.__enter__()
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._samplers.stop()

    # -- before ------------------------------------------------------------------------------------------------------

    def wait_steady(self, least_s: float, deadline: Deadline) -> None:
        """Watch for ``least_s`` and until every lane is well.

        :raises NotSteady: something is not, at ``deadline``.
        """
        time.sleep(min(least_s, deadline.remaining()))
        self._samplers.wait_all_ok(STEADY_N, deadline)

    def end_baseline(self) -> None:
        """Learn what is usual; from now on flows are judged by it."""
        self._samplers.end_baseline()

    def note_fault(self, onset: Moment) -> None:
        """Tell when the fault was brought about."""
        self._samplers.note_fault(onset, self._exchanges)

    # -- after -------------------------------------------------------------------------------------------------------

    def wait_back(self, zero: Moment, onset: Moment, deadline: Deadline, *, short: bool) -> Recovery:
        """Wait until all that the fault may touch is well again to stay, or ``deadline``.

        :arg short: whether the fault is over in an instant: it is given a while to show first.
        """
        if short:
            first = Deadline.after(min(SYMPTOM_S, deadline.remaining()))
            self._samplers.wait_settled(zero, self._settle_s, first, onset=onset, names=self._own, must_fail=self._own)
        self._samplers.wait_settled(zero, self._settle_s, deadline, onset=onset, names=self._touched)
        return self.recovery(zero, onset)

    def not_back(self, onset: Moment, deadline: Deadline) -> tuple[str, ...]:
        """Wait until all that the fault may touch is well to stay, or ``deadline``; the lanes that are not.

        However often they came and went before: of a fault that lasts until somebody mends it, that says nothing.
        """
        seen = self._samplers.wait_settled(onset, self._settle_s, deadline, onset=onset, names=self._touched)
        return tuple(sorted(name for name, outage in seen.items() if not outage.settled))

    def recovery(self, zero: Moment, onset: Moment) -> Recovery:
        """The platform's recovery by what was seen so far."""
        return combine(self._samplers.outages(zero, self._settle_s, onset, self._touched))

    def wait_drained(
        self, zero: Moment, onset: Moment, recovery: Recovery, deadline: Deadline
    ) -> tuple[Drained, Optional[Span]]:
        """Wait until the backlog of the time before T2 is worked off, or ``deadline``."""
        served_ns = self._served_ns(zero, onset, recovery)
        if served_ns is None:
            return Drained(None, None, f"no backlog can be told before all is served again: {recovery.why}"), None
        if self._drain is None:
            return Drained(None, None, "the platform has no broker whose backlog could be watched"), None

        def flow() -> tuple[Sequence[Reading], Mapping[str, FlowBound]]:
            return self._samplers.flow_readings(), self._samplers.flow_bounds()

        return wait_drained(self._drain, flow, served_ns, zero, deadline)

    def steady(self, deadline: Deadline) -> str:
        """Wait until every lane is well; empty, or what is not."""
        try:
            self._samplers.wait_all_ok(STEADY_N, deadline)
        except NotSteady as error:
            return error.seen
        return ""

    def stop(self) -> None:
        """Begin no more looks."""
        self._samplers.stop()

    def lanes(self, zero: Moment, onset: Moment) -> tuple[LaneResult, ...]:
        """Every lane with what the fault was allowed to do to it, and what it did."""
        outages = self._samplers.outages(zero, self._settle_s, onset)
        return tuple(LaneResult(lane, self._expected[lane.name], outages[lane.name]) for lane in self._samplers.lanes())

    def first_success(self, zero: Moment, onset: Moment) -> Optional[Span]:
        """T1: when what was broken first answered again; None where it was not seen to fail, or not to answer."""
        failed = [outage.t1 for outage in self._own_outages(zero, onset).values() if outage.fails]
        spans = [span for span in failed if span is not None]
        if not spans or len(spans) < len(failed):
            return None
        return Span(max(span.low_s for span in spans), max(span.high_s for span in spans))

    def noticed(self, injected: Moment) -> Optional[Span]:
        """When the health check of what was broken showed it, from the injection; None where it never did."""
        own = self._own_outages(injected, injected)
        return first_symptom([outage for name, outage in own.items() if self._own[name] is LaneKind.SERVICE])

    # -- within ------------------------------------------------------------------------------------------------------

    def _own_outages(self, zero: Moment, onset: Moment) -> Mapping[str, Outage]:
        return self._samplers.outages(zero, self._settle_s, onset, self._own)

    def _served_ns(self, zero: Moment, onset: Moment, recovery: Recovery) -> Optional[tuple[int, int]]:
        """T2 on the clock: the latest of the lanes; of a fault too short to be seen, from zero to as late as it may
        have lasted.
        """
        if recovery.span is None and recovery.shorter_than_s is None:
            return None
        seen = self._samplers.outages(zero, self._settle_s, onset, self._touched).values()
        spans = [outage.t2_ns for outage in seen if outage.t2_ns is not None]
        low_ns = max([zero.low_ns, *(span[0] for span in spans)])
        unseen_ns = zero.high_ns + int((recovery.shorter_than_s or 0.0) * NS_PER_S)
        return low_ns, max([unseen_ns, *(span[1] for span in spans)])
