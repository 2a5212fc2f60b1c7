# SPDX-License-Identifier: Apache-2.0
"""The role alertmanager against a real server: alerts reach whom they should, and what is wrong is refused."""

from __future__ import annotations

import datetime as dt
import json
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from scenario import ETC, PLACE, TOOLS, URL, contents, eventually, get, play, webhook
from testinfra.host import Host

ROLE = "alertmanager"
HOOK = {"url": "http://127.0.0.1:1/"}
SECRETS = ("the-routing-key", "the-slack-secret", "the-bot-token", "the-hook-secret", "the-mail-password")


@pytest.fixture(scope="module")
def delivered() -> Iterator[list[tuple[str, str]]]:
    """Path and body of everything that the receivers' webhook got."""
    port = urlsplit(URL).port
    assert port is not None
    with webhook(port + 1) as got:
        yield got


def send(**labels: str) -> None:
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=2)
    body = json.dumps([{"labels": labels, "endsAt": ends.isoformat()}]).encode()
    request = urllib.request.Request(f"{URL}/api/v2/alerts", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10):
        pass


def test_the_server_runs_and_secrets_are_its_owners_alone(host: Host) -> None:
    pid = (PLACE / "data" / "alertmanager.pid").read_text(encoding="ascii").strip()
    assert host.process.get(pid=pid).comm == "alertmanager"
    secrets = sorted(path.name for path in (ETC / "secrets").iterdir())
    assert secrets == [
        "bot.bot_token",
        "chat.api_url",
        "k2-dead-mans-switch.url",
        "office.auth_password",
        "on-call.routing_key",
        "tickets.url",
    ]
    for name in secrets:
        assert host.file(str(ETC / "secrets" / name)).mode == 0o600
    config = host.file(str(ETC / "alertmanager.yml")).content_string
    assert not [secret for secret in SECRETS if secret in config]


@pytest.mark.parametrize(
    ("labels", "paths"),
    [
        ({"severity": "critical", "component": "broker"}, {"/log", "/pagerduty"}),
        ({"severity": "warning", "component": "broker"}, {"/log", "/slack/the-slack-secret"}),
        (
            {"severity": "critical", "component": "monitoring"},
            {"/log", "/pagerduty", "/bot1:the-bot-token/sendMessage"},
        ),
        ({"severity": "info", "component": "host"}, {"/log", "/tickets/the-hook-secret"}),
    ],
    ids=["critical", "warning", "monitoring", "host"],
)
def test_an_alert_reaches_whom_it_should_and_nobody_else(
    delivered: list[tuple[str, str]], labels: dict[str, str], paths: set[str]
) -> None:
    name = "Test" + labels["severity"].title() + labels["component"].title()
    send(alertname=name, service="s", **labels)

    def reached() -> set[str]:
        return {path for path, body in delivered if name in body}

    assert eventually(reached, lambda seen: paths <= seen) == paths


def test_the_watchdog_goes_to_the_dead_mans_switch(delivered: list[tuple[str, str]]) -> None:
    send(alertname="Watchdog", severity="info", component="monitoring")
    reached = eventually(
        lambda: {path for path, body in delivered if "Watchdog" in body}, lambda seen: {"/log", "/alive"} <= seen
    )
    assert reached == {"/log", "/alive"}


def test_critical_inhibits_the_warning_of_the_same_alert_and_service() -> None:
    for severity in ("critical", "warning"):
        send(alertname="Both", service="one", severity=severity, component="broker")
    send(alertname="Both", service="two", severity="warning", component="broker")

    def inhibited() -> dict[tuple[str, str], bool]:
        return {
            (alert["labels"]["service"], alert["labels"]["severity"]): bool(alert["status"]["inhibitedBy"])
            for alert in get("/api/v2/alerts?filter=alertname=Both")
        }

    wanted = {("one", "critical"): False, ("one", "warning"): True, ("two", "warning"): False}
    assert eventually(inhibited, lambda seen: seen == wanted) == wanted


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        (
            {"receivers": [{"name": "a", "webhook": HOOK}], "routing": {"receiver": "b"}},
            "expected a receiver of k2_alerting.receivers; seen 'b'",
        ),
        ({"receivers": [{"name": "a", "webhok": HOOK}]}, "did you mean 'webhook'?"),
        ({"receivers": [{"name": "a", "pagerduty": {}}]}, "k2_alerting.receivers[0].pagerduty.routing_key"),
        ({"routing": {"group_wait": "soon"}}, "k2_alerting.routing.group_wait"),
        ({"log_url": "http://[::1"}, "amtool refuses the configuration"),
    ],
    ids=["unknown receiver", "misspelt kind", "no secret", "no duration", "refused by amtool"],
)
def test_what_is_wrong_is_refused_and_the_old_configuration_is_still_live(
    variables: dict[str, object], named: str
) -> None:
    before, live = contents(), get("/api/v2/status")["config"]["original"]
    common = {"alertmanager_url": URL, "log_url": "http://127.0.0.1:1/"}
    server = {"directory": str(ETC), "tool": [TOOLS["amtool"]]}
    code, said = play(ROLE, k2_alerting={**common, "alertmanager": server, **variables})
    assert code != 0
    assert named in " ".join(said.replace('\\"', '"').split()), said
    assert contents() == before
    assert get("/api/v2/status")["config"]["original"] == live


def test_an_alertmanager_that_does_not_answer_changes_nothing() -> None:
    before = contents()
    server = {"directory": str(ETC), "tool": [TOOLS["amtool"]]}
    code, said = play(ROLE, k2_alerting={"alertmanager_url": "http://127.0.0.1:1", "alertmanager": server})
    assert code != 0
    told = "Alertmanager did not answer; expected: an answer from http://127.0.0.1:1/api/v2/status within 10 s"
    assert told in " ".join(said.split()), said
    assert contents() == before


def test_no_secret_is_told(host: Host) -> None:
    code, said = play(ROLE, "-vvv", "--diff", k2_alertmanager_secrets="inline")
    assert code == 0, said
    assert not [secret for secret in SECRETS if secret in said]
    assert host.file(str(ETC / "alertmanager.yml")).mode == 0o600
    assert not (ETC / "secrets").exists() or not list((ETC / "secrets").iterdir())
    code, said = play(ROLE, "-vvv", "--diff")
    assert code == 0, said
    assert not [secret for secret in SECRETS if secret in said]
    assert host.file(str(ETC / "alertmanager.yml")).mode == 0o644
