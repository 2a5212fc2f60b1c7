# SPDX-License-Identifier: Apache-2.0
"""Prefect's REST API, as much of it as the lab asks; the standard library only, since a flow run begins with it."""

from __future__ import annotations

import datetime as dt
import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote, urlsplit

from k2lab.common.errors import LabError

_TIMEOUT_S = 10.0
_RUNS_MAX = 200  # the server's own limit of one page
_HTTP_NOT_FOUND = 404
_HTTP_ERRORS_FROM = 400
_BODY_SHOWN = 500


class RunState(StrEnum):
    """Types of states of a flow run. Names may differ: a SCHEDULED run that is overdue is named Late."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CRASHED = "CRASHED"
    CANCELLED = "CANCELLED"


# A worker has taken such a run, and a process is, or was, at work on it.
AT_WORK = (RunState.PENDING, RunState.RUNNING, RunState.CANCELLING)
ENDED = (RunState.COMPLETED, RunState.FAILED, RunState.CRASHED, RunState.CANCELLED)


@dataclass(frozen=True)
class FlowRun:
    """One run of a deployment; `due` is when it was to begin."""

    id: str
    name: str
    deployment_id: str | None
    state: RunState
    state_name: str
    message: str
    due: dt.datetime


class PrefectApi:
    """Client of one server. Every method raises LabError when the server cannot be reached or refuses."""

    def __init__(self, url: str, timeout_s: float = _TIMEOUT_S) -> None:
        split = urlsplit(url)
        if split.scheme != "http" or split.hostname is None:
            raise LabError("an address like http://127.0.0.1:4200/api of Prefect's server", url, "correct it")
        self.url = url
        self._address = (split.hostname, split.port or 80)
        self._prefix = split.path.rstrip("/")
        self._timeout_s = timeout_s

    def find(self, path: str) -> dict[str, Any] | None:
        """The object at `path`; None when there is none."""
        found = self._call("GET", path, None, missing_ok=True)
        return None if found is None else _an_object(found, path)

    def create(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """POST; the object that was made."""
        return _an_object(self._call("POST", path, body), path)

    def update(self, path: str, body: Mapping[str, object]) -> None:
        """PATCH."""
        self._call("PATCH", path, body)

    def deployment_id(self, flow: str, deployment: str) -> str | None:
        """Id of a deployment; None when there is none of these names."""
        found = self.find(f"/deployments/name/{quote(flow, safe='')}/{quote(deployment, safe='')}")
        return None if found is None else str(found["id"])

    def runs(
        self,
        *,
        states: Sequence[RunState],
        pool: str | None = None,
        deployment_id: str | None = None,
        due_before: dt.datetime | None = None,
        due_after: dt.datetime | None = None,
        limit: int = _RUNS_MAX,
    ) -> list[FlowRun]:
        """Flow runs in any of these states, those due last first."""
        run_filter: dict[str, object] = {"state": {"type": {"any_": [state.value for state in states]}}}
        if deployment_id is not None:
            run_filter["deployment_id"] = {"any_": [deployment_id]}
        bounds = {"before_": due_before, "after_": due_after}
        if given := {name: bound.isoformat() for name, bound in bounds.items() if bound is not None}:
            run_filter["expected_start_time"] = given
        body: dict[str, object] = {"sort": "EXPECTED_START_TIME_DESC", "limit": limit, "flow_runs": run_filter}
        if pool is not None:
            body["work_pools"] = {"name": {"any_": [pool]}}
        found = self._call("POST", "/flow_runs/filter", body)
        if not isinstance(found, list):
            raise LabError("a list of flow runs", repr(found)[:_BODY_SHOWN], "is that address Prefect's server?")
        return [_flow_run(entry) for entry in found]

    def run(self, run_id: str) -> FlowRun:
        """One flow run."""
        return _flow_run(_an_object(self._call("GET", f"/flow_runs/{run_id}", None), run_id))

    def start_run(self, deployment_id: str) -> FlowRun:
        """A new run of a deployment, due now."""
        return _flow_run(self.create(f"/deployments/{deployment_id}/create_flow_run", {}))

    def set_state(self, run_id: str, state: RunState, message: str, name: str | None = None) -> bool:
        """Have a run take on a state; False when the server's rules refuse, as they do once it has ended."""
        proposed = {"type": state.value, "name": name or state.value.title(), "message": message}
        answer = self.create(f"/flow_runs/{run_id}/set_state", {"state": proposed})
        return str(answer["status"]) == "ACCEPT"

    def log_tail(self, run_id: str, lines: int = 20) -> list[str]:
        """The last lines a run logged, the oldest first."""
        body = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_DESC", "limit": lines}
        found = self._call("POST", "/logs/filter", body)
        entries = found if isinstance(found, list) else []
        return [str(entry["message"]) for entry in reversed(entries)]

    def _call(self, method: str, path: str, body: Mapping[str, object] | None, *, missing_ok: bool = False) -> object:
        connection = http.client.HTTPConnection(*self._address, timeout=self._timeout_s)
        try:
            content = None if body is None else json.dumps(body)
            headers = {"Content-Type": "application/json"} if content is not None else {}
            connection.request(method, self._prefix + path, content, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise LabError(
                f"Prefect's server at {self.url} to answer {method} {path}",
                str(error) or type(error).__name__,
                "see the log of prefect-server",
            ) from error
        finally:
            connection.close()
        if answer.status == _HTTP_NOT_FOUND and missing_ok:
            return None
        if answer.status >= _HTTP_ERRORS_FROM:
            raise LabError(
                f"Prefect's server to accept {method} {path}",
                f"{answer.status} {text[:_BODY_SHOWN]}",
                "see the log of prefect-server",
            )
        parsed: object = json.loads(text) if text else {}
        return parsed


def _an_object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise LabError(f"an object for {where}", repr(value)[:_BODY_SHOWN], "is that address Prefect's server?")
    return value


def _flow_run(entry: Mapping[str, Any]) -> FlowRun:
    state = entry.get("state") or {}
    return FlowRun(
        id=str(entry["id"]),
        name=str(entry["name"]),
        deployment_id=entry["deployment_id"],
        state=RunState(entry["state_type"]),
        state_name=str(entry["state_name"]),
        message=str(state.get("message") or ""),
        due=dt.datetime.fromisoformat(entry["expected_start_time"]),
    )
