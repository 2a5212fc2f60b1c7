# SPDX-License-Identifier: Apache-2.0
"""Gate S0.schedule against a real Prefect server, whose runs are made up through its own API."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.cli.inventory import load_profile
from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.measure.schedule import watch_schedule
from ansible_collections.k2.hardening.plugins.module_utils.platform.prefect import NotPrefect, PrefectClient
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import GateResult, Verdict
from ansible_collections.k2.hardening.plugins.module_utils.verdict.preflight import decide_schedule

from .lab import ROOT

DEADLINE_S = 180.0
FLOW, DEPLOYMENT = "iceberg-offload-main", "iceberg-offload-15min"


@dataclass
class Prefect:
    """A Prefect server of the tests' own; ``flow`` is the id of K2's flow in it."""

    port: int
    database: Path
    flow: str = ""
    made: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def ask(self, method: str, path: str, question: object = None) -> Any:
        """The server's answer. As its own client does, asks again when the server is too busy to answer."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
            try:
                headers = {"Content-Type": "application/json"}
                connection.request(method, f"/api{path}", json.dumps(question or {}), headers)
                response = connection.getresponse()
                body = response.read()
            finally:
                connection.close()
            if response.status < 300:
                return json.loads(body) if body else None
            busy = response.status == http.HTTPStatus.SERVICE_UNAVAILABLE and time.monotonic() < deadline
            assert busy, f"{method} {path}: HTTP {response.status} {body!r}"
            time.sleep(0.2)

    def deploy(self, **changed: object) -> str:
        """K2's deployment, as new; returns its id."""
        for earlier in self.made:
            self.ask("DELETE", f"/deployments/{earlier}")
        schedule = {"schedule": {"interval": 900}, "active": True}
        deployment = {"name": DEPLOYMENT, "flow_id": self.flow, "schedules": [schedule], **changed}
        self.made[:] = [self.ask("POST", "/deployments/", deployment)["id"]]
        return self.made[0]

    def ran(self, deployment: str, state: str, ended_s_ago: float = 0.0) -> None:
        """Make up a run that ended so long ago.

        The server takes its own time for the end of a run, so an earlier one is written into its database.
        """
        run = self.ask("POST", f"/deployments/{deployment}/create_flow_run", {"state": {"type": "PENDING"}})
        for kind in ("RUNNING", state):
            answer = self.ask("POST", f"/flow_runs/{run['id']}/set_state", {"state": {"type": kind}, "force": True})
            assert answer["status"] == "ACCEPT", answer
        if ended_s_ago:
            ended = datetime.now(UTC) - timedelta(seconds=ended_s_ago)
            with contextlib.closing(sqlite3.connect(self.database, timeout=DEADLINE_S)) as connection, connection:
                changed = connection.execute(
                    "UPDATE flow_run SET end_time = ? WHERE id = ?",
                    (ended.strftime("%Y-%m-%d %H:%M:%S.%f"), run["id"]),
                ).rowcount
            assert changed == 1


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    home = tmp_path_factory.mktemp("prefect")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home}/prefect.db",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
        # Else it would schedule and start runs of its own among those that the tests make up.
        "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    }
    command = [str(Path(sys.executable).with_name("prefect")), "server", "start", "--host", "127.0.0.1"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)], env=os.environ | settings, stdout=log, stderr=log, start_new_session=True
        )
    server = Prefect(port, home / "prefect.db")
    try:
        deadline = time.monotonic() + DEADLINE_S
        for attempt in itertools.count():
            try:
                server.ask("GET", "/health")
                break
            except (OSError, http.client.HTTPException):
                assert process.poll() is None, (home / "log").read_text()
                assert time.monotonic() < deadline, f"{attempt} attempts: {(home / 'log').read_text()}"
                time.sleep(0.2)
        server.flow = server.ask("POST", "/flows/", {"name": FLOW})["id"]
        yield server
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


@pytest.fixture
def k2(prefect: Prefect, k2_secrets: dict[str, str]) -> Profile:
    """The profile of inventory/k2_compose, the address that of the test's server."""
    profile = load_profile(str(ROOT / "inventory" / "k2_compose"), "localhost")
    assert profile.orchestrator is not None
    return replace(profile, orchestrator=replace(profile.orchestrator, url=prefect.url))


def decide(profile: Profile) -> GateResult:
    """The gate after one look; looks again when the server was too busy to answer."""
    section = profile.orchestrator
    assert section is not None
    deadline = time.monotonic() + DEADLINE_S
    while True:
        sights = watch_schedule(section, 0.005, PrefectClient(section.url), Deadline.after(0))
        result = decide_schedule(profile, sights).result
        if "HTTP 503" not in result.reason or time.monotonic() > deadline:
            return result


def test_k2s_deployment_passes_after_a_completed_run(prefect: Prefect, k2: Profile) -> None:
    deployment = prefect.deploy()
    prefect.ran(deployment, "COMPLETED", 100)
    prefect.ran(deployment, "CRASHED")
    result = decide(k2)
    assert (result.verdict, result.measured, result.spec.target) == (Verdict.PASS, 1, 1), result.reason


@pytest.mark.parametrize(
    ("deployed", "runs", "says"),
    [
        ({"paused": True}, [("COMPLETED", 100)], "it is paused"),
        ({"schedules": []}, [("COMPLETED", 100)], "it has no active schedule"),
        (
            {"schedules": [{"schedule": {"interval": 900}, "active": False}]},
            [("COMPLETED", 100)],
            "it has no active schedule",
        ),
        ({}, [], "it never completed a run (no run has ended yet)"),
        (
            {},
            [("FAILED", 100), ("CRASHED", 50), ("FAILED", 10)],
            "it never completed a run (its last runs: 1 CRASHED, 2 FAILED)",
        ),
        ({}, [("COMPLETED", 4000), ("FAILED", 10)], "s ago, at most 1860 s expected of an interval of 900 s"),
        ({"name": "iceberg-offload-15mn"}, [("COMPLETED", 100)], f"did you mean '{FLOW}/iceberg-offload-15mn'?"),
    ],
)
def test_what_is_wrong_fails(
    prefect: Prefect, k2: Profile, deployed: dict[str, Any], runs: list[tuple[str, float]], says: str
) -> None:
    deployment = prefect.deploy(**deployed)
    for state, ended_s_ago in runs:
        prefect.ran(deployment, state, ended_s_ago)
    result = decide(k2)
    assert result.verdict is Verdict.FAIL
    assert says in result.reason


def test_pausing_a_healthy_deployment_is_seen(prefect: Prefect, k2: Profile) -> None:
    deployment = prefect.deploy()
    prefect.ran(deployment, "COMPLETED", 100)
    assert decide(k2).verdict is Verdict.PASS
    prefect.ask("POST", f"/deployments/{deployment}/pause_deployment")
    assert "it is paused" in decide(k2).reason
    prefect.ask("POST", f"/deployments/{deployment}/resume_deployment")
    assert decide(k2).verdict is Verdict.PASS


def test_the_wrong_address_is_not_prefects(prefect: Prefect, k2: Profile) -> None:
    assert k2.orchestrator is not None
    wrong = replace(k2, orchestrator=replace(k2.orchestrator, url=f"http://127.0.0.1:{prefect.port}/nothing"))
    result = decide(wrong)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "ends in /api" in result.reason
    with pytest.raises(NotPrefect):
        PrefectClient(f"{prefect.url}/v7").deployment(f"{FLOW}/{DEPLOYMENT}")
