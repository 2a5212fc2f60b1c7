# SPDX-License-Identifier: Apache-2.0
"""What the role rendered into run/lab.json, as typed values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from k2lab.common.errors import LabError
from k2lab.control.lab import Lab
from k2lab.schema.ddl import CandleEngine

# The part without which there is no lab; all others may be left out.
HOT = "hot"


@dataclass(frozen=True)
class Service:
    """One program of the lab; `needs` names the services and steps that must be ready before it starts."""

    name: str
    part: str
    ports: tuple[int, ...]
    needs: tuple[str, ...]
    health_url: str | None
    stop_stage: int


@dataclass(frozen=True)
class CommandStep:
    """A command to be run once what it needs is ready.

    Where `creates` is given, the command makes that path, and is left out when it is there. Any other command runs at
    each lab-up, so it must leave alone what it finds done.
    """

    name: str
    part: str
    needs: tuple[str, ...]
    argv: tuple[str, ...]
    environment: dict[str, str]
    timeout_s: float
    creates: Path | None


@dataclass(frozen=True)
class DockerPlan:
    """Of a lab in containers: its project of Compose, and its image."""

    project: str
    image: str


@dataclass(frozen=True)
class Plan:
    """All that `up` needs to know beyond the configuration of who keeps the programs running.

    `docker` is None for a lab of processes.
    """

    services: tuple[Service, ...]
    steps: tuple[CommandStep, ...]
    broker: str
    topics: dict[str, int]
    clickhouse_url: str
    clickhouse_database: str
    candles: CandleEngine
    exchanges: tuple[str, ...]
    timeout_s: float
    docker: DockerPlan | None

    @classmethod
    def read(cls, lab: Lab) -> Plan:
        """The plan of a lab. Raises LabError when the directory has none."""
        try:
            raw = json.loads(lab.plan.read_text())
        except FileNotFoundError as error:
            raise LabError(f"a prepared lab in {lab.directory}", "no run/lab.json", "run: make lab-up") from error
        return cls(
            services=tuple(
                Service(
                    name=entry["name"],
                    part=entry["part"],
                    ports=tuple(int(port) for port in entry["ports"]),
                    needs=tuple(entry["needs"]),
                    health_url=entry["health_url"] or None,
                    stop_stage=int(entry["stop_stage"]),
                )
                for entry in raw["services"]
            ),
            steps=tuple(
                CommandStep(
                    name=entry["name"],
                    part=entry["part"],
                    needs=tuple(entry["needs"]),
                    argv=tuple(entry["argv"]),
                    environment=dict(entry["environment"]),
                    timeout_s=float(entry["timeout_s"]),
                    creates=Path(entry["creates"]) if entry["creates"] else None,
                )
                for entry in raw["steps"]
            ),
            broker=raw["broker"],
            topics={name: int(partitions) for name, partitions in raw["topics"].items()},
            clickhouse_url=raw["clickhouse_url"],
            clickhouse_database=raw["clickhouse_database"],
            candles=CandleEngine(raw["candles"]),
            exchanges=tuple(raw["exchanges"]),
            timeout_s=float(raw["timeout_s"]),
            # A lab.json of an earlier version has no such key.
            docker=DockerPlan(raw["docker"]["project"], raw["docker"]["image"]) if raw.get("docker") else None,
        )
