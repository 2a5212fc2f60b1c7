# SPDX-License-Identifier: Apache-2.0
"""The clients of Prometheus, Alertmanager and the receiver against scripted servers; real ones are in integration."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.platform.alert_receiver import (
    AlertReceiver,
    ReceiverUnreadable,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.alertmanager_api import AlertmanagerClient, Matcher
from ansible_collections.k2.hardening.plugins.module_utils.platform.http_api import (
    ApiRefused,
    ApiUnreachable,
    ApiUnreadable,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.prometheus_api import PrometheusClient
from ansible_collections.k2.hardening.plugins.module_utils.platform.remote_write import encoded, literal_snappy

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
        PrometheusClient("http://127.0.0.1:1").config()


def test_a_silence_is_made_and_expired() -> None:
    with serve(Script(body=b'{"silenceID": "s1"}')) as script:
        client = AlertmanagerClient(f"http://127.0.0.1:{script.port}")
        matchers = [Matcher("team", "t"), Matcher("alertname", "Watchdog", equal=False)]
        assert client.silence(matchers, AT_US, AT_US + 60_000_000, "me", "why") == "s1"
        client.expire("s1")
    body = json.loads(script.requests[0][2])
    assert [each["isEqual"] for each in body["matchers"]] == [True, False]
    assert (body["startsAt"], body["endsAt"]) == ("2026-01-31T12:00:05.000000Z", "2026-01-31T12:01:05.000000Z")
    assert script.requests[1][0] == "/api/v2/silence/s1"


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
