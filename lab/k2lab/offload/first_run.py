# SPDX-License-Identifier: Apache-2.0
"""Wait until the offload has gone through once, by its schedule's own path; a run that fails says why."""

from __future__ import annotations

import datetime as dt
import logging
import time

from k2lab.common.errors import LabError
from k2lab.offload.config import OffloadConfig
from k2lab.offload.mirror import Mirror
from k2lab.offload.names import OFFLOAD_DEPLOYMENT, OFFLOAD_FLOW, SKIPPED
from k2lab.offload.prefect_api import ENDED, FlowRun, PrefectApi, RunState
from k2lab.offload.tables import TABLES

log = logging.getLogger(__name__)

_POLL_S = 0.25
# Intervals of the schedule: a table that went through since then needs no run to prove that it does.
_FRESH_INTERVALS = 2


def first_run(config: OffloadConfig, timeout_s: float) -> None:
    """Return once all tables have gone through lately; has Prefect run the offload now unless they have.

    Raises LabError with the run's state, message and last log lines when it fails, or is not done after timeout_s.
    """
    if not (missing := _not_fresh(config)):
        log.info("all %d tables went through lately", len(TABLES))
        return
    log.info("to go through: %s", ", ".join(missing))
    api = PrefectApi(config.orchestrator.url)
    deployment = api.deployment_id(OFFLOAD_FLOW, OFFLOAD_DEPLOYMENT)
    if deployment is None:
        raise LabError(f"the deployment {OFFLOAD_FLOW}/{OFFLOAD_DEPLOYMENT}", "none", "run the command deploy first")
    deadline = time.monotonic() + timeout_s
    run = _wait_for_end(api, api.start_run(deployment), deadline, timeout_s)
    if run.state is not RunState.COMPLETED:
        raise _failure(api, run, "to complete")
    if missing := _not_fresh(config):
        raise _failure(api, run, f"to bring {', '.join(missing)} up to date too")
    log.info("%s: %s", run.name, run.message)


def _not_fresh(config: OffloadConfig) -> list[str]:
    with Mirror(config.postgres) as mirror:
        fresh = mirror.went_through_within(_FRESH_INTERVALS * config.orchestrator.interval_s)
    return [table.name for table in TABLES if table.name not in fresh]


def _wait_for_end(api: PrefectApi, run: FlowRun, deadline: float, timeout_s: float) -> FlowRun:
    """The run as it ended. Where it was skipped for a later one, that one."""
    begun = run.due
    while run.state not in ENDED:
        if time.monotonic() > deadline:
            raise _failure(api, run, f"to end within {timeout_s:.0f} s")
        time.sleep(_POLL_S)
        run = api.run(run.id)
        if run.state_name == SKIPPED:
            run = _successor(api, run, begun)
    return run


def _successor(api: PrefectApi, skipped: FlowRun, begun: dt.datetime) -> FlowRun:
    states = [state for state in RunState if state is not RunState.CANCELLED]
    later = api.runs(
        states=states, deployment_id=skipped.deployment_id, due_after=begun, due_before=dt.datetime.now(dt.UTC), limit=1
    )
    if not later:
        raise _failure(api, skipped, "to be followed by the run it was skipped for")
    return later[0]


def _failure(api: PrefectApi, run: FlowRun, expected: str) -> LabError:
    lines = "\n".join(api.log_tail(run.id)) or "(it logged nothing)"
    return LabError(
        f"flow run {run.name} of the offload {expected}",
        f"{run.state_name}: {run.message or 'no message'}\nlast lines of its log:\n{lines}",
        "see the log of prefect-worker",
    )
