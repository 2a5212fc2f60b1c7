# SPDX-License-Identifier: Apache-2.0
"""The clients of Prometheus, Alertmanager and the receiver against scripted servers; real ones are in integration."""

from __future__ import annotations

import json
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.leftovers import SILENCE_AUTHOR, search_silences
from ansible_collections.k2.hardening.plugins.module_utils.platform.alert_receiver import (
    AlertReceiver,
    ReceiverUnreadable,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.alertmanager import (
    AlertmanagerClient,
    Matcher,
    Silence,
    config_hash,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.http_api import (
    ApiRefused,
    ApiUnreachable,
    ApiUnreadable,
    BodyTooLarge,
    exchange,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.prometheus import ActiveTarget, PrometheusClient
from ansible_collections.k2.hardening.plugins.module_utils.platform.remote_write import encoded, literal_snappy, write

from .server import Script, serve

RULE = {
    "name": "Down",
    "type": "alerting",
    "query": "up == 0",
    "duration": 30,
    "labels": {"severity": "critical"},
    "annotations": {},
    "health": "ok",
    "alerts": [
        {
            "labels": {"alertname": "Down"},
            "annotations": {},
            "state": "firing",
            "activeAt": "2026-01-31T12:00:00.123456789Z",
            "value": "0e+00",
        }
    ],
}
GROUPS = {"groups": [{"name": "g", "file": "r.yml", "interval": 15, "rules": [RULE]}]}
MESSAGE = {
    "received_at": "2026-01-31T12:00:05.000000Z",
    "notification": {
        "receiver": "log",
        "alerts": [
            {"status": "firing", "labels": {"alertname": "Down"}, "startsAt": "2026-01-31T12:00:00.5Z"},
        ],
    },
}
AT_US = 1769860805 * 1_000_000


def success(data: Any) -> Script:
    return Script(body=json.dumps({"status": "success", "data": data}).encode())


def prometheus(script: Script) -> PrometheusClient:
    return PrometheusClient(f"http://127.0.0.1:{script.port}/")


def test_rules_as_prometheus_runs_them() -> None:
    with serve(success(GROUPS)) as script:
        ((group, rule),) = prometheus(script).alerting_rules()
    assert (group.name, group.interval_s, rule.duration_s, rule.keep_firing_for_s) == ("g", 15.0, 30.0, 0.0)
    assert rule.alerts[0].active_at_us == 1769860800123456


def test_raw_samples_of_a_range_and_a_value() -> None:
    answer = {"resultType": "matrix", "result": [{"metric": {"a": "b"}, "values": [[1.5, "2"], [2.5, "3"]]}]}
    with serve(success(answer)) as script:
        (one,) = prometheus(script).query("ALERTS[5m]")
    assert one.samples == ((1.5, "2"), (2.5, "3"))
    with serve(success({"resultType": "scalar", "result": [1, "7"]})) as script:
        assert prometheus(script).query("scalar(x)")[0].samples == ((1.0, "7"),)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"status": "error"}', b'{"status": "success", "data": {}}'])
def test_what_is_no_prometheus_is_told_apart(body: bytes) -> None:
    with serve(Script(body=body)) as script, pytest.raises(ApiUnreadable, match="not the API of Prometheus"):
        prometheus(script).rule_groups()


def test_a_refused_reload_has_the_servers_words() -> None:
    with serve(Script(status=500, body=b"couldn't load r.yml")) as script, pytest.raises(ApiRefused, match="load r"):
        prometheus(script).reload()
    with pytest.raises(ApiUnreachable, match="check that Prometheus runs"):
        PrometheusClient("http://127.0.0.1:1").rule_groups()


def test_a_refusal_says_what_was_expected_seen_and_to_do() -> None:
    with serve(Script(status=403)) as script, pytest.raises(ApiRefused) as refused:
        prometheus(script).reload()
    assert refused.value.status == 403
    assert refused.value.expected == f"status 200 from http://127.0.0.1:{script.port}"
    assert refused.value.seen == "status 403: no word"
    assert "log of Prometheus" in refused.value.action


def test_what_prometheus_runs_and_scrapes() -> None:
    answers = {
        "/api/v1/status/buildinfo": {"version": "3.5.0"},
        "/api/v1/targets?state=active": {"activeTargets": [{"scrapePool": "j", "scrapeUrl": "http://a/m", "x": 1}]},
        "/api/v1/alertmanagers": {"activeAlertmanagers": [{"url": "http://am/api/v2/alerts"}]},
    }
    bodies = {path: (200, success(data).body) for path, data in answers.items()}
    with serve(Script(by_path=bodies)) as script:
        client = prometheus(script)
        assert client.version() == "3.5.0"
        assert client.targets() == (ActiveTarget("j", "http://a/m"),)
        assert client.alertmanagers() == ("http://am/api/v2/alerts",)


def test_the_series_of_a_metric_are_counted() -> None:
    counted = {"resultType": "vector", "result": [{"metric": {}, "value": [1.5, "12"]}]}
    with serve(success(counted)) as script:
        assert prometheus(script).series_of("up") == 12
    assert "count%28%7B__name__%3D%22up%22%7D%29" in script.requests[0][0]
    with serve(success({"resultType": "vector", "result": []})) as script:
        assert prometheus(script).series_of("up") == 0


def test_expressions_as_the_server_prints_them() -> None:
    with serve(success("up == 0")) as script:
        assert prometheus(script).formatted("up==0") == "up == 0"
    with serve(Script(status=404, body=b"404 page not found")) as script:
        assert prometheus(script).formatted("up\n  == 0") == "up==0"
    with serve(Script(status=400, body=b"parse error")) as script, pytest.raises(ApiRefused, match="parse error"):
        prometheus(script).formatted("up ==")
    # Two expressions must never count as the same because both were answered with nothing.
    for body in (b'{"status": "success"}', b'{"status": "success", "data": null}'):
        with serve(Script(body=body)) as script, pytest.raises(ApiUnreadable):
            prometheus(script).formatted("up")


@pytest.mark.parametrize("ask", ["version", "targets", "alertmanagers"])
def test_an_answer_of_another_shape_is_not_guessed_at(ask: str) -> None:
    with serve(success([])) as script, pytest.raises(ApiUnreadable, match="not the API of Prometheus"):
        getattr(prometheus(script), ask)()


def test_an_answer_that_is_no_http_and_one_that_is_too_large() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"220 smtp ready\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ApiUnreachable, match="BadStatusLine"):
            PrometheusClient(f"http://127.0.0.1:{listener.getsockname()[1]}", 5).version()
        thread.join()
    with serve(Script(body=b" " * 1000)) as script, pytest.raises(BodyTooLarge, match="at most 999 bytes"):
        exchange("GET", f"http://127.0.0.1:{script.port}", "/", limit_bytes=999)


def test_a_path_below_a_path_and_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with serve(success({"version": "1"})) as script:
        assert PrometheusClient(f"http://127.0.0.1:{script.port}/prom/").version() == "1"
    assert script.requests[0][0] == "/prom/api/v1/status/buildinfo"


def alertmanager(script: Script) -> AlertmanagerClient:
    return AlertmanagerClient(f"http://127.0.0.1:{script.port}/")


def test_what_alertmanager_runs_on() -> None:
    content = b"route: {receiver: log}\n"
    metrics = (
        "# TYPE alertmanager_config_hash gauge\n"
        f"alertmanager_config_hash {float(config_hash(content))!r}\n"
        "alertmanager_config_last_reload_successful 0\n"
    )
    status = {"versionInfo": {"version": "0.28.1"}, "config": {"original": "route: {}"}}
    bodies = {
        "/api/v2/status": (200, json.dumps(status).encode()),
        "/api/v2/receivers": (200, b'[{"name": "log"}, {"name": "page"}]'),
        "/metrics": (200, metrics.encode()),
    }
    with serve(Script(by_path=bodies)) as script:
        client = alertmanager(script)
        assert (client.version(), client.config(), client.receivers()) == ("0.28.1", "route: {}", ("log", "page"))
        assert client.loaded() == (False, config_hash(content))


@pytest.mark.parametrize("ask", ["version", "config", "receivers", "silences", "loaded"])
def test_what_is_no_alertmanager_is_told_apart(ask: str) -> None:
    with serve(Script(body=b"[1]")) as script, pytest.raises(ApiUnreadable, match="not the API of Alertmanager"):
        getattr(alertmanager(script), ask)()


def silence(identity: str, author: str, state: str) -> dict[str, Any]:
    ends = "2026-01-31T12:00:00.000Z"
    return {"id": identity, "createdBy": author, "comment": "c", "endsAt": ends, "status": {"state": state}}


def test_only_our_own_silences_that_are_not_over_are_left_over() -> None:
    held = [
        silence("a", SILENCE_AUTHOR, "active"),
        silence("b", SILENCE_AUTHOR, "expired"),
        silence("c", "somebody", "active"),
        silence("d", SILENCE_AUTHOR, "pending"),
    ]
    with serve(Script(body=json.dumps(held).encode())) as script:
        place = search_silences(f"http://127.0.0.1:{script.port}/")
        assert alertmanager(script).silences()[2] == Silence("c", "somebody", "c", held[2]["endsAt"], "active")
    assert place.error is None
    assert [text.split()[1] for text in place.open] == ["a", "d"]
    assert place.open[0] == "silence a until 2026-01-31T12:00:00.000Z: c"


def test_silences_that_cannot_be_listed_are_no_proof_that_there_are_none() -> None:
    with serve(Script(body=b'[{"id": "a"}]')) as script:
        assert "cannot list silences" in str(search_silences(f"http://127.0.0.1:{script.port}").error)
    assert "check that Alertmanager runs" in str(search_silences("http://127.0.0.1:1").error)


def test_samples_that_are_not_taken() -> None:
    samples = [({"__name__": "m"}, [(1, 1.0)])]
    with serve(Script(status=204)) as script:
        write(f"http://127.0.0.1:{script.port}", samples)
    assert script.requests[0][0] == "/api/v1/write"
    assert script.requests[0][1]["Content-Encoding"] == "snappy"
    with serve(Script(status=400, body=b"out of order")) as script, pytest.raises(ApiRefused, match="out of order"):
        write(f"http://127.0.0.1:{script.port}", samples)
    with pytest.raises(ApiUnreachable, match=r"did not take samples.*do: check"):
        write("http://127.0.0.1:1", samples)


def test_a_silence_is_made() -> None:
    with serve(Script(body=b'{"silenceID": "s1"}')) as script:
        client = alertmanager(script)
        matchers = [Matcher("team", "t"), Matcher("alertname", "Watchdog", equal=False)]
        assert client.silence(matchers, AT_US, AT_US + 60_000_000, "me", "why") == "s1"
    body = json.loads(script.requests[0][2])
    assert [each["isEqual"] for each in body["matchers"]] == [True, False]
    assert (body["startsAt"], body["endsAt"]) == ("2026-01-31T12:00:05.000000Z", "2026-01-31T12:01:05.000000Z")


def test_what_arrived_by_http_and_by_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    # A kill may cut a line off; its sender repeats it.
    log.write_text('{"received_at": "2026\n' + json.dumps(MESSAGE) + "\n")
    with serve(Script(body=json.dumps({"notifications": [MESSAGE]}).encode())) as script:
        by_http = AlertReceiver(f"http://127.0.0.1:{script.port}/").since(AT_US)
    assert by_http == AlertReceiver(str(log)).since(AT_US)
    assert (by_http[0].received_us, by_http[0].status, by_http[0].starts_us) == (AT_US, "firing", AT_US - 4_500_000)
    assert AlertReceiver(str(log)).since(AT_US + 1) == ()


@pytest.mark.parametrize("text", ["no log\n", '{"received_at": "yesterday", "notification": {"alerts": []}}\n', "[]\n"])
def test_a_log_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    log = tmp_path / "log"
    log.write_text(text)
    with pytest.raises(ReceiverUnreadable):
        AlertReceiver(str(log)).since(0)


def test_no_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReceiverUnreadable, match="cannot be read"):
        AlertReceiver(str(tmp_path / "none")).since(0)


def test_a_sample_in_the_protocols_own_bytes() -> None:
    message = encoded([({"job": "j", "__name__": "m"}, [(300, 1.5)])])
    name, job = b"\n\x08__name__\x12\x01m", b"\n\x03job\x12\x01j"
    sample = b"\x09" + struct.pack("<d", 1.5) + b"\x10\xac\x02"
    labels = b"".join(b"\n" + bytes([len(each)]) + each for each in (name, job))
    series = labels + b"\x12" + bytes([len(sample)]) + sample
    assert message == b"\n" + bytes([len(series)]) + series


def test_literals_of_snappy_give_the_content_back() -> None:
    content = bytes(range(256)) * 300
    block = literal_snappy(content)
    # The length, then literals: a tag, their length less one, and their bytes.
    assert block[:3] == bytes([0x80, 0xD8, 0x04])
    found, at = b"", 3
    while at < len(block):
        assert block[at] == 61 << 2
        length = struct.unpack("<H", block[at + 1 : at + 3])[0] + 1
        found += block[at + 3 : at + 3 + length]
        at += 3 + length
    assert found == content
