# SPDX-License-Identifier: Apache-2.0
"""The order of acts: steady, guarded, broken, proven, held, ended, watched until all is back, looked back at, told.

Up to the injection every trouble is an error, and the platform is left as it is. An injection that fails is undone and
is an error, too. From then on there is a result whatever happens: the undo comes first, and what could not be learnt is
told in ``problems`` or ``error``.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Optional

from ...core.clock import NS_PER_S, Deadline, monotonic_ns, read_clock
from ...core.errors import K2Error
from ...core.progress import Progress
from ...fault.inject.base import Fault, FaultEndedEarly, Moment
from ...fault.journal import Journal
from ...fault.lock import PlatformLock
from ...platform.runtime.factory import runtime_of
from ...profile.failures import HELD
from ...profile.model import FailureMode, FaultAction, Profile, RecoveryPoint, Service
from ..recovery.cold import ColdOptions, ColdWatch
from ..recovery.result import FailureResult
from .begin import bring_about, hit_a_run
from .guard import FaultGuard, undo_earlier
from .heard import Heard
from .quiet import PlannedSilence
from .request import FailureRequest, at_most_s, chosen, open_fault
from .seen import Seen, result_of, zero_of
from .told import alerts_told
from .watching import Watching

# Connections that come back, a unit that its runtime still calls starting: given so long before it is a difference.
RESTORED_S = 15.0
# How long a platform may take to be steady again, once it is recovered or given up.
STEADY_AFTER_S = 45.0
# At least so long is watched once the fault is over: what it brings about may show late. With the steady time before
# the next fault these are more than the ten seconds of uptime after which an engine forgets its restart backoff.
LEAST_WATCH_S = 8.0
PROOF_S = 10.0
_LOOK_S = 0.5
_COLD_LOOK_S = 5.0


def break_and_measure(
    profile: Profile, request: FailureRequest, state_dir: Path, progress_file: Optional[Path] = None
) -> FailureResult:
    """Bring about one fault on one service, measure the recovery, and leave the platform as it was.

    :raises UnknownFailure, FaultNotPossible: it cannot be. :raises PlatformBusy: another run is at work.
    :raises LeftOpen: an earlier fault is not undone. :raises NotSteady: the platform is not well.
    :raises DeadlineExceeded: no run began that could be hit. :raises JournalError, WatchdogError: the undo is not safe.
    :raises K2Error: the fault could not be brought about; it is undone then, or the error says what is not. In all
        other cases nothing was broken.
    """
    mode, service = chosen(profile, request)
    fault = open_fault(profile, mode, service)
    if mode.action is not FaultAction.KILL_RUN:
        fault.check()  # what cannot be is told before anything is waited for
    directory = state_dir / profile.platform.name
    task = f"failure mode {mode.name} on {service.name}"
    with Progress(progress_file, task) as progress, PlatformLock(directory, request.run_id):
        journal = Journal(directory / "undo")
        earlier = undo_earlier(journal)
        about = f"{mode.name} on {service.name}, {request.run_id or 'without a run'}"
        with PlannedSilence(profile, journal, request.run_id, about, at_most_s(request, mode)) as silence:
            result = _Experiment(profile, request, mode, service, fault, journal, progress).run()
        return replace(
            result, undone_before=earlier, alerts=alerts_told(profile, _utc(result)), silence=silence.to_plain()
        )


def _utc(result: FailureResult) -> tuple[int, int]:
    """When the fault was injected, by UTC: watching began at one moment of both clocks."""
    assert result.injected is not None, "a result tells of a fault that was brought about"
    low_us, high_us = (
        result.started_us + (ns - result.baseline_start_ns) // 1000
        for ns in (result.injected.low_ns, result.injected.high_ns)
    )
    return low_us, high_us


class _Experiment:
    def __init__(
        self,
        profile: Profile,
        request: FailureRequest,
        mode: FailureMode,
        service: Service,
        fault: Fault,
        journal: Journal,
        progress: Progress,
    ) -> None:
        self._profile = profile
        self._request = request
        self._mode = mode
        self._service = service
        self._fault = fault
        self._journal = journal
        self._progress = progress
        self._held = mode.action in HELD
        self._cold: Optional[ColdWatch] = None
        if mode.recovery_at is RecoveryPoint.NEXT_RUN:
            # What is held down is the store or the worker: without either, no run can commit.
            self._cold = ColdWatch(profile, ColdOptions(ask_for_run=request.ask_for_run, nothing_commits=self._held))

    def run(self) -> FailureResult:
        clock = read_clock()
        with Watching(self._profile, self._mode, self._service, self._request.settle_s) as watching:
            self._tell("until all is steady")
            watching.wait_steady(self._request.steady_s, Deadline.after(self._request.steady_timeout_s))
            with Heard(self._profile, partial(runtime_of, self._profile)) as heard:
                guard, injected = self._begin(watching)
                seen = Seen(clock.utc_us, clock.monotonic_ns, injected)
                watching.note_fault(seen.injected)
                self._measure(watching, guard, seen)
                return self._end(watching, guard, seen, heard)

    # -- acts --------------------------------------------------------------------------------------------------------

    def _begin(self, watching: Watching) -> tuple[FaultGuard, Moment]:
        """Note how things stand, wait for a run where one is to be hit, and bring the fault about."""
        if self._cold is not None:
            self._cold.before()
        what = f"{self._mode.name} on {self._service.name}"
        guarded = partial(self._guarded, watching)
        if self._cold is None or self._mode.action is not FaultAction.KILL_RUN:
            return bring_about(self._fault, guarded, what, self._tell)
        deadline = Deadline.after(self._request.run_timeout_s)
        return hit_a_run(self._fault, guarded, what, self._tell, self._cold, deadline)

    def _guarded(self, watching: Watching) -> FaultGuard:
        watching.end_baseline()
        deadline = Deadline.after(at_most_s(self._request, self._mode))
        parameters = {"mode": self._mode.name, "service": self._service.name}
        return FaultGuard(self._journal, self._fault, self._request.run_id, parameters, deadline)

    def _measure(self, watching: Watching, guard: FaultGuard, seen: Seen) -> None:
        """From the proof to the return; what goes wrong is told in ``seen``."""
        try:
            seen.proof = self._fault.proof(PROOF_S)
            if self._held:
                self._hold(seen)
            self._heal(guard, seen)
            self._watch(watching, seen)
        except K2Error as error:
            seen.error = str(error)
        except Exception as error:  # noqa: BLE001 - the platform is broken just now: whatever it is, the undo comes first
            seen.error = f"{type(error).__name__}: {error}"

    def _hold(self, seen: Seen) -> None:
        """Until the fault has lasted as long as it is to."""
        until_ns = seen.injected.high_ns + int(self._mode.duration_s * NS_PER_S)
        # Not at once: a run that had committed when the fault came may still be about to say so.
        look_ns = seen.injected.high_ns + int(_COLD_LOOK_S * NS_PER_S)
        while (left_s := (until_ns - monotonic_ns()) / NS_PER_S) > 0:
            self._tell(f"held, {left_s:.0f} s left")
            if self._cold is not None and monotonic_ns() >= look_ns:
                self._cold.during()
                look_ns = monotonic_ns() + int(_COLD_LOOK_S * NS_PER_S)
            time.sleep(max(0.0, min(_LOOK_S, (until_ns - monotonic_ns()) / NS_PER_S)))

    def _heal(self, guard: FaultGuard, seen: Seen) -> None:
        try:
            seen.healed = self._fault.heal()
        except FaultEndedEarly as error:
            seen.problems.append(str(error))
        if self._held:
            guard.healed()
        seen.undone = True

    def _watch(self, watching: Watching, seen: Seen) -> None:
        """Until the platform is back by the mode's own measure, or its time is over."""
        zero = zero_of(self._mode, seen)
        least = Deadline.after(LEAST_WATCH_S)
        deadline = Deadline.after(self._request.watch_of(self._mode))
        self._tell("until it is back")
        recovery = watching.wait_back(zero, seen.injected, deadline, short=not self._held)
        if self._mode.recovery_at is RecoveryPoint.DRAINED:
            self._tell("until its backlog is drained")
            seen.drained, seen.t3 = watching.wait_drained(zero, seen.injected, recovery, deadline)
        if self._cold is not None:
            self._tell("until the next run has caught up")
            seen.cold = self._cold.observe(deadline, zero.low_ns)
        time.sleep(least.remaining())
        # What failed late has to come back, too.
        watching.wait_back(zero, seen.injected, deadline, short=False)
        seen.mechanism = self._mechanism(seen)

    def _mechanism(self, seen: Seen) -> Optional[str]:
        try:
            found = self._fault.mechanism()
        except K2Error as error:
            seen.problems.append(f"what brought it back cannot be told: {error}")
            return None
        return None if found is None else found.value

    def _end(self, watching: Watching, guard: FaultGuard, seen: Seen, heard: Heard) -> FailureResult:
        """Put back what is not as it was, and tell everything."""
        self._tell("until all is as it was")
        seen.differences = guard.look_back(Deadline.after(RESTORED_S))
        if seen.error is not None or not seen.undone or seen.differences:
            failed = guard.undo()
            # What is told is what the fault itself left. The entry stays open as long as anything of it is there.
            left = guard.look_back(Deadline.after(RESTORED_S)) if seen.differences else ()
            seen.undone = not failed and not left
            if not seen.undone:
                # What cannot be undone is no doubt about what was seen: it did not come back.
                seen.differences = (*seen.differences, f"not undone: {'; '.join([*failed, *left])}")
        not_well = watching.steady(Deadline.after(STEADY_AFTER_S))
        seen.steady_after = not not_well
        undone_by, problem = guard.end(undone=seen.undone)
        if problem and seen.undone:
            seen.problems.append(problem)
        elif problem:
            seen.differences = (*seen.differences, problem)
        watching.stop()
        seen.events = heard.to_plain()
        return result_of(self._mode, self._service, self._fault.plan, watching, seen, undone_by)

    def _tell(self, doing: str) -> None:
        self._progress.update(message=doing)
