# SPDX-License-Identifier: Apache-2.0
"""Waiting for a flow run of the offload to be at work, so that a fault can hit it in the middle."""

from __future__ import annotations

import time
from typing import Optional, Protocol

from ...core.clock import Deadline
from ...core.errors import DeadlineExceeded, K2Error
from ...platform.prefect import Deployment
from ...platform.prefect_runs import RUNNING, FlowRun

POLL_S = 0.2


class Runs(Protocol):
    """What asks the orchestrator; platform.prefect_runs.PrefectRuns does it."""

    def deployment(self, name: str) -> Deployment:
        """A deployment by name; raises PrefectError."""

    def under_way(self, deployment_id: str) -> tuple[FlowRun, ...]:
        """Runs that have not ended; raises PrefectError."""

    def since(self, deployment_id: str, since_us: int) -> tuple[FlowRun, ...]:
        """Runs that began since; raises PrefectError."""

    def ask_for_run(self, deployment_id: str) -> FlowRun:
        """A run due now; raises PrefectError."""


def await_running(runs: Runs, deployment_id: str, deadline: Deadline, *, ask: bool = False) -> FlowRun:
    """A run that is RUNNING: one that is now, or the next to begin.

    A run that was RUNNING at the first look may be about to end: the caller's fault has its own proof. With ``ask``, a
    run is asked for when none is under way.

    :raises DeadlineExceeded: none began in time. :raises PrefectError: the orchestrator could not be asked at all.
    """
    asked: Optional[str] = None
    error: Optional[K2Error] = None
    looked = False
    while True:
        try:
            found = runs.under_way(deployment_id)
            looked = True
            running = [run for run in found if run.state == RUNNING]
            if running:
                return running[0]
            if ask and asked is None and not found:
                asked = runs.ask_for_run(deployment_id).id
        except K2Error as refusal:
            error = refusal
        if deadline.passed:
            break
        time.sleep(min(POLL_S, deadline.remaining()))
    if not looked and error is not None:
        raise error
    raise DeadlineExceeded(
        "no run of the offload began in time",
        expected="a flow run in state RUNNING",
        seen=f"none{f', though run {asked} was asked for' if asked else ''}{f'; last error: {error}' if error else ''}",
        action="wait longer than the schedule's interval, let a run be asked for, or see why the worker takes none",
    )
