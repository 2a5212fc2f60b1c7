# SPDX-License-Identifier: Apache-2.0
"""What Prefect's server is told, and that it is told nothing twice."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from k2lab.offload import deploy as module
from k2lab.offload.config import Orchestrator
from k2lab.offload.deploy import agrees, deploy, deployments
from k2lab.offload.names import MAINTENANCE_DEPLOYMENT, MAINTENANCE_FLOW, OFFLOAD_DEPLOYMENT, OFFLOAD_FLOW

CONFIG = Path("/srv/a lab/run/offload.json")
POOL = "iceberg-offload"


class Server:
    """What a server keeps; like the real one it adds keys of its own to all it is given."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.orders = 0

    def find(self, path: str) -> dict[str, Any] | None:
        return self.kept.get(path)

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if path == "/flows/":
            return {"id": body["name"]}
        self.orders += 1
        at = f"/deployments/name/{body['flow_id']}" if path == "/deployments/" else path.rstrip("/")
        kept = {**body, "id": "an-id", "created": "today", "is_paused": False}
        kept["schedules"] = [{**schedule, "id": "another"} for schedule in body.get("schedules", [])]
        self.kept[f"{at}/{body['name']}"] = kept
        return kept

    def update(self, path: str, body: Mapping[str, Any]) -> None:
        self.orders += 1
        self.kept[path].update(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(module, "PrefectApi", lambda _: server)
    return server


def orchestrator(interval_s: int = 60) -> Orchestrator:
    return Orchestrator("http://127.0.0.1:4200/api", POOL, interval_s)


def test_both_flows_are_deployed_by_the_names_others_look_for() -> None:
    offload, maintenance = deployments(orchestrator(90), CONFIG)
    assert (offload.flow, offload.name) == (OFFLOAD_FLOW, OFFLOAD_DEPLOYMENT)
    assert (maintenance.flow, maintenance.name) == (MAINTENANCE_FLOW, MAINTENANCE_DEPLOYMENT)
    assert offload.schedule["interval"] == 90
    assert maintenance.schedule["cron"] == "0 2 * * *"


def test_the_entrypoints_are_flows_of_those_names() -> None:
    from k2lab.offload import flows

    for deployment in deployments(orchestrator(), CONFIG):
        name, _, function = deployment.entrypoint.rpartition(".")
        assert name == flows.__name__
        assert getattr(flows, function).name == deployment.flow


def test_a_run_is_told_where_its_configuration_is_and_no_secret() -> None:
    for deployment in deployments(orchestrator(), CONFIG):
        variables = deployment.job_variables()
        assert variables["env"] == {"K2_OFFLOAD_CONFIG": str(CONFIG)}
        command = shlex.split(str(variables["command"]))
        assert command[:3] == [sys.executable, "-m", "k2lab.offload.flow_run"]


def test_a_second_time_changes_nothing(server: Server) -> None:
    assert len(deploy(orchestrator(), CONFIG)) == 3
    orders = server.orders
    assert deploy(orchestrator(), CONFIG) == []
    assert server.orders == orders


def test_another_interval_changes_the_one_deployment(server: Server) -> None:
    deploy(orchestrator(60), CONFIG)
    assert deploy(orchestrator(120), CONFIG) == [f"deployment {OFFLOAD_FLOW}/{OFFLOAD_DEPLOYMENT}"]
    kept = server.kept[f"/deployments/name/{OFFLOAD_FLOW}/{OFFLOAD_DEPLOYMENT}"]
    assert kept["schedules"][0]["schedule"]["interval"] == 120


@pytest.mark.parametrize(("key", "value"), [("paused", True), ("schedules", []), ("work_pool_name", "another")])
def test_what_somebody_changed_is_put_right(server: Server, key: str, value: object) -> None:
    deploy(orchestrator(), CONFIG)
    server.kept[f"/deployments/name/{MAINTENANCE_FLOW}/{MAINTENANCE_DEPLOYMENT}"][key] = value
    assert deploy(orchestrator(), CONFIG) == [f"deployment {MAINTENANCE_FLOW}/{MAINTENANCE_DEPLOYMENT}"]


def test_a_paused_pool_is_put_right(server: Server) -> None:
    deploy(orchestrator(), CONFIG)
    server.kept[f"/work_pools/{POOL}"]["is_paused"] = True
    assert deploy(orchestrator(), CONFIG) == [f"work pool {POOL}"]
    assert deploy(orchestrator(), CONFIG) == []


@pytest.mark.parametrize(
    ("found", "wanted", "same"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"b": 2}, {"a": None}, False),
        ([{"a": 1, "id": 7}], [{"a": 1}], True),
        ([{"a": 1}, {"a": 1}], [{"a": 1}], False),
        ("x", {"a": 1}, False),
        (60.0, 60, True),
    ],
)
def test_agreement_is_about_what_was_asked_for(found: object, wanted: object, same: bool) -> None:
    assert agrees(found, wanted) is same
