# SPDX-License-Identifier: Apache-2.0
"""Faults on the processes of a service: crash, orderly restart, stop, and pause."""

from __future__ import annotations

from typing import Optional

from ...core.clock import monotonic_ns
from ...core.errors import K2Error
from ...platform.procfs import is_stopped, process_tree
from ...platform.runtime.base import Runtime, RuntimeFailure, State
from ...profile.model import FailureMode, Profile, RuntimeKind, Service
from .base import FaultEndedEarly, FaultNotPossible, FaultPlan, Mechanism, Moment, Proof, Step, bracket, prove
from .unit import Process, UnitFault, reach, started

# A program may be up, as its runtime sees it, and yet on its way back to being stopped: both are not stopped.
_UP = (State.RUNNING, State.STARTING, State.RESTARTING, State.PAUSED)


class Kill(UnitFault):
    """The main process is killed as a crash would; whoever watches the unit has to start it again."""

    def __init__(self, profile: Profile, mode: FailureMode, service: Service, runtime: Runtime) -> None:
        super().__init__(profile, mode, service, runtime)
        self.plan = FaultPlan(
            action=f"SIGKILL from the host to the main process of {service.unit}",
            target=service.name,
            blast_radius=reach(profile, service),
            undo=f"none is needed: its supervisor starts it; else {runtime.start_command(service.unit)}",
            needs_root=runtime.kind is RuntimeKind.DOCKER,
            expected_mechanism=Mechanism.RESTARTED_BY_SUPERVISOR,
        )

    def _check(self, process: Process) -> None:
        policy = self.runtime.restart_policy(self.unit)
        if not self.service.restart_expected or policy.after_crash is False:
            raise FaultNotPossible(
                f"nothing would start {self.service.name} again after a crash",
                expected="a service whose supervisor restarts it",
                seen=f"restart policy {policy.text}"
                if self.service.restart_expected
                else "restart_expected: false in its profile",
                action="give the unit a restart policy, or use action: stop or restart",
            )
        self._require_signal(process)

    def inject(self) -> Moment:
        """See ``Fault``."""
        return bracket(self._kill)

    def _kill(self) -> None:
        killed = self.runtime.kill(self.unit)
        if killed != self.before.process.pid:
            raise RuntimeFailure(
                f"{self.service.name} was restarted by something else just before it was killed",
                expected=f"{self.before.process}",
                seen=f"process {killed}",
                action="look at its log, and begin again when it runs steadily",
            )

    def proof(self, timeout_s: float) -> Proof:
        """See ``Fault``."""
        return prove(self._gone, timeout_s)

    def _gone(self) -> Proof:
        victim = self.before.process
        if victim.alive:
            return Proof(False, f"{victim} still runs")
        return Proof(True, f"{victim} is gone{self._successor(victim)}")

    def _successor(self, victim: Process) -> str:
        """What took its place; a runtime that does not answer makes the victim no less dead."""
        try:
            now = Process.of(self.runtime.status(self.unit).pid)
        except K2Error as error:
            return f"; what took its place is not known: {error}"
        # A runtime that has not noticed yet still names the victim.
        return f", {now} took its place" if now is not None and now != victim and now.alive else ""


class Restart(UnitFault):
    """Stopped and started in order, as an operator would."""

    def __init__(self, profile: Profile, mode: FailureMode, service: Service, runtime: Runtime) -> None:
        super().__init__(profile, mode, service, runtime)
        self._trouble = ""
        self.plan = FaultPlan(
            action=f"stop {service.unit} in order and start it at once",
            target=service.name,
            blast_radius=reach(profile, service),
            undo=runtime.start_command(service.unit),
            needs_root=False,
            expected_mechanism=Mechanism.RESTARTED_BY_TOOL,
        )

    def inject(self) -> Moment:
        """See ``Fault``. The moment is that of the stop: the start is already part of the recovery."""
        moment = bracket(self._stop)
        try:
            self._start()
        except K2Error as error:
            # That it does not come up again is what there is to be learnt, and no trouble of the tool's.
            self._trouble = f"; it did not start: {error}"
        return moment

    def proof(self, timeout_s: float) -> Proof:
        """See ``Fault``."""
        return prove(self._replaced, timeout_s)

    def _replaced(self) -> Proof:
        was = self.before.process
        if was.alive:
            return Proof(False, f"{was} still runs")
        now = Process.of(self.runtime.status(self.unit).pid)
        return Proof(True, f"{was} is gone, {now or 'no process'} took its place{self._trouble}")


