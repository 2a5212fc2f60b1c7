# SPDX-License-Identifier: Apache-2.0
"""One trial of a runbook: the platform is well, the failure is brought about and held, the page's own commands are run.

First the diagnosis on the healthy platform, where it must not show the symptom; then the fault, which has to be proven;
then the diagnosis, which must, and the resolution, after which everything has to be well again without any doing of
this tool. What it cannot mend the journal's undo does, as for every fault; that is no success of the runbook.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Optional

from ...core.clock import NS_PER_S, Deadline, monotonic_ns, read_clock
from ...core.errors import K2Error
from ...core.progress import Progress
from ...core.suggest import did_you_mean
from ...fault.inject.base import Fault, Moment, Proof
from ...fault.inject.held import held_fault
from ...fault.journal import Journal
from ...fault.lock import PlatformLock
from ...platform.runtime.factory import runtime_of
from ...profile.model import FailureMode, FaultAction, Profile, RecoveryPoint, Service
from ...profile.runbooks import runbook_modes
from ..failure.begin import bring_about, hit_a_run
from ..failure.guard import WATCHDOG, FaultGuard, undo_earlier
from ..failure.request import UnknownFailure
from ..failure.watching import Watching
from ..recovery.cold import ColdOptions, ColdWatch
from ..watermarks import read_watermarks
from .page import Page, Step
from .shell import Shell, StepResult

STEADY_S = 2.0
# How long a symptom may show by chance on a healthy platform.
PATIENCE_S = 6.0
PROOF_S = 10.0
# How long all may take to be well once the last command has said that it is.
STEADY_AFTER_S = 60.0
COLD_S = 90.0
RESTORED_S = 15.0
# Beyond the fault's time the watchdog undoes it: the tool's own end must come first.
_MARGIN_S = 240.0
_POLL_S = 1.0
# Who ended the fault, beside the tool and its watchdog.
RUNBOOK = "runbook"


@dataclass(frozen=True)
class TrialRequest:
    """Which runbook, on which service of its own (the first by default), and how long the fault may last."""

    mode: str
    service: Optional[str] = None
    run_id: str = ""
    steady_timeout_s: float = 60.0
    limit_s: float = 240.0
    run_timeout_s: float = 120.0


@dataclass
class Trial:
    """What came of it. ``recovered_s`` bounds the time from the fault until all was well by the runbook alone."""

    mode: str
    service: str
    action: str
    proof: Optional[Proof] = None
    healthy: list[StepResult] = field(default_factory=list)
    diagnosis: list[StepResult] = field(default_factory=list)
    resolution: list[StepResult] = field(default_factory=list)
    steady: bool = False
    not_steady: str = ""
    elsewhere: str = ""
    recovered_s: Optional[tuple[float, float]] = None
    diagnosed_s: Optional[float] = None
    resolved_s: Optional[float] = None
    undone_by: Optional[str] = None
    left: tuple[str, ...] = ()
    undone_before: tuple[str, ...] = ()
    started_us: int = 0
    error: Optional[str] = None

    def to_plain(self) -> dict[str, Any]:
        """As data."""
        return asdict(self)


def chosen(profile: Profile, request: TrialRequest) -> tuple[FailureMode, Service]:
    """The mode of the runbook and the service to break.

    :raises UnknownFailure: there is none.
    """
    modes = {mode.name: mode for mode in runbook_modes(profile)}
    mode = modes.get(request.mode)
    if mode is None:
        raise UnknownFailure(
            f"there is no runbook {request.mode!r}",
            expected="one of k2_failure_modes, or a runbook that every platform has",
            seen=request.mode,
            action=did_you_mean(request.mode, modes),
        )
    if mode.not_applicable is not None:
        raise UnknownFailure(f"{mode.name} cannot be brought about here", seen=mode.not_applicable)
    name = mode.services[0] if request.service is None else request.service
    if name not in mode.services:
        raise UnknownFailure(
            f"{mode.name} is not about {name}",
            expected="one of " + ", ".join(mode.services),
            seen=name,
            action=did_you_mean(name, mode.services),
        )
    return mode, profile.services[name]


def plan(profile: Profile, request: TrialRequest, page: Page) -> dict[str, Any]:
    """What would be done, as data: the fault and every command. Looks at the unit, touches nothing."""
    mode, service = chosen(profile, request)
    fault = held_fault(profile, mode, service, runtime_of(profile, service), request.limit_s)
    obstacle: Optional[str] = None
    try:
        fault.check()
    except K2Error as error:
        obstacle = str(error)
    return {
        "mode": mode.name,
        "service": service.name,
        **fault.plan.as_dict(),
        "diagnosis": [step.command for step in page.diagnosis],
        "resolution": [step.command for step in page.resolution],
        "at_most_s": request.steady_timeout_s + request.limit_s + _MARGIN_S,
        "obstacle": obstacle,
    }


def try_runbook(
    profile: Profile, request: TrialRequest, page: Page, state_dir: Path, progress_file: Optional[Path] = None
) -> Trial:
    """Bring the failure about, follow the page, and leave the platform as it was.

    :raises UnknownFailure, FaultNotPossible: it cannot be. :raises PlatformBusy: another run is at work.
    :raises LeftOpen: an earlier fault is not undone. :raises NotSteady: the platform is not well.
    :raises DeadlineExceeded: no run began that could be hit. :raises JournalError, WatchdogError: the undo is not safe.
    :raises K2Error: the fault could not be brought about. In all these cases nothing is left broken.
    """
    mode, service = chosen(profile, request)
    fault = held_fault(profile, mode, service, runtime_of(profile, service), request.limit_s)
    directory = state_dir / profile.platform.name
    with Progress(progress_file, f"runbook {mode.name}") as progress, PlatformLock(directory, request.run_id):
        journal = Journal(directory / "undo")
        earlier = undo_earlier(journal)
        trial = _Run(profile, request, mode, service, fault, page, journal, progress).run()
        trial.undone_before = earlier
        return trial


class _Run:
    def __init__(
        self,
        profile: Profile,
        request: TrialRequest,
        mode: FailureMode,
        service: Service,
        fault: Fault,
        page: Page,
        journal: Journal,
        progress: Progress,
    ) -> None:
        self._profile = profile
        self._request = request
        self._mode = mode
        self._fault = fault
        self._page = page
        self._journal = journal
        self._progress = progress
        self._shell = Shell(page.prepare)
        self._cold = mode.recovery_at is RecoveryPoint.NEXT_RUN and profile.watermarks is not None
        self._trial = Trial(mode.name, service.name, fault.plan.action, started_us=read_clock().utc_us)
        self._service = service
        self._before: Optional[dict[str, Optional[float]]] = None

    def run(self) -> Trial:
        trial = self._trial
        with Watching(self._profile, self._mode, self._service, STEADY_S) as watching:
            self._tell("until all is steady")
            watching.wait_steady(STEADY_S, Deadline.after(self._request.steady_timeout_s))
            self._tell("its diagnosis on the healthy platform")
            trial.healthy = [self._shell.check_healthy(step, PATIENCE_S) for step in self._page.diagnosis]
            guard, injected = self._begin(watching)
            try:
                self._follow(watching, injected)
            except K2Error as error:
                trial.error = str(error)
            except Exception as error:  # noqa: BLE001 - the platform is broken just now: whatever it is, the undo comes first
                trial.error = f"{type(error).__name__}: {error}"
            return self._end(guard)

    def _begin(self, watching: Watching) -> tuple[FaultGuard, Moment]:
        what = f"{self._mode.name} on {self._service.name}"
        guarded = partial(self._guarded, watching)
        if self._mode.action is not FaultAction.KILL_RUN:
            return bring_about(self._fault, guarded, what, self._tell)
        cold = ColdWatch(self._profile, ColdOptions(ask_for_run=True))
        cold.before()
        return hit_a_run(self._fault, guarded, what, self._tell, cold, Deadline.after(self._request.run_timeout_s))

    def _guarded(self, watching: Watching) -> FaultGuard:
        """All is ready, and how things stand is noted: right before the fault, whatever was waited for."""
        watching.end_baseline()
        self._before = self._marks()
        deadline = Deadline.after(self._request.limit_s + _MARGIN_S)
        parameters = {"runbook": self._mode.name, "service": self._service.name}
        return FaultGuard(self._journal, self._fault, self._request.run_id, parameters, deadline)

    def _follow(self, watching: Watching, injected: Moment) -> None:
        trial = self._trial
        limit = Deadline.after(self._request.limit_s)
        trial.proof = self._fault.proof(PROOF_S)
        if not trial.proof.proven:
            return
        began = monotonic_ns()
        trial.diagnosis = self._steps("diagnosis", self._page.diagnosis, limit)
        trial.diagnosed_s = _seconds(began, monotonic_ns())
        began = monotonic_ns()
        trial.resolution = self._steps("resolution", self._page.resolution, limit, stop=True)
        trial.resolved_s = _seconds(began, monotonic_ns())
        if not all(step.ok for step in trial.resolution):
            trial.not_steady = "its resolution was not followed to the end"
            return
        mended = monotonic_ns()
        self._tell("until all is well")
        not_back = watching.not_back(injected, Deadline.after(STEADY_AFTER_S))
        trial.not_steady = ", ".join(not_back) or self._cold_behind()
        trial.steady = not trial.not_steady
        if trial.steady:
            trial.recovered_s = (_seconds(injected.high_ns, mended), _seconds(injected.low_ns, monotonic_ns()))
            # What lies beyond the fault's reach is not the runbook's to mend, and leaves a doubt about what was seen.
            trial.elsewhere = watching.steady(Deadline.after(STEADY_AFTER_S))

    def _steps(self, what: str, steps: Sequence[Step], limit: Deadline, *, stop: bool = False) -> list[StepResult]:
        done = []
        for step in steps:
            self._tell(f"{what}: {step.title}")
            done.append(self._shell.check(step))
            if limit.passed or (stop and not done[-1].ok):
                break
        return done

    def _marks(self) -> Optional[dict[str, Optional[float]]]:
        section = self._profile.watermarks
        if not self._cold or section is None:
            return None
        rows = read_watermarks(section).rows
        return {name: rows.get(name) for name in section.sources or rows}

    def _cold_behind(self) -> str:
        """Empty once every watermark lies beyond where it was before the fault, else which does not."""
        before = self._before
        if before is None:
            return ""
        deadline = Deadline.after(COLD_S)
        while True:
            try:
                now = self._marks() or {}
                behind = [name for name, mark in before.items() if (now.get(name) or 0.0) <= (mark or 0.0)]
            except K2Error as error:
                behind = [f"unknown: {error}"]
            if not behind:
                return ""
            if deadline.passed:
                return "watermarks did not move: " + ", ".join(behind)
            time.sleep(min(_POLL_S, deadline.remaining()))

    def _end(self, guard: FaultGuard) -> Trial:
        """Undo what the runbook did not, and what held self-healing back; the first is told."""
        trial = self._trial
        self._tell("until all is as it was")
        if trial.steady:
            guard.healed()
        failed = guard.undo()
        trial.left = (*failed, *guard.look_back(Deadline.after(RESTORED_S)))
        undone_by, problem = guard.end(undone=not trial.left)
        trial.undone_by = RUNBOOK if trial.steady and undone_by != WATCHDOG else undone_by
        if problem:
            trial.left = (*trial.left, problem)
        return trial

    def _tell(self, doing: str) -> None:
        self._progress.update(message=doing)


def _seconds(since_ns: int, until_ns: int) -> float:
    return (until_ns - since_ns) / NS_PER_S
