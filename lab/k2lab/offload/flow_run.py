# SPDX-License-Identifier: Apache-2.0
"""What the worker starts for one flow run, ahead of Prefect's own engine: python -m k2lab.offload.flow_run --pool NAME.

Prefect keeps states in its database and runs in processes, and a kill -9 leaves the two apart. Before the engine is
loaded, which takes two CPU-seconds, this puts right what such a kill left behind: it rests on the worker running one
flow run at a time, and on there being one worker.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime as dt
import logging
import os
import runpy
import signal
import sys
from dataclasses import dataclass

from k2lab.common.errors import LabError, run_program
from k2lab.offload.names import SKIPPED
from k2lab.offload.prefect_api import AT_WORK, FlowRun, PrefectApi, RunState

# Prefect sets up logging; before that, warnings go to stderr, which is the worker's log.
log = logging.getLogger("k2lab.offload.flow_run")

_PR_SET_PDEATHSIG = 1
_INIT = 1


@dataclass(frozen=True)
class Cleanup:
    """What to do about other runs of the pool before this one begins."""

    dead: tuple[FlowRun, ...]
    skipped: tuple[FlowRun, ...]
    covered_by: FlowRun | None


def plan_cleanup(own_id: str, deployment_id: str, due: list[FlowRun]) -> Cleanup:
    """Sort out the runs of the pool that are due and have not ended; `due` has those due last first.

    A run at work that is not this one has no process any more. Of the runs that piled up while nobody took them, one
    does the work of all: the last; when there is one, this run and those before it are skipped.
    """
    dead = tuple(run for run in due if run.state in AT_WORK and run.id != own_id)
    waiting = [run for run in due if run.state is RunState.SCHEDULED and run.deployment_id == deployment_id]
    return Cleanup(dead, tuple(waiting[1:]), waiting[0] if waiting else None)


def clean_up(api: PrefectApi, pool: str, own_id: str, deployment_id: str) -> bool:
    """Mark dead runs as crashed and overdue ones as skipped; True when this run is to go on.

    Raises LabError when Prefect's server cannot be asked.
    """
    now = dt.datetime.now(dt.UTC)
    found = api.runs(states=(*AT_WORK, RunState.SCHEDULED), pool=pool, due_before=now)
    cleanup = plan_cleanup(own_id, deployment_id, found)
    for run in cleanup.dead:
        log.warning("run %s is %s and has no process any more", run.name, run.state_name)
        api.set_state(run.id, RunState.CRASHED, "no process runs it any more: its worker was stopped or killed")
    if cleanup.covered_by is None:
        return True
    message = f"overdue; {cleanup.covered_by.name}, due at {cleanup.covered_by.due:%H:%M:%S}, moves the same rows"
    for run in cleanup.skipped:
        api.set_state(run.id, RunState.CANCELLED, message, SKIPPED)
    return not api.set_state(own_id, RunState.CANCELLED, message, SKIPPED)


def main(arguments: list[str] | None = None) -> int:
    """Run Prefect's engine for the run that the worker put into the environment, unless there is no point."""
    parser = argparse.ArgumentParser(prog="k2lab.offload.flow_run", description=__doc__.partition("\n")[0])
    parser.add_argument("--pool", required=True, help="work pool of the worker")
    parser.add_argument("--deadline-s", type=int, required=True, help="seconds after which the run is ended")
    options = parser.parse_args(arguments)
    _die_with_parent()
    # The default action ends the process whatever it does then; the worker reports the run as crashed. A run that
    # hangs would hold the schedule for ever.
    signal.alarm(options.deadline_s)
    api = PrefectApi(_from_worker("PREFECT_API_URL"))
    run_id, deployment_id = _from_worker("PREFECT__FLOW_RUN_ID"), _from_worker("PREFECT__DEPLOYMENT_ID")
    try:
        if not clean_up(api, options.pool, run_id, deployment_id):
            return 0
    except LabError as error:
        # The engine tries longer, and says it where the run's log is.
        log.warning("runs left behind stay as they are: %s", error)
    sys.argv = ["prefect.engine"]
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
    return 0


def _die_with_parent() -> None:
    """Have the kernel end this process when the worker is killed, as it would in a container of the worker's own."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise LabError("prctl(PR_SET_PDEATHSIG)", os.strerror(ctypes.get_errno()), "run the lab on Linux")
    if os.getppid() == _INIT:
        raise LabError(
            "the worker to be there", "it was killed before this run began", "nothing, supervisord restarts it"
        )


def _from_worker(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise LabError(f"{variable} in the environment", "none", "this program is started by a Prefect worker")
    return value


if __name__ == "__main__":
    run_program(main)
