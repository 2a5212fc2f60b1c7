# SPDX-License-Identifier: Apache-2.0
"""The client of Prefect's API against a scripted server; the real one is in tests/integration/test_schedule.py."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.platform import prefect
from ansible_collections.k2.hardening.plugins.module_utils.platform.prefect import (
    COMPLETED,
    ENDED,
    Deployment,
    NoSuchDeployment,
    NotPrefect,
    PrefectClient,
    PrefectError,
    PrefectRefused,
    PrefectUnreachable,
    Run,
)

from .server import Script, serve

BY_NAME = "/api/deployments/name/offload/quarter"
NOT_FOUND = (404, b'{"detail":"Deployment not found"}')


def client(script: Script) -> PrefectClient:
    return PrefectClient(f"http://127.0.0.1:{script.port}/api/")


def answering(path: str, status: int, answer: Any) -> Script:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return Script(status=404, body=b'{"detail":"Not Found"}', by_path={path: (status, body)})


@pytest.mark.parametrize(
    ("schedules", "active"), [([], 0), ([{"active": True}], 1), ([{"active": False}, {"active": True}], 1)]
)
def test_a_deployment_by_name(schedules: list[dict[str, bool]], active: int) -> None:
    found = {"id": "d1", "paused": False, "schedules": schedules, "name": "quarter"}
    with serve(answering(BY_NAME, 200, found)) as script:
        assert client(script).deployment("offload/quarter") == Deployment("d1", False, active)


def test_a_name_is_put_into_the_path_as_one_part_each() -> None:
    path = "/api/deployments/name/off%20load/a%2Fb%3F"
    with serve(answering(path, 200, {"id": "d1", "paused": True, "schedules": []})) as script:
        assert client(script).deployment("off load/a/b?").paused


def test_a_deployment_that_is_not_there_names_the_nearest_that_is() -> None:
    script = Script(
        by_path={
            "/api/deployments/name/offload/quater": NOT_FOUND,
            "/api/flows/filter": (200, b'[{"id":"f1","name":"offload"},{"id":"f2","name":"maintain"}]'),
            "/api/deployments/filter": (
                200,
                b'[{"name":"quarter","flow_id":"f1"},{"name":"daily","flow_id":"f2"}]',
            ),
        }
    )
    with serve(script), pytest.raises(NoSuchDeployment, match="did you mean 'offload/quarter'"):
        client(script).deployment("offload/quater")


def test_a_name_of_one_part_is_no_deployment() -> None:
    with pytest.raises(NoSuchDeployment, match="FLOW/DEPLOYMENT"):
        PrefectClient("http://127.0.0.1:1/api").deployment("quarter")


def test_runs_are_asked_for_by_deployment_state_and_end() -> None:
    runs = [
        {"state_type": "COMPLETED", "end_time": "2026-01-01T00:00:00.000001Z"},
        {"state_type": "CRASHED", "end_time": "2025-12-31T23:59:59+00:00"},
        {"state_type": "FAILED", "end_time": "1970-01-01T01:00:00.123456789+01:00"},
    ]
    with serve(answering("/api/flow_runs/filter", 200, runs)) as script:
        before = int(time.time())
        seen = client(script).latest_runs("d1", ENDED, 10)
    asked = json.loads(script.requests[0][2])
    assert asked["flow_runs"]["deployment_id"] == {"any_": ["d1"]}
    assert asked["flow_runs"]["state"]["type"]["any_"] == ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]
    assert (asked["sort"], asked["limit"]) == ("END_TIME_DESC", 10)
    assert seen.runs == (
        Run("COMPLETED", 1_767_225_600_000_001),
        Run("CRASHED", 1_767_225_599_000_000),
        Run("FAILED", 123_456),
    )
    assert seen.server_us is not None
    assert seen.server_us % 1_000_000 == 0
    assert seen.server_us >= before * 1_000_000


def test_without_a_date_the_servers_clock_is_unknown() -> None:
    script = answering("/api/flow_runs/filter", 200, [])
    script.dated = False
    with serve(script):
        seen = client(script).latest_runs("d1", (COMPLETED,), 1)
    assert (seen.runs, seen.server_us) == ((), None)


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (401, b'{"exception_message":"Unauthorized"}', PrefectRefused, "credentials"),
        (403, b"no", PrefectRefused, "credentials"),
        (500, b'{"exception_message":"Internal Server Error"}', PrefectUnreachable, "HTTP 500"),
        (503, b"<html>starting</html>", PrefectUnreachable, "starting"),
        (404, b'{"detail":"Not Found"}', NotPrefect, "ends in /api"),
        (200, b"<!doctype html>", NotPrefect, "no JSON"),
        (200, b"[]", NotPrefect, "a list where a mapping belongs"),
        (200, b'{"id":"d1","paused":false}', NotPrefect, "schedules"),
        (307, b'{"detail":"elsewhere"}', NotPrefect, "HTTP 307"),
        (422, b'{"detail":[]}', NotPrefect, "HTTP 422"),
    ],
)
def test_what_else_a_server_may_say(status: int, body: bytes, kind: type[PrefectError], says: str) -> None:
    with serve(Script(status=status, body=body)) as script, pytest.raises(kind, match=says) as caught:
        client(script).deployment("offload/quarter")
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    "answer",
    [{}, [1], [{"state_type": "COMPLETED"}], [{"state_type": "COMPLETED", "end_time": "2026-01-01T00:00:00"}]],
)
def test_runs_of_another_shape_are_refused(answer: Any) -> None:
    with serve(answering("/api/flow_runs/filter", 200, answer)) as script, pytest.raises(NotPrefect):
        client(script).latest_runs("d1", (COMPLETED,), 1)


def test_an_answer_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect, "_BODY_LIMIT", 10)
    with serve(Script(body=b"[" + b" " * 20 + b"]")) as script, pytest.raises(NotPrefect, match="too large"):
        client(script).deployment("offload/quarter")


def test_silence_and_absence_are_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect, "TIMEOUT_S", 0.2)
    with (
        serve(Script(hold=threading.Event())) as script,
        pytest.raises(PrefectUnreachable, match=r"within 0\.2 s"),
    ):
        client(script).deployment("offload/quarter")
    with pytest.raises(PrefectUnreachable, match="refused"):
        client(script).deployment("offload/quarter")
