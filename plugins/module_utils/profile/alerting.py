# SPDX-License-Identifier: Apache-2.0
"""``k2_alerting``: the servers that watch the platform, where their configuration lies, and whom alerts reach."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional, Union

from ..core.suggest import did_you_mean
from .reader import Node
from .secret import secret

TEAM = "platform"
# As Prometheus writes it; the empty text matches, and is refused elsewhere.
DURATION = re.compile(r"^(\d+d)?(\d+h)?(\d+m)?(\d+s)?$")


class Deploy(enum.Enum):
    """Who runs a server: it is there already, or the role starts it."""

    EXISTING = "existing"
    PROCESS = "process"


@dataclass(frozen=True)
class Server:
    """A server whose configuration the roles own.

    ``directory`` holds the configuration on the target; ``seen_as`` is what the server calls it, where it is mounted
    into a container. ``shares_file`` leaves the configuration's file to others: only what lies beside it is owned.
    ``tool`` is the checker of the deployed version, with what runs it inside a container in front.
    ``program`` is what the role starts as a process, ``data`` where that keeps its state.
    """

    directory: str
    seen_as: str
    file: str
    shares_file: bool
    tool: tuple[str, ...]
    deploy: Deploy
    program: Optional[str]
    data: Optional[str]


@dataclass(frozen=True)
class Webhook:
    """POST to ``url``, which is a secret where it carries one."""

    url: str = secret()


@dataclass(frozen=True)
class Slack:
    """A channel, through an incoming webhook."""

    channel: str
    api_url: str = secret()


@dataclass(frozen=True)
class Email:
    """A mailbox, through a mail server."""

    to: str
    sender: str
    smarthost: str
    username: Optional[str]
    require_tls: bool
    password: Optional[str] = secret()


@dataclass(frozen=True)
class PagerDuty:
    """A service of PagerDuty by its integration key (Events API v2)."""

    url: Optional[str]
    routing_key: str = secret()


@dataclass(frozen=True)
class Telegram:
    """A chat, by a bot."""

    chat_id: int
    api_url: Optional[str]
    bot_token: str = secret()


Channel = Union[Webhook, Slack, Email, PagerDuty, Telegram]


@dataclass(frozen=True)
class Receiver:
    """Who hears of which alerts: those whose labels equal ``match``; all that nobody else matches where it is empty."""

    name: str
    match: Mapping[str, str]
    channel: Channel


@dataclass(frozen=True)
class Routing:
    """How alerts are put together and repeated; ``receiver`` hears what no receiver's ``match`` fits."""

    receiver: Optional[str]
    group_by: tuple[str, ...]
    group_wait: str
    group_interval: str
    repeat_interval: str


@dataclass(frozen=True)
class Alerting:
    """``k2_alerting``. ``thresholds`` override those of the catalogue, ``timings`` its ``for``, by alert.

    ``alertmanager_reached_at`` is Alertmanager's address as Prometheus reaches it.

    ``log_url`` is a webhook that keeps every notification, ``dead_mans_switch_url`` one outside that must keep hearing
    the Watchdog. ``not_applicable`` says why the platform does without an alert.
    """

    prometheus_url: Optional[str]
    alertmanager_url: Optional[str]
    grafana_url: Optional[str]
    team: str
    runbooks_url: Optional[str]
    scrape_interval: str
    evaluation_interval: str
    thresholds: Mapping[str, Mapping[str, str]]
    timings: Mapping[str, str]
    not_applicable: Mapping[str, str]
    prometheus: Optional[Server]
    alertmanager: Optional[Server]
    receivers: tuple[Receiver, ...]
    routing: Routing
    log_url: Optional[str]
    alertmanager_reached_at: Optional[str]
    dead_mans_switch_url: Optional[str] = secret()


def read_alerting(node: Node) -> Alerting:
    """``k2_alerting``."""
    thresholds = node.opt_node("thresholds")
    receivers = _read_receivers(node)
    routing = node.opt("routing", _read_routing) or Routing(None, ("alertname", "service"), "10s", "1m", "4h")
    _check_receivers(node, receivers, routing)
    return Alerting(
        prometheus_url=node.opt_url("prometheus_url"),
        alertmanager_url=node.opt_url("alertmanager_url"),
        grafana_url=node.opt_url("grafana_url"),
        team=node.opt_text("team") or TEAM,
        runbooks_url=node.opt_url("runbooks_url"),
        scrape_interval=_duration(node, "scrape_interval", "15s"),
        evaluation_interval=_duration(node, "evaluation_interval", "15s"),
        thresholds={} if thresholds is None else {name: _thresholds(thresholds, name) for name in thresholds.data},
        timings=_durations(node, "timings"),
        not_applicable=node.text_map("not_applicable"),
        prometheus=node.opt("prometheus", lambda inner: _read_server(inner, "prometheus.yml", "promtool")),
        alertmanager=node.opt("alertmanager", lambda inner: _read_server(inner, "alertmanager.yml", "amtool")),
        receivers=receivers,
        routing=routing,
        log_url=node.opt_url("log_url"),
        alertmanager_reached_at=node.opt_url("alertmanager_reached_at"),
        dead_mans_switch_url=_secret_url(node, "dead_mans_switch_url"),
    )


def _duration(node: Node, key: str, default: str) -> str:
    return node.opt_text(key, pattern=DURATION, what="a duration such as 30s or 5m") or default


def _durations(node: Node, key: str) -> dict[str, str]:
    inner = node.opt_node(key)
    return {} if inner is None else {str(name): _duration(inner, str(name), "0s") for name in inner.data}


