# SPDX-License-Identifier: Apache-2.0
"""Before a run begins: which other runs are dead, which are needless, and whether this one is."""

from __future__ import annotations

import datetime as dt

from k2lab.offload.flow_run import plan_cleanup
from k2lab.offload.prefect_api import FlowRun, RunState

OWN, DEPLOYMENT = "own", "offload"
NOON = dt.datetime(2026, 2, 3, 12, tzinfo=dt.UTC)


def run(name: str, state: RunState, minute: int = 0, deployment: str = DEPLOYMENT) -> FlowRun:
    return FlowRun(name, name, deployment, state, state.value.title(), "", NOON + dt.timedelta(minutes=minute))


def plan(*due: FlowRun) -> tuple[list[str], list[str], str | None]:
    newest_first = sorted((run(OWN, RunState.PENDING), *due), key=lambda each: each.due, reverse=True)
    cleanup = plan_cleanup(OWN, DEPLOYMENT, newest_first)
    covered_by = cleanup.covered_by.id if cleanup.covered_by else None
    return [dead.id for dead in cleanup.dead], [skipped.id for skipped in cleanup.skipped], covered_by


def test_alone_it_goes_on() -> None:
    assert plan() == ([], [], None)


def test_runs_at_work_beside_it_are_dead() -> None:
    due = [run("r", RunState.RUNNING, -3), run("p", RunState.PENDING, -2), run("c", RunState.CANCELLING, -1)]
    assert plan(*due) == (["c", "p", "r"], [], None)


def test_of_those_that_piled_up_the_last_does_the_work_of_all() -> None:
    late = [run(f"late-{minute}", RunState.SCHEDULED, minute) for minute in range(1, 5)]
    assert plan(*late) == ([], ["late-3", "late-2", "late-1"], "late-4")


def test_another_deployment_is_not_covered_by_this_one() -> None:
    assert plan(run("maintenance", RunState.SCHEDULED, 1, "maintenance")) == ([], [], None)


def test_a_dead_run_of_another_deployment_is_dead_too() -> None:
    assert plan(run("maintenance", RunState.RUNNING, -1, "maintenance")) == (["maintenance"], [], None)
