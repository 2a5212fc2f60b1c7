# SPDX-License-Identifier: Apache-2.0
"""Who hears of which alert, and where secrets stand."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.k2.hardening.plugins.module_utils.catalogue.routing import alertmanager_files, reached
from ansible_collections.k2.hardening.plugins.module_utils.profile.alerting import Alerting
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import ProfileError, parse_profile

HOOK = {"url": "http://h/token"}
RECEIVERS = [
    {"name": "pager", "match": {"severity": "critical"}, "pagerduty": {"routing_key": "key"}},
    {
        "name": "chat",
        "match": {"team": "a", "severity": "critical"},
        "slack": {"channel": "#c", "api_url": "http://s/x"},
    },
    {"name": "rest", "webhook": HOOK},
]


def alerting(**section: Any) -> Alerting:
    profile = parse_profile(
        {
            "k2_platform": {"name": "p", "scale": "lab", "runtime": "docker"},
            "k2_services": {"s": {"kind": "service"}},
            "k2_alerting": section,
        }
    )
    assert profile.alerting is not None
    return profile.alerting


def test_the_log_stands_beside_every_route() -> None:
    section = alerting(receivers=RECEIVERS, log_url="http://log/")
    assert reached(section, {"alertname": "A", "severity": "critical", "team": "a"}) == ("k2-log", "pager", "chat")
    assert reached(section, {"alertname": "A", "severity": "critical"}) == ("k2-log", "pager")
    assert reached(section, {"alertname": "A", "severity": "info"}) == ("k2-log", "rest")
    document = yaml.safe_load(alertmanager_files(section, "/etc/a", "a.yml", secrets_inline=False).files["a.yml"])
    assert document["route"]["routes"][0] == {"receiver": "k2-log", "continue": True}


def test_the_watchdog_wakes_nobody() -> None:
    labels = {"alertname": "Watchdog", "severity": "critical"}
    assert reached(alerting(receivers=RECEIVERS), labels) == ("k2-nobody",)
    section = alerting(receivers=RECEIVERS, dead_mans_switch_url="http://alive/")
    assert reached(section, labels) == ("k2-dead-mans-switch",)


def test_without_receivers_alerts_are_kept_and_reach_nobody() -> None:
    assert reached(alerting(log_url="http://log/"), {"alertname": "A"}) == ("k2-log", "k2-nobody")


def test_secrets_stand_in_files_of_their_own_or_the_configuration_is_one() -> None:
    section = alerting(receivers=RECEIVERS)
    files = alertmanager_files(section, "/etc/a", "a.yml", secrets_inline=False)
    assert files.secret_files == {
        "secrets/pager.routing_key": "key",
        "secrets/chat.api_url": "http://s/x",
        "secrets/rest.url": "http://h/token",
    }
    assert "/etc/a/secrets/pager.routing_key" in files.files["a.yml"]
    assert "token" not in files.files["a.yml"]
    inline = alertmanager_files(section, "/etc/a", "a.yml", secrets_inline=True)
    assert inline.files == {}
    assert list(inline.secret_files) == ["a.yml"]


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"receivers": RECEIVERS, "routing": {"receiver": "pagr"}}, "seen 'pagr'; did you mean 'pager'?"),
        ({"receivers": [RECEIVERS[0], RECEIVERS[0]]}, "receivers[1].name: expected distinct names; seen 'pager'"),
        ({"receivers": [RECEIVERS[2], {"name": "b", "webhook": HOOK}]}, "one receiver at most without match"),
        ({"receivers": [{"name": "b"}]}, "exactly one of webhook, slack, email, pagerduty, telegram; seen none"),
        ({"receivers": [{"name": "b", "webhook": {"url": "h"}}]}, "receivers[0].webhook.url: expected an address"),
        ({"dead_mans_switch_url": "token"}, "another text (not shown)"),
        ({"prometheus": {"directory": "etc"}}, "prometheus.directory: expected a path that starts with /"),
        ({"prometheus": {"directory": "/e", "deploy": "process"}}, "prometheus.program: expected a value"),
        ({"scrape_interval": "15"}, "scrape_interval: expected a duration"),
    ],
    ids=[
        "receiver",
        "twice",
        "two defaults",
        "no kind",
        "no address",
        "no secret shown",
        "path",
        "program",
        "duration",
    ],
)
def test_what_is_wrong_is_refused_by_its_place(section: dict[str, Any], named: str) -> None:
    with pytest.raises(ProfileError) as refused:
        alerting(**section)
    assert named in str(refused.value)
