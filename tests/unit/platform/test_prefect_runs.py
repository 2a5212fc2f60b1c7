# SPDX-License-Identifier: Apache-2.0
"""Single flow runs by Prefect's API, against a scripted server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.platform.prefect import NotPrefect
from ansible_collections.k2.hardening.plugins.module_utils.platform.prefect_runs import AT_WORK, FlowRun, PrefectRuns

from .server import Script, serve

RUN = {
    "id": "r1",
    "name": "quick-heron",
    "state_type": "RUNNING",
    "start_time": "2026-01-01T00:00:00.000001Z",
    "end_time": None,
    "state": {"message": None},
}


def client(script: Script) -> PrefectRuns:
    return PrefectRuns(f"http://127.0.0.1:{script.port}/api")


def answering(path: str, status: int, answer: Any) -> Script:
    return Script(status=404, body=b'{"detail":"Not Found"}', by_path={path: (status, json.dumps(answer).encode())})


def test_runs_under_way_are_those_that_a_worker_has_and_that_have_not_ended() -> None:
    with serve(answering("/api/flow_runs/filter", 200, [RUN])) as script:
        (run,) = client(script).under_way("d1")
    asked = json.loads(script.requests[0][2])["flow_runs"]
    assert asked == {"deployment_id": {"any_": ["d1"]}, "state": {"type": {"any_": list(AT_WORK)}}}
    assert run == FlowRun("r1", "quick-heron", "RUNNING", started_us=1_767_225_600_000_001)
    assert not run.ended


def test_runs_since_a_time_leave_out_what_is_only_scheduled() -> None:
    with serve(answering("/api/flow_runs/filter", 200, [])) as script:
        assert client(script).since("d1", 1_767_225_600_000_001) == ()
    asked = json.loads(script.requests[0][2])["flow_runs"]
    assert asked["start_time"] == {"after_": "2026-01-01T00:00:00.000001Z"}
    assert "SCHEDULED" not in asked["state"]["type"]["any_"]
    assert "COMPLETED" in asked["state"]["type"]["any_"]


def test_a_run_is_asked_for_with_the_deployments_own_parameters() -> None:
    made = {**RUN, "state_type": "SCHEDULED", "start_time": None}
    with serve(answering("/api/deployments/d1/create_flow_run", 201, made)) as script:
        run = client(script).ask_for_run("d1")
    assert script.requests[0][2] == b"{}"
    assert (run.id, run.state, run.started_us) == ("r1", "SCHEDULED", None)


@pytest.mark.parametrize(
    ("state", "started", "failed"),
    [
        ("CRASHED", 1, True),
        ("FAILED", 1, True),
        ("CANCELLED", 1, True),
        ("CANCELLED", None, False),  # struck off the schedule: it never began
        ("COMPLETED", 1, False),
        ("RUNNING", 1, False),
    ],
)
def test_a_run_failed_if_it_began_and_did_not_complete(state: str, started: int | None, failed: bool) -> None:
    assert FlowRun("r", "n", state, started_us=started).failed is failed


@pytest.mark.parametrize("broken", [{"id": "r1"}, {**RUN, "start_time": "soon"}, {**RUN, "state": "bad"}])
def test_a_run_of_another_shape_is_refused(broken: dict[str, Any]) -> None:
    with serve(answering("/api/flow_runs/filter", 200, [broken])) as script, pytest.raises(NotPrefect):
        client(script).under_way("d1")
