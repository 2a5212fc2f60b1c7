# SPDX-License-Identifier: Apache-2.0
"""The lab is watched: targets are scraped, alerts reach the receiver, and each process counts for its service."""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import psutil

from k2lab.control.lab import Lab as LabPlaces
from k2lab.control.supervisor import Supervisor

from .lab import Lab

KAFKA_EXPORTER, PROCESS_EXPORTER, PROMETHEUS, ALERTMANAGER, ALERT_RECEIVER, GRAFANA = 60, 61, 62, 63, 64, 65
# The broker is scraped once a minute.
SCRAPED_WITHIN_S = 75.0
DELIVERED_WITHIN_S = 30.0

T = TypeVar("T")


def get(lab: Lab, offset: int, path: str, **headers: str) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{lab.port(offset)}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


def post(lab: Lab, offset: int, path: str, document: object) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{lab.port(offset)}{path}",
        json.dumps(document).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10):
        pass


def eventually(look: Callable[[], T], is_right: Callable[[T], bool], timeout_s: float) -> T:
    deadline = time.monotonic() + timeout_s
    while not is_right(seen := look()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s; last seen: {seen}"
        time.sleep(0.5)
    return seen


def supervisor(lab: Lab) -> Supervisor:
    return Supervisor(LabPlaces.at(lab.directory))


def test_every_target_is_up(lab: Lab) -> None:
    def down() -> list[str]:
        targets = json.loads(get(lab, PROMETHEUS, "/api/v1/targets"))["data"]["activeTargets"]
        assert targets
        return [f"{each['scrapeUrl']}: {each['lastError']}" for each in targets if each["health"] != "up"]

    eventually(down, lambda seen: seen == [], SCRAPED_WITHIN_S)


def test_an_alert_reaches_the_receivers_record_with_its_labels(lab: Lab) -> None:
    begun = dt.datetime.now(dt.UTC)
    labels = {"alertname": "DeliveryTest", "service": "kafka", "case": uuid.uuid4().hex}
    alert = {"labels": labels, "endsAt": (begun + dt.timedelta(minutes=1)).isoformat()}
    post(lab, ALERTMANAGER, "/api/v2/alerts", [alert])

    def received() -> list[Any]:
        since = begun.strftime("%Y-%m-%dT%H:%M:%SZ")
        kept = json.loads(get(lab, ALERT_RECEIVER, f"/notifications?since={since}"))["notifications"]
        return [each for each in kept for alert in each["notification"]["alerts"] if alert["labels"] == labels]

    first = eventually(received, bool, DELIVERED_WITHIN_S)[0]
    assert first["notification"]["status"] == "firing"
    assert begun <= dt.datetime.fromisoformat(first["received_at"]) <= dt.datetime.now(dt.UTC)
    on_disk = (lab.directory / "data" / "alert-receiver" / "notifications.jsonl").read_text()
    assert labels["case"] in on_disk


def test_grafana_answers_its_administrator_only(lab: Lab) -> None:
    def status(**headers: str) -> int:
        try:
            get(lab, GRAFANA, "/api/org", **headers)
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    def basic(password: str) -> str:
        return "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()

    assert status() == 401
    assert status(Authorization=basic("admin")) == 401
    assert status(Authorization=basic(lab.secret("grafana_admin"))) == 200


def test_each_service_is_a_group_of_exactly_its_processes(lab: Lab) -> None:
    def both() -> tuple[dict[str, int], dict[str, int]]:
        text = get(lab, PROCESS_EXPORTER, "/metrics")
        found = re.findall(r'^namedprocess_namegroup_num_procs\{groupname="([^"]+)"\} (\d+)', text, re.MULTILINE)
        programs = supervisor(lab).programs()
        actual = {
            name: 1 + len(psutil.Process(program.pid).children(recursive=True)) for name, program in programs.items()
        }
        return {name: int(count) for name, count in found}, actual

    # Twice: a program may start a child between the two looks.
    eventually(both, lambda seen: seen[0] == seen[1], 20)


def test_the_processors_lag_is_told_by_topic_and_partition(lab: Lab) -> None:
    text = get(lab, KAFKA_EXPORTER, "/metrics")
    lag = re.findall(r"^kafka_consumergroup_uncommitted_offsets\{(.*)\} -?\d+", text, re.MULTILINE)
    ours = [labels for labels in lag if 'consumergroup="silver-processor"' in labels]
    topics = {name for labels in ours for name in re.findall(r'topic="([^"]+)"', labels)}
    assert topics == {f"market.crypto.trades.{name}.raw" for name in ("binance", "kraken", "coinbase")}
