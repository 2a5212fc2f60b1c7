# SPDX-License-Identifier: Apache-2.0
"""The status server: what probes and Prometheus get from every program of the lab."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from k2lab.common.errors import LabError
from k2lab.common.status import Health, StatusServer


@pytest.fixture
def reasons() -> list[str]:
    return []


@pytest.fixture
def server(reasons: list[str]) -> Iterator[StatusServer]:
    registry = CollectorRegistry()
    Counter("demo_trades", "Trades.", registry=registry).inc(3)
    with StatusServer("demo", 0, lambda: Health.of(reasons, last_message_age_s=0.5), registry) as running:
        yield running


def get(server: StatusServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_healthy_program_answers_200_with_its_details(server: StatusServer) -> None:
    status, body = get(server, "/health")
    document = json.loads(body)
    assert status == 200
    assert (document["service"], document["status"], document["reasons"]) == ("demo", "ok", [])
    assert document["last_message_age_s"] == 0.5


def test_unhealthy_program_answers_503_and_says_why(server: StatusServer, reasons: list[str]) -> None:
    reasons.append("no trade for 12 s")
    status, body = get(server, "/health")
    assert status == 503
    assert json.loads(body)["reasons"] == ["no trade for 12 s"]


def test_metrics_are_in_prometheus_text_format(server: StatusServer) -> None:
    status, body = get(server, "/metrics")
    assert status == 200
    assert "demo_trades_total 3.0" in body


def test_unknown_path_is_404_and_query_is_ignored(server: StatusServer) -> None:
    assert get(server, "/nothing")[0] == 404
    assert get(server, "/health?verbose=1")[0] == 200


def test_a_defect_in_the_health_check_is_500_not_a_hang() -> None:
    def broken() -> Health:
        raise RuntimeError("defect")

    with StatusServer("demo", 0, broken, CollectorRegistry()) as running:
        assert get(running, "/health")[0] == 500


def test_taken_port_says_which_port_and_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(LabError, match=rf"127\.0\.0\.1:{port}.*what to do"):
            StatusServer("demo", port, Health).start()