def _thresholds(node: Node, alert: str) -> dict[str, str]:
    # What each may be is the catalogue's to say; here they are numbers, or durations as text.
    inner = node.opt_node(alert)
    found: dict[str, str] = {}
    for name in inner.data if inner is not None else ():
        assert inner is not None
        value = inner.data[name]
        if isinstance(value, str) and value and DURATION.match(value):
            found[str(name)] = inner.text(str(name))
        else:
            found[str(name)] = format(inner.number(str(name)), ".15g")
    return found


def _read_server(node: Node, file: str, tool: str) -> Server:
    directory = _path(node, "directory")
    deploy = node.choice("deploy", Deploy, default=Deploy.EXISTING)
    server = Server(
        directory=directory,
        seen_as=_path(node, "seen_as", default=directory),
        file=node.opt_text("file", pattern=re.compile(r"^[^/]+$"), what="a file's name in the directory") or file,
        shares_file=node.boolean("shares_file", default=False),
        tool=node.texts("tool") or (tool,),
        deploy=deploy,
        program=node.opt_text("program"),
        data=_path(node, "data", default="") or None,
    )
    for key, value in (("program", server.program), ("data", server.data)):
        if deploy is Deploy.PROCESS and value is None:
            node.reject(key, f"a value, since deploy is {deploy.value}", "nothing")
    return server


def _path(node: Node, key: str, default: Optional[str] = None) -> str:
    what = "a path that starts with /"
    pattern = re.compile(r"^/[^\n]*$")
    if default is None:
        return node.text(key, pattern=pattern, what=what)
    return node.opt_text(key, pattern=pattern, what=what) or default


def _secret_url(node: Node, key: str) -> Optional[str]:
    """A web address that no message may show."""
    if not node.has(key):
        return None
    value = node.secret(key)
    if value and not re.match(r"^https?://[^/\s]+", value):
        node.reject(key, "an address that starts http:// or https://", "another text (not shown)")
    return value or None


def _req_secret_url(node: Node, key: str) -> str:
    if not node.has(key):
        node.secret(key)
    return _secret_url(node, key) or ""


def _read_receivers(node: Node) -> tuple[Receiver, ...]:
    receivers: list[Receiver] = []
    for inner in node.each("receivers"):
        receiver = _read_receiver(inner)
        inner.finish()
        if receiver is None:
            continue
        if receiver.name in [other.name for other in receivers]:
            inner.reject("name", "distinct names", f"{receiver.name!r} a second time")
        receivers.append(receiver)
    return tuple(receivers)


def _read_receiver(node: Node) -> Optional[Receiver]:
    name = node.slug("name")
    match = node.text_map("match")
    given = [kind for kind in _CHANNELS if node.has(kind)]
    if len(given) != 1:
        node.reject("", f"exactly one of {', '.join(_CHANNELS)}", ", ".join(given) or "none of them")
        return None
    channel = node.opt(given[0], _CHANNELS[given[0]])
    return None if channel is None else Receiver(name, match, channel)


def _read_webhook(node: Node) -> Channel:
    return Webhook(_req_secret_url(node, "url"))


def _read_slack(node: Node) -> Channel:
    return Slack(channel=node.text("channel"), api_url=_req_secret_url(node, "api_url"))


def _read_email(node: Node) -> Channel:
    return Email(
        to=node.text("to"),
        sender=node.text("from"),
        smarthost=node.text("smarthost", pattern=re.compile(r"^[^\s:]+:\d+$"), what="host:port"),
        username=node.opt_text("username"),
        require_tls=node.boolean("require_tls", default=True),
        password=node.secret("password") if node.has("password") else None,
    )


def _read_pagerduty(node: Node) -> Channel:
    return PagerDuty(url=node.opt_url("url"), routing_key=node.secret("routing_key"))


def _read_telegram(node: Node) -> Channel:
    chat_id = node.data.get("chat_id")
    node.has("chat_id")
    if isinstance(chat_id, bool) or not re.match(r"^-?\d+$", str(chat_id)):
        node.reject("chat_id", "a whole number", repr(chat_id))
        chat_id = 0
    return Telegram(chat_id=int(str(chat_id)), api_url=node.opt_url("api_url"), bot_token=node.secret("bot_token"))


_CHANNELS = {
    "webhook": _read_webhook,
    "slack": _read_slack,
    "email": _read_email,
    "pagerduty": _read_pagerduty,
    "telegram": _read_telegram,
}


def _read_routing(node: Node) -> Routing:
    return Routing(
        receiver=node.opt_text("receiver"),
        group_by=node.texts("group_by") or ("alertname", "service"),
        group_wait=_duration(node, "group_wait", "10s"),
        group_interval=_duration(node, "group_interval", "1m"),
        repeat_interval=_duration(node, "repeat_interval", "4h"),
    )


def _check_receivers(node: Node, receivers: tuple[Receiver, ...], routing: Routing) -> None:
    names = [receiver.name for receiver in receivers]
    if routing.receiver is not None and routing.receiver not in names:
        hint = did_you_mean(routing.receiver, names)
        node.reject("routing.receiver", "a receiver of k2_alerting.receivers", repr(routing.receiver), hint)
    unmatched = [receiver.name for receiver in receivers if not receiver.match and receiver.name != routing.receiver]
    if len(unmatched) + (routing.receiver is not None) > 1:
        node.reject(
            "receivers", "one receiver at most without match: it hears what fits no other", ", ".join(unmatched)
        )
