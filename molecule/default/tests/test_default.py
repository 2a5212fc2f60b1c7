# SPDX-License-Identifier: Apache-2.0
"""The three monitoring roles in one play, as the README shows it: what one deploys the others find, to the receiver."""

from __future__ import annotations

import base64
import json
import os
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from scenario import PLACE, eventually, get, webhook
from testinfra.host import Host

RECEIVER, GRAFANA = os.environ["K2_SCENARIO_RECEIVER"], os.environ["K2_SCENARIO_GRAFANA"]


def grafana(path: str) -> Any:
    key = base64.b64encode(b"admin:correct-horse").decode()
    request = urllib.request.Request(GRAFANA + path, headers={"Authorization": f"Basic {key}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def test_all_three_run(host: Host) -> None:
    for name in ("prometheus", "alertmanager", "grafana"):
        pid = (PLACE / name / "data" / f"{name}.pid").read_text(encoding="ascii").strip()
        assert host.process.get(pid=pid).comm == name


def test_prometheus_scrapes_all_three() -> None:
    def healthy() -> set[str]:
        return {
            each["labels"]["job"] for each in get("/api/v1/targets")["data"]["activeTargets"] if each["health"] == "up"
        }

    eventually(healthy, lambda jobs: jobs == {"prometheus", "alertmanager", "grafana"})


def test_dashboards_are_there_and_their_data_source_answers() -> None:
    assert {"k2-overview", "k2-oncall", "k2-resources"} <= {each["uid"] for each in grafana("/api/search?type=dash-db")}
    assert grafana("/api/datasources/uid/k2-prometheus/health")["status"] == "OK"


def test_an_alert_of_the_catalogue_goes_all_the_way() -> None:
    port = urlsplit(RECEIVER).port
    assert port is not None

    def arrived() -> list[Any]:
        alerts = [alert for _path, body in got for alert in json.loads(body).get("alerts", [])]
        return [alert for alert in alerts if alert["labels"]["alertname"] == "Watchdog"]

    with webhook(port) as got:
        first = eventually(arrived, bool, timeout_s=90)[0]
    assert first["status"] == "firing"
    assert first["annotations"]["runbook_url"].startswith("https://runbooks.example.org/")
