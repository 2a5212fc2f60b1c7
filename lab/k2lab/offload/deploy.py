# SPDX-License-Identifier: Apache-2.0
"""Tell Prefect's server what to run, when: a work pool and two deployments. Changes only what differs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from k2lab.offload.config import Orchestrator
from k2lab.offload.names import (
    CONFIG_VARIABLE,
    MAINTENANCE_DEPLOYMENT,
    MAINTENANCE_FLOW,
    OFFLOAD_DEPLOYMENT,
    OFFLOAD_FLOW,
)
from k2lab.offload.prefect_api import PrefectApi

# A run that takes longer hangs: it is ended, and what it moved so far stays moved.
RUN_DEADLINE_S = 1800
SCHEDULE_SLUG = "lab"
# Runs begin at whole multiples of the interval from here, whenever the deployment was made.
_ANCHOR = "2020-01-01T00:00:00Z"
_MAINTENANCE_CRON = "0 2 * * *"

# Values of the deployments, put where the worker looks for them.
_JOB_TEMPLATE: Mapping[str, object] = {
    "job_configuration": {"command": "{{ command }}", "env": "{{ env }}", "stream_output": True},
    "variables": {
        "type": "object",
        "properties": {
            "command": {"type": "string", "title": "Command"},
            "env": {"type": "object", "title": "Environment", "additionalProperties": {"type": "string"}},
        },
    },
}


@dataclass(frozen=True)
class Deployment:
    """A flow, as it is to be run; `schedule` in Prefect's own form."""

    flow: str
    name: str
    entrypoint: str
    schedule: Mapping[str, object]
    work_pool: str
    config: Path

    def job_variables(self) -> dict[str, object]:
        """The command line and the environment of its runs."""
        command = [
            *(sys.executable, "-m", "k2lab.offload.flow_run"),
            *("--pool", self.work_pool, "--deadline-s", str(RUN_DEADLINE_S)),
        ]
        return {"command": shlex.join(command), "env": {CONFIG_VARIABLE: str(self.config)}}

    def wanted(self) -> dict[str, object]:
        """What the server is to keep of it."""
        return {
            "entrypoint": self.entrypoint,
            "paused": False,
            "work_pool_name": self.work_pool,
            "job_variables": self.job_variables(),
            "schedules": [{"slug": SCHEDULE_SLUG, "active": True, "schedule": dict(self.schedule)}],
        }


def deployments(orchestrator: Orchestrator, config: Path) -> tuple[Deployment, Deployment]:
    """The offload and its maintenance; `config` is the path of offload.json, all they are told."""
    pool = orchestrator.work_pool
    return (
        Deployment(
            OFFLOAD_FLOW,
            OFFLOAD_DEPLOYMENT,
            "k2lab.offload.flows.offload",
            {"interval": float(orchestrator.interval_s), "anchor_date": _ANCHOR, "timezone": "UTC"},
            pool,
            config,
        ),
        Deployment(
            MAINTENANCE_FLOW,
            MAINTENANCE_DEPLOYMENT,
            "k2lab.offload.flows.maintenance",
            {"cron": _MAINTENANCE_CRON, "timezone": "UTC", "day_or": True},
            pool,
            config,
        ),
    )


def deploy(orchestrator: Orchestrator, config: Path) -> list[str]:
    """Register the work pool and both deployments; returns what was made or changed, nothing when all was as wanted.

    Raises LabError when the server cannot be reached or refuses.
    """
    api = PrefectApi(orchestrator.url)
    changed = [f"work pool {orchestrator.work_pool}"] if _ensure_pool(api, orchestrator.work_pool) else []
    changed += [
        f"deployment {deployment.flow}/{deployment.name}"
        for deployment in deployments(orchestrator, config)
        if _ensure_deployment(api, deployment)
    ]
    return changed


def _ensure_pool(api: PrefectApi, name: str) -> bool:
    found = api.find(f"/work_pools/{name}")
    if found is None:
        api.create("/work_pools/", {"name": name, "type": "process", "base_job_template": _JOB_TEMPLATE})
        return True
    wanted = {"base_job_template": _JOB_TEMPLATE, "is_paused": False}
    if agrees(found, wanted):
        return False
    api.update(f"/work_pools/{name}", wanted)
    return True


def _ensure_deployment(api: PrefectApi, deployment: Deployment) -> bool:
    found = api.find(f"/deployments/name/{deployment.flow}/{deployment.name}")
    wanted = deployment.wanted()
    if found is not None and agrees(found, wanted):
        return False
    # Prefect takes a name it has as an order to change, and drops the runs it had scheduled so far.
    flow = api.create("/flows/", {"name": deployment.flow})
    api.create("/deployments/", {"name": deployment.name, "flow_id": flow["id"], **wanted})
    return True


def agrees(found: object, wanted: object) -> bool:
    """True when `found` says all that `wanted` says; keys of objects that `wanted` does not name are the server's."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            key in found and agrees(found[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(agrees(*pair) for pair in zip(found, wanted, strict=True))
        )
    return found == wanted
