# SPDX-License-Identifier: Apache-2.0
"""A job is killed in the middle: the process tree of the run that a worker has under way, and not the worker.

In the middle is what the orchestrator calls RUNNING while the tree stands still: a process that tidies up after a run
that is told COMPLETED already can be killed without anything being lost or seen.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import Optional

from ...core.clock import Deadline
from ...platform.prefect_runs import RUNNING, PrefectRuns
from ...platform.procfs import WRAPPERS, ProcessStat, command_of, environment, is_stopped, process_tree
from ...platform.runtime.base import NotRunning, Runtime, send_signal
from ...profile.model import FailureMode, Profile, RuntimeKind, Service
from .base import FaultNotPossible, FaultPlan, Mechanism, Moment, Proof, RunOver, Step, bracket, prove
from .steps_of import go_on
from .unit import Process, UnitFault

_FREEZE_S = 2.0
# What a run had sent before it was stopped has reached the orchestrator by then.
_UNDER_WAY_S = 0.2
# Where Prefect's runner says in a run's environment which run it is (runner/_starter_engine.py).
_RUN_ID = "PREFECT__FLOW_RUN_ID"


class KillRun(UnitFault):
    """The newest child of a worker is killed with all its descendants, so that it can put nothing in order."""

    def __init__(self, profile: Profile, mode: FailureMode, service: Service, runtime: Runtime) -> None:
        super().__init__(profile, mode, service, runtime)
        self._victim: Optional[Process] = None
        self._tree: tuple[Process, ...] = ()
        self._orchestrator = None if profile.orchestrator is None else PrefectRuns(profile.orchestrator.url)
        self._told = ""
        self.plan = FaultPlan(
            action=f"SIGKILL to the processes of the run that {service.unit} has under way",
            target=service.name,
            blast_radius=f"that run; {service.name} itself and other services go on",
            undo=f"none is needed: the next run does its work; else {runtime.start_command(service.unit)}",
            needs_root=runtime.kind is RuntimeKind.DOCKER,
            expected_mechanism=Mechanism.HEALED_ITSELF,
        )

    def _check(self, process: Process) -> None:
        self._require_signal(process)
        if _run_of(process.pid) is None:
            raise FaultNotPossible(
                f"{self.service.name} has no run under way",
                expected="a child process of the worker",
                seen="none",
                action="wait until the orchestrator has started a run",
            )

    def undo_steps(self) -> tuple[Step, ...]:
        """See ``Fault``: the worker may be gone with its run, and the run may stand still half killed."""
        run = _run_of(self.before.process.pid)
        return (*(go_on(run.pid) if run is not None else ()), *super().undo_steps())

    def inject(self) -> Moment:
        """See ``Fault``. The run is looked for again: the one of ``check`` may have ended.

        :raises RunOver: it has. Nothing was killed.
        """
        run = _run_of(self.before.process.pid)
        if run is None:
            raise self._over("a child process of the worker", "none")
        self._victim = run
        return bracket(lambda: self._kill(run))

    def _kill(self, run: Process) -> None:
        # Stopped first: else a child that is born between the look and the kill would go on alone.
        deadline = Deadline.after(_FREEZE_S)
        while not deadline.passed:
            moving = [each for each in _living(run.pid) if not is_stopped(each)]
            if not moving:
                break
            for each in moving:
                _send(each.pid, signal.SIGSTOP)
        tree = tuple(Process(each.pid, each.start_ticks) for each in _living(run.pid))
        try:
            self._told = self._at_work(tree)
        except BaseException:
            for process in reversed(tree):
                _send(process.pid, signal.SIGCONT)
            raise
        self._tree = tree
        for process in tree:
            _send(process.pid, signal.SIGKILL)

    def _at_work(self, tree: Sequence[Process]) -> str:
        """What the orchestrator says of the run that stands still; empty where it cannot be asked which that is."""
        run_id = next((found for each in tree if (found := environment(each.pid).get(_RUN_ID))), None)
        if self._orchestrator is None or run_id is None:
            return ""
        time.sleep(_UNDER_WAY_S)
        state = self._orchestrator.run(run_id).state
        if state != RUNNING:
            raise self._over(f"{RUNNING}, by the orchestrator", state)
        return f" (flow run {run_id}, {state} until then)"

    def _over(self, expected: str, seen: str) -> RunOver:
        return RunOver(
            f"the run of {self.service.name} ended before it was killed",
            expected=expected,
            seen=seen,
            action="begin again with the next run",
        )

    def proof(self, timeout_s: float) -> Proof:
        """See ``Fault``."""
        return prove(self._gone, timeout_s)

    def _gone(self) -> Proof:
        if self._victim is None or not self._tree:
            return Proof(False, "no process of a run was killed")
        left = [str(each) for each in self._tree if each.alive]
        if left:
            return Proof(False, f"{', '.join(left)} of the run still runs")
        return Proof(
            True, f"the run's {self._victim} is gone{self._told}, and {len(self._tree) - 1} that it had started"
        )

    def _differences(self) -> tuple[str, ...]:
        left = [str(each) for each in self._tree if each.alive]
        return (f"of the killed run there is still {', '.join(left)}",) if left else ()


def _run_of(worker: int) -> Optional[Process]:
    """The newest child of the worker behind ``worker``, which may be no more than its wrapper."""
    tree = process_tree(worker)
    parent = worker
    while True:
        children = [each for each in tree if each.parent == parent and not each.ended]
        if not children:
            return None
        newest = max(children, key=lambda each: each.start_ticks)
        if command_of(parent) not in WRAPPERS or len(children) > 1:
            return Process(newest.pid, newest.start_ticks)
        parent = newest.pid


def _living(root: int) -> list[ProcessStat]:
    return [each for each in process_tree(root) if not each.ended]


def _send(pid: int, number: signal.Signals) -> None:
    """Signal a process of the run; one that ended needs none."""
    try:
        send_signal(pid, number)
    except NotRunning:
        return
