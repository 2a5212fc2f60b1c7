# SPDX-License-Identifier: Apache-2.0
"""The lab as a crash test sees it: processes to kill, load to start and stop, and signs of recovery."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition

from k2lab.clickhouse_http import ClickHouse, ClickHouseError
from k2lab.common.errors import LabError
from k2lab.control.keeper import State
from k2lab.control.lab import Lab
from k2lab.control.plan import HOT, Plan
from k2lab.control.supervisor import Supervisor

SIMULATOR = "exchange-simulator"
PROCESSOR = "silver-processor"
HANDLER_PREFIX = "feed-handler-"
GROUP = "silver-processor"

_HTTP_TIMEOUT_S = 5.0
_QUERY_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Lag:
    """Records of the raw topics: how many there are, and how many the processor has not finished."""

    records: int
    unfinished: int


class Target:
    """A running lab under supervisord. Raises LabError in the constructor when it is not complete."""

    def __init__(self, lab_dir: Path) -> None:
        self.lab = Lab.at(lab_dir)
        self.plan = Plan.read(self.lab)
        self._supervisor = Supervisor(self.lab)
        self._health = {service.name: service.health_url for service in self.plan.services}
        # What trades pass through; the rest of the lab may be absent and is killed elsewhere.
        self.services = tuple(service.name for service in self.plan.services if service.part == HOT)
        self.exchanges = self.plan.exchanges
        self._raw_topics = {name: count for name, count in self.plan.topics.items() if name.endswith(".raw")}
        self._check_running()

    def clickhouse(self, timeout_s: float) -> ClickHouse:
        """A connection with the rights of the lab's own programs."""
        password = (self.lab.secrets / "clickhouse_default").read_text().strip()
        return ClickHouse(self.plan.clickhouse_url, "default", password, timeout_s)

    def running_pid(self, service: str) -> int | None:
        """The pid while supervisord has it running."""
        program = self._supervisor.program(service)
        return program.pid if program.state in (State.RUNNING, State.STARTING) and program.pid else None

    def restart(self, service: str, timeout_s: float) -> None:
        """Stop it in order and start it again. Raises LabError when it does not end."""
        self._supervisor.stop([service], timeout_s=timeout_s)
        self._supervisor.start(service)

    def exchanges_behind(self, service: str) -> tuple[str, ...]:
        """Whose trades stop when this service dies."""
        return (service.removeprefix(HANDLER_PREFIX),) if service.startswith(HANDLER_PREFIX) else self.exchanges

    def set_rate(self, trades_per_second: float) -> None:
        """Have the simulator send at this rate, split over the exchanges."""
        self._command("/rate", {"trades_per_second": trades_per_second})
        self._command("/start", {})

    def stop_load(self) -> None:
        """No more trades."""
        self._command("/stop", {})

    def freshest_us(self) -> dict[str, int]:
        """Exchange time of the newest trade in the one-minute candles, by exchange; empty while ClickHouse is away."""
        try:
            with self.clickhouse(_QUERY_TIMEOUT_S) as clickhouse:
                rows = clickhouse.rows(
                    "SELECT exchange, toUnixTimestamp64Micro(max(close_time)) "
                    f"FROM {self.plan.clickhouse_database}.ohlcv_1m WHERE window_start > now() - 600 GROUP BY exchange"
                )
        except ClickHouseError:
            return {}
        return {str(exchange): int(time_us) for exchange, time_us in rows}

    def lag(self) -> Lag:
        """Raises KafkaException while the broker is away."""
        consumer = Consumer({"bootstrap.servers": self.plan.broker, "group.id": GROUP, "enable.auto.commit": False})
        try:
            asked = [
                TopicPartition(topic, number) for topic, count in self._raw_topics.items() for number in range(count)
            ]
            committed = consumer.committed(asked, timeout=_QUERY_TIMEOUT_S)
            records = unfinished = 0
            for partition in committed:
                low, high = consumer.get_watermark_offsets(partition, timeout=_QUERY_TIMEOUT_S)
                records += high
                unfinished += high - max(partition.offset, low)
            return Lag(records, unfinished)
        finally:
            consumer.close()

    def drain(self, timeout_s: float, steady_s: float = 2.0) -> None:
        """Wait until no record has come for `steady_s` and all are finished. Raises LabError after timeout_s."""
        deadline = time.monotonic() + timeout_s
        records, since, seen = -1, time.monotonic(), "nothing yet"
        while time.monotonic() < deadline:
            try:
                lag = self.lag()
            except KafkaException as error:
                seen = str(error)
            else:
                if lag.records != records or lag.unfinished:
                    records, since = lag.records, time.monotonic()
                elif time.monotonic() - since >= steady_s:
                    return
                seen = f"{lag.unfinished} of {lag.records} records unfinished"
            time.sleep(0.1)
        raise LabError(
            f"the lab drained within {timeout_s:g} s of the end of the load", seen, f"see {self.lab.log(PROCESSOR)}"
        )

    def recoveries(self) -> dict[str, float]:
        """What the present processor found when it examined batches since its start: state to count."""
        url = self._health.get(PROCESSOR)
        if url is None:
            return {}
        try:
            with urllib.request.urlopen(url.replace("/health", "/metrics"), timeout=_HTTP_TIMEOUT_S) as answer:  # noqa: S310
                lines = answer.read().decode().splitlines()
        except (OSError, urllib.error.URLError):
            return {}
        name = "silver_processor_recoveries_total{found="
        pairs = (line.removeprefix(name).split("} ") for line in lines if line.startswith(name))
        return {state.strip('"'): float(count) for state, count in pairs}

    def _command(self, path: str, body: dict[str, float]) -> None:
        health = self._health[SIMULATOR]
        if health is None:
            raise LabError("the simulator's control address in run/lab.json", "no health_url", "run lab-up again")
        address = health.replace("/health", path)  # our own http address, from the lab's plan
        request = urllib.request.Request(address, json.dumps(body).encode(), method="POST")  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=_HTTP_TIMEOUT_S):  # noqa: S310
                return
        except (OSError, urllib.error.URLError) as error:
            raise LabError(f"the simulator to take {path}", str(error), f"see {self.lab.log(SIMULATOR)}") from error

    def _check_running(self) -> None:
        if not self._supervisor.answers():
            raise LabError(f"a running lab in {self.lab.directory}", "supervisord does not answer", "run: make lab-up")
        down = [service for service in self.services if self.running_pid(service) is None]
        if down:
            raise LabError(
                "every service of the hot path running", f"not running: {', '.join(down)}", "run: make lab-up"
            )
