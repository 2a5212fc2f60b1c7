# SPDX-License-Identifier: Apache-2.0
"""What the role rendered into run/lab.json, as typed values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from k2lab.common.errors import LabError
from k2lab.control.lab import Lab
from k2lab.schema.ddl import CandleEngine


@dataclass(frozen=True)
class Service:
    """One program of the lab; `needs` names the steps that must be done before it starts."""

    name: str
    ports: tuple[int, ...]
    needs: tuple[str, ...]
    health_url: str | None
    stop_stage: int


@dataclass(frozen=True)
class Plan:
    """All that `up` needs to know beyond supervisord's configuration."""

    services: tuple[Service, ...]
    broker: str
    broker_data: Path
    broker_format: tuple[str, ...]
    topics: dict[str, int]
    clickhouse_url: str
    clickhouse_database: str
    candles: CandleEngine
    exchanges: tuple[str, ...]
    timeout_s: float

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
                    ports=tuple(int(port) for port in entry["ports"]),
                    needs=tuple(entry["needs"]),
                    health_url=entry["health_url"] or None,
                    stop_stage=int(entry["stop_stage"]),
                )
                for entry in raw["services"]
            ),
            broker=raw["broker"],
            broker_data=Path(raw["broker_data"]),
            broker_format=tuple(raw["broker_format"]),
            topics={name: int(partitions) for name, partitions in raw["topics"].items()},
            clickhouse_url=raw["clickhouse_url"],
            clickhouse_database=raw["clickhouse_database"],
            candles=CandleEngine(raw["candles"]),
            exchanges=tuple(raw["exchanges"]),
            timeout_s=float(raw["timeout_s"]),
        )