class Stop(UnitFault):
    """Stopped in order, and left so until it is healed."""

    def __init__(self, profile: Profile, mode: FailureMode, service: Service, runtime: Runtime) -> None:
        super().__init__(profile, mode, service, runtime)
        self.plan = FaultPlan(
            action=f"stop {service.unit} in order for {mode.duration_s:g} s",
            target=service.name,
            blast_radius=reach(profile, service),
            undo=runtime.start_command(service.unit),
            needs_root=False,
            expected_mechanism=Mechanism.RESTARTED_BY_TOOL,
        )

    def inject(self) -> Moment:
        """See ``Fault``."""
        return bracket(self._stop)

    def proof(self, timeout_s: float) -> Proof:
        """See ``Fault``."""
        return prove(self._down, timeout_s)

    def _down(self) -> Proof:
        was, status = self.before.process, self.runtime.status(self.unit)
        down = not was.alive and status.pid is None and status.state not in _UP
        gone = "still runs" if was.alive else "is gone"
        return Proof(down, f"{was} {gone}, its unit is {status.state.value}")

    def heal(self) -> Optional[Moment]:
        """See ``Fault``."""
        status = self.runtime.status(self.unit)
        low_ns = monotonic_ns()
        try:
            process = self._start()
        except K2Error:
            # It was asked to start, which is the end of the fault; that it does not is seen by whoever watches it.
            process = None
        moment = started(low_ns, monotonic_ns(), process)
        if status.state in _UP:
            self._started_by_tool = None
            raise _early(f"{self.service.name} was started by something else", "stopped", status.state)
        return moment


class Pause(UnitFault):
    """Its processes stand still, and hold their connections, until it is healed."""

    def __init__(self, profile: Profile, mode: FailureMode, service: Service, runtime: Runtime) -> None:
        super().__init__(profile, mode, service, runtime)
        self.plan = FaultPlan(
            action=f"freeze the processes of {service.unit} for {mode.duration_s:g} s; they hold their connections",
            target=service.name,
            blast_radius=reach(profile, service),
            undo="let them go on",
            needs_root=False,
            expected_mechanism=Mechanism.HEALED_ITSELF,
        )

    def _check(self, process: Process) -> None:
        if self.runtime.kind is not RuntimeKind.DOCKER:  # the engine does it by itself
            self._require_signal(process)

    def undo_steps(self) -> tuple[Step, ...]:
        """See ``Fault``."""
        return (*self.steps.resume(self.unit, self.before.process.pid), *super().undo_steps())

    def inject(self) -> Moment:
        """See ``Fault``."""
        return bracket(lambda: self.runtime.pause(self.unit))

    def proof(self, timeout_s: float) -> Proof:
        """See ``Fault``."""
        return prove(self._still, timeout_s)

    def _still(self) -> Proof:
        was, state = self.before.process, self.runtime.status(self.unit).state
        return Proof(state is State.PAUSED and was.alive, f"the unit of {was} is {state.value}")

    def heal(self) -> Optional[Moment]:
        """See ``Fault``."""
        state = self.runtime.status(self.unit).state
        moment = bracket(lambda: self.runtime.resume(self.unit))
        if state is not State.PAUSED or not self.before.process.alive:
            raise _early(f"{self.service.name} did not stand still to the end", "paused", state)
        return moment

    def _differences(self) -> tuple[str, ...]:
        pid = self.runtime.status(self.unit).pid
        still = [str(each.pid) for each in process_tree(pid or 0) if is_stopped(each)]
        return (f"processes of {self.service.name} still stand still: {', '.join(still)}",) if still else ()


def _early(what: str, expected: str, seen: State) -> FaultEndedEarly:
    return FaultEndedEarly(
        what + " before the fault was over",
        expected=f"state {expected}",
        seen=f"state {seen.value}",
        action="nothing is left of the fault; find who acted (a watchdog, a person), and begin again",
    )
