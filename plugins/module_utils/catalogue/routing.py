# SPDX-License-Identifier: Apache-2.0
"""Alertmanager's configuration, and whom each alert must reach by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..profile.alerting import Alerting, Channel, Email, PagerDuty, Receiver, Slack, Telegram, Webhook
from .rule_files import text_of
from .rules import Rule

LOG = "k2-log"
DEAD_MANS_SWITCH = "k2-dead-mans-switch"
NOBODY = "k2-nobody"
WATCHDOG = "Watchdog"
SECRETS = "secrets"
# A Watchdog that is heard once in four hours is no proof of life.
_HEARTBEAT = {"group_wait": "0s", "group_interval": "1m", "repeat_interval": "1m"}


@dataclass(frozen=True)
class RouteTest:
    """An alert's labels, and the receivers that must hear of it, in the order of the routes."""

    labels: Mapping[str, str]
    receivers: tuple[str, ...]


@dataclass(frozen=True)
class AlertmanagerFiles:
    """The configuration and the files of secrets it names, by path below its directory."""

    files: Mapping[str, str]
    secret_files: Mapping[str, str]


def alertmanager_files(alerting: Alerting, directory: str, file: str, *, secrets_inline: bool) -> AlertmanagerFiles:
    """What Alertmanager reads. ``directory`` is what Alertmanager itself calls the directory of ``file``.

    With ``secrets_inline`` the configuration holds the secrets, and is one: for versions without ``..._file``.
    """
    secrets = _Secrets(directory, inline=secrets_inline)
    document = {
        "route": _route(alerting),
        "inhibit_rules": [
            {
                "source_matchers": ['severity="critical"'],
                "target_matchers": ['severity="warning"'],
                "equal": ["alertname", "service"],
            },
            {
                # What a service that is down cannot do needs no telling.
                "source_matchers": ['alertname="ServiceDown"'],
                "target_matchers": ['alertname=~"TargetDown|ServiceRestarted"'],
                "equal": ["service"],
            },
        ],
        "receivers": list(_receivers(alerting, secrets)),
    }
    text = text_of(document)
    holds_secrets = secrets_inline and secrets.seen
    return AlertmanagerFiles(
        files={} if holds_secrets else {file: text},
        secret_files={**secrets.files, **({file: text} if holds_secrets else {})},
    )


def route_tests(alerting: Alerting, rules: Iterable[Rule]) -> tuple[RouteTest, ...]:
    """One for every alert: whom its labels must reach."""
    tests: dict[str, RouteTest] = {}
    for rule in rules:
        labels = {"alertname": rule.name, **{key: value for key, value in rule.labels.items() if "{{" not in value}}
        tests.setdefault(rule.name, RouteTest(labels, reached(alerting, labels)))
    return tuple(tests.values())


def reached(alerting: Alerting, labels: Mapping[str, str]) -> tuple[str, ...]:
    """The receivers that an alert with these labels must reach."""
    names = [LOG] if alerting.log_url else []
    if labels["alertname"] == WATCHDOG:
        return (*names, DEAD_MANS_SWITCH if alerting.dead_mans_switch_url else NOBODY)
    matched = [each.name for each in _matching(alerting) if each.match.items() <= labels.items()]
    return (*names, *(matched or [_default(alerting)]))


def _default(alerting: Alerting) -> str:
    if alerting.routing.receiver is not None:
        return alerting.routing.receiver
    return next((each.name for each in alerting.receivers if not each.match), NOBODY)


def _matching(alerting: Alerting) -> tuple[Receiver, ...]:
    return tuple(each for each in alerting.receivers if each.match)


def _route(alerting: Alerting) -> dict[str, Any]:
    default = _default(alerting)
    routes: list[dict[str, Any]] = []
    if alerting.log_url:
        # Beside every route: what was delivered can be looked up.
        routes.append({"receiver": LOG, "continue": True})
    watchdog = DEAD_MANS_SWITCH if alerting.dead_mans_switch_url else NOBODY
    routes.append({"receiver": watchdog, "matchers": [f'alertname="{WATCHDOG}"'], **_HEARTBEAT})
    people: dict[str, Any] = {"receiver": default}
    matching = [
        {"receiver": each.name, "matchers": [_matcher(*pair) for pair in each.match.items()], "continue": True}
        for each in _matching(alerting)
    ]
    routes.append({**people, **({"routes": matching} if matching else {})})
    routing = alerting.routing
    return {
        "receiver": default,
        "group_by": list(routing.group_by),
        "group_wait": routing.group_wait,
        "group_interval": routing.group_interval,
        "repeat_interval": routing.repeat_interval,
        "routes": routes,
    }


def _matcher(label: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{label}="{escaped}"'


def _receivers(alerting: Alerting, secrets: _Secrets) -> Iterable[dict[str, Any]]:
    if alerting.log_url:
        yield {"name": LOG, "webhook_configs": [{"url": alerting.log_url, "send_resolved": True}]}
    if alerting.dead_mans_switch_url:
        address = secrets.put(DEAD_MANS_SWITCH, "url", alerting.dead_mans_switch_url)
        yield {"name": DEAD_MANS_SWITCH, "webhook_configs": [{**address, "send_resolved": False}]}
    yield {"name": NOBODY}
    for each in alerting.receivers:
        kind, config = _channel(each.name, each.channel, secrets)
        yield {"name": each.name, kind: [{**config, "send_resolved": True}]}


def _channel(name: str, channel: Channel, secrets: _Secrets) -> tuple[str, dict[str, Any]]:
    if isinstance(channel, Webhook):
        return "webhook_configs", secrets.put(name, "url", channel.url)
    if isinstance(channel, Slack):
        return "slack_configs", {"channel": channel.channel, **secrets.put(name, "api_url", channel.api_url)}
    if isinstance(channel, Email):
        config: dict[str, Any] = {
            "to": channel.to,
            "from": channel.sender,
            "smarthost": channel.smarthost,
            "require_tls": channel.require_tls,
        }
        if channel.username is not None:
            config["auth_username"] = channel.username
        if channel.password is not None:
            config |= secrets.put(name, "auth_password", channel.password)
        return "email_configs", config
    if isinstance(channel, PagerDuty):
        config = secrets.put(name, "routing_key", channel.routing_key)
        return "pagerduty_configs", config if channel.url is None else {**config, "url": channel.url}
    return "telegram_configs", _telegram(name, channel, secrets)


def _telegram(name: str, channel: Telegram, secrets: _Secrets) -> dict[str, Any]:
    config: dict[str, Any] = {"chat_id": channel.chat_id, **secrets.put(name, "bot_token", channel.bot_token)}
    return config if channel.api_url is None else {**config, "api_url": channel.api_url}


class _Secrets:
    """Puts each secret into a file of its own and names that file in the configuration; or puts it there itself."""

    def __init__(self, directory: str, *, inline: bool) -> None:
        self._directory = directory
        self._inline = inline
        self.files: dict[str, str] = {}
        self.seen = False

    def put(self, receiver: str, key: str, value: str) -> dict[str, str]:
        """The entry of the configuration."""
        self.seen = True
        if self._inline:
            return {key: value}
        path = f"{SECRETS}/{receiver}.{key}"
        self.files[path] = value
        return {f"{key}_file": f"{self._directory.rstrip('/')}/{path}"}
