# SPDX-License-Identifier: Apache-2.0
"""Faults that nothing mends by itself, for as long as a person tries to: what would do so is held back.

A supervisor is told to leave a program down, an engine's restart policy is taken off, a schedule is paused. Each is in
the journal before it is done, beside the fault itself, and undone with it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Optional

from ...core.errors import K2Error
from ...platform.runtime.base import Runtime, State
from ...profile.model import FailureMode, FaultAction, Profile, RuntimeKind, Service
from .base import Fault, FaultNotPossible, FaultPlan, Mechanism, Moment, Proof, Step, bracket, prove
from .factory import fault_for
from .processes import Kill
from .run import KillRun
from .unit import Process, reach

# What is down, or is starting again by itself, when it should have been left down.
_UP = (State.RUNNING, State.STARTING, State.RESTARTING)


def held_fault(profile: Profile, mode: FailureMode, service: Service, runtime: Runtime, hold_s: float) -> Fault:
    """The fault of ``mode`` on ``service``, to last up to ``hold_s`` unless somebody mends it.

    A restart that is held is one that did not come to its end: the service stays down.

    :raises FaultNotPossible: as ``fault_for``.
    """
    action = FaultAction.STOP if mode.action is FaultAction.RESTART else mode.action
    held = replace(mode, action=action, duration_s=hold_s)
    usual = fault_for(profile, held, service, runtime)
    if action is FaultAction.KILL:
        return HeldKill(profile, held, service, runtime)
    if action is FaultAction.KILL_RUN:
        return HeldKillRun(profile, held, service, runtime)
    return usual


class HeldKill(Kill):
    """The main process is killed, and whoever watches the unit leaves it down."""

    def __init__(self, profile: Profile, mode: FailureMode, service: Service, runtime: Runtime) -> None:
        super().__init__(profile, mode, service, runtime)
        self._policy: Optional[str] = None
        self.plan = FaultPlan(
            action=f"SIGKILL to the main process of {service.unit}, which is not started again",
            target=service.name,
            blast_radius=reach(profile, service),
            undo=f"what starts it again may do so as before; {runtime.start_command(service.unit)}",
            needs_root=runtime.kind is RuntimeKind.DOCKER,
            expected_mechanism=Mechanism.RESTARTED_BY_TOOL,
        )

    def _check(self, process: Process) -> None:
        super()._check(process)
        self._policy = self.runtime.hold_state(self.unit)

    def undo_steps(self) -> tuple[Step, ...]:
        """See ``Fault``: what starts it first, then the unit."""
        return (*self.steps.let_restart(self.unit, self._policy), *super().undo_steps())

    def inject(self) -> Moment:
        """See ``Fault``."""
        return bracket(lambda: self.runtime.kill_and_hold(self.unit))

    def _differences(self) -> tuple[str, ...]:
        now = self.runtime.hold_state(self.unit)
        return () if now == self._policy else (f"what starts {self.service.name} again is {now}, was {self._policy}",)

    def proof(self, timeout_s: float) -> Proof:
        """See ``Fault``: gone, and nothing in its place."""
        return prove(self._left_down, timeout_s)

    def _left_down(self) -> Proof:
        victim, status = self.before.process, self.runtime.status(self.unit)
        if victim.alive:
            return Proof(False, f"{victim} still runs")
        return Proof(status.pid is None and status.state not in _UP, f"{victim} is gone, its unit {status.state.value}")


class HeldKillRun(KillRun):
    """The run at work is killed, and the schedule makes no other."""

    def __init__(self, profile: Profile, mode: FailureMode, service: Service, runtime: Runtime) -> None:
        super().__init__(profile, mode, service, runtime)
        section = profile.orchestrator
        if self._orchestrator is None or section is None or not section.deployments:
            raise FaultNotPossible(
                f"no schedule of {service.name} can be held back",
                expected="k2_orchestrator with a deployment",
                seen="none",
            )
        self._url = section.url.rstrip("/")
        self._runs = self._orchestrator
        self._name = section.deployments[0].name
        self._deployment = ""
        self.plan = replace(
            self.plan,
            action=f"{self.plan.action}, and pause the schedule {self._name}",
            undo=f"let the schedule go on; {self.plan.undo}",
        )

    def check(self) -> None:
        """See ``Fault``."""
        found = self._runs.deployment(self._name)
        if found.paused:
            raise FaultNotPossible(
                f"the schedule {self._name} is paused already",
                expected="one that makes runs",
                seen="paused",
                action="see who paused it, and why",
            )
        self._deployment = found.id
        super().check()

    def undo_steps(self) -> tuple[Step, ...]:
        """See ``Fault``."""
        url = f"{self._url}/deployments/{self._deployment}"
        go_on: Step = {
            "op": "http",
            "method": "PATCH",
            "url": url,
            "body": json.dumps({"paused": False}),
            "ok": [200, 204],
            "verify": {"op": "http", "method": "GET", "url": url, "ok": [200], "holds": {"paused": False}},
        }
        return (go_on, *super().undo_steps())

    def inject(self) -> Moment:
        """See ``Fault``. The schedule first: a run that it makes at once would mend all."""
        self._runs.pause(self._deployment)
        return super().inject()

    def _differences(self) -> tuple[str, ...]:
        try:
            paused = self._runs.deployment(self._name).paused
        except K2Error as error:
            return (f"it cannot be told whether the schedule {self._name} goes on: {error}",)
        return (*super()._differences(), *((f"the schedule {self._name} is paused",) if paused else ()))
