# SPDX-License-Identifier: Apache-2.0
"""The webhook keeps each notification with its time, refuses what is none, and forgets only the oldest."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k2lab.alert_receiver.log import NAME, NotificationLog
from k2lab.alert_receiver.server import MAX_BODY_BYTES, Receiver, Server

FIRING = {"status": "firing", "alerts": [{"status": "firing", "labels": {"alertname": "A", "service": "kafka"}}]}
BIG = 1 << 20


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[Server]:
    with Server(0, Receiver(NotificationLog(tmp_path, BIG, 1))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: Server, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if answer.headers["Content-Type"] == "application/json" else text.decode()


def post(server: Server, message: object) -> tuple[int, Any]:
    return ask(server, "POST", "/", json.dumps(message).encode())


def test_a_notification_is_kept_and_told(server: Server) -> None:
    code, answer = post(server, FIRING)
    assert code == 200
    _, told = ask(server, "GET", "/notifications")
    [received] = told["notifications"]
    assert received["notification"] == FIRING
    assert received["received_at"] == answer["received_at"]
    assert received["monotonic_ns"] > 0
    assert received["remote"].startswith("127.0.0.1:")


def test_since_leaves_out_what_came_before(server: Server) -> None:
    post(server, FIRING)
    _, second = post(server, {**FIRING, "status": "resolved"})
    _, told = ask(server, "GET", f"/notifications?since={second['received_at']}")
    assert [each["notification"]["status"] for each in told["notifications"]] == ["resolved"]
    later = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert ask(server, "GET", f"/notifications?since={later}")[1] == {"notifications": []}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "a JSON object"),
        (b"[]", "a list 'alerts'"),
        (b'{"alerts": 1}', "a list 'alerts'"),
        (b'{"alerts": [1]}', "of objects"),
    ],
)
def test_what_is_no_notification_is_refused_and_not_kept(server: Server, body: bytes, words: str) -> None:
    code, answer = ask(server, "POST", "/", body)
    assert code == 400
    assert words in answer["error"]
    assert ask(server, "GET", "/notifications")[1] == {"notifications": []}


def test_a_body_that_is_too_large_is_refused_unread(server: Server) -> None:
    code, answer = ask(server, "POST", "/", b"", **{"Content-Length": str(MAX_BODY_BYTES + 1)})
    assert code == 413
    assert str(MAX_BODY_BYTES) in answer["error"]


@pytest.mark.parametrize("since", ["yesterday", "2026-01-01T00:00:00"])
def test_a_moment_without_a_zone_is_refused(server: Server, since: str) -> None:
    code, answer = ask(server, "GET", f"/notifications?since={since}")
    assert code == 400
    assert "RFC 3339" in answer["error"]


def test_health_and_metrics(server: Server) -> None:
    post(server, FIRING)
    assert ask(server, "GET", "/health")[1]["status"] == "ok"
    assert 'alert_receiver_alerts_total{status="firing"}' in ask(server, "GET", "/metrics")[1]
    assert ask(server, "GET", "/else")[0] == 404
    assert ask(server, "POST", "/else", b"")[0] == 404


def test_a_disk_that_takes_nothing_makes_it_unhealthy_until_it_does(server: Server, tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    assert post(server, FIRING)[0] == 500
    assert ask(server, "GET", "/health")[0] == 503
    (tmp_path / NAME).rmdir()
    assert post(server, FIRING)[0] == 200
    assert ask(server, "GET", "/health")[0] == 200


def test_the_log_is_bounded_and_loses_the_oldest_first(tmp_path: Path) -> None:
    log = NotificationLog(tmp_path, max_bytes=1, backups=2)
    for number in range(5):
        log.append({"alerts": [], "number": number}, "test")
    assert [each.notification["number"] for each in log.since(None)] == [2, 3, 4]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_line_cut_off_by_a_kill_costs_that_line_only(tmp_path: Path) -> None:
    NotificationLog(tmp_path, BIG, 1).append({"alerts": [], "number": 1}, "test")
    with (tmp_path / NAME).open("a") as handle:
        handle.write('{"received_at": "20')
    log = NotificationLog(tmp_path, BIG, 1)
    log.append({"alerts": [], "number": 2}, "test")
    assert [each.notification["number"] for each in log.since(None)] == [1, 2]
