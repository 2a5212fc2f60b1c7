# SPDX-License-Identifier: Apache-2.0
"""Everything that one server needs, as plain data: what is written, what checks it, what it must say afterwards."""

from __future__ import annotations

from typing import Any

from ..core.errors import K2Error
from ..profile.alerting import Alerting, Deploy
from ..profile.model import Profile
from .alert import Catalogue
from .mutants import mutants
from .routing import alertmanager_files, route_tests
from .rule_files import group_of, rule_files, rule_test_files
from .rules import RuleSet, rules_of
from .scrape import config_text, targets


class NotDescribed(K2Error):  # noqa: N818 - see core.errors
    """The profile does not say what is needed to deploy a server."""


def server_of(profile: Profile, name: str) -> dict[str, Any]:
    """Where ``prometheus`` or ``alertmanager`` is and what runs it, without secrets; raises NotDescribed."""
    alerting = _alerting(profile)
    url = alerting.prometheus_url if name == "prometheus" else alerting.alertmanager_url
    server = alerting.prometheus if name == "prometheus" else alerting.alertmanager
    if url is None or server is None:
        raise _missing(name)
    return {
        "platform": profile.platform.name,
        "url": url,
        "directory": server.directory,
        "seen_as": server.seen_as,
        "file": server.file,
        "shares_file": server.shares_file,
        "tool": list(server.tool),
        "program": (server.program or "") if server.deploy is Deploy.PROCESS else "",
        "data": server.data or "",
    }


def prometheus_bundle(catalogue: Catalogue, profile: Profile) -> dict[str, Any]:
    """Rules, their tests, the configuration; raises NotDescribed, CatalogueError."""
    alerting = _alerting(profile)
    if alerting.prometheus_url is None or alerting.prometheus is None:
        raise _missing("prometheus")
    rules = rules_of(catalogue, profile)
    shares_file = alerting.prometheus.shares_file
    config = {} if shares_file else {alerting.prometheus.file: config_text(profile, alerting)}
    return {
        "files": {**config, **rule_files(rules)},
        "tests": rule_test_files(rules),
        "expected": {
            "rules": _expected_rules(rules),
            "targets": [] if shares_file else [{"job": each.job, "url": each.url} for each in targets(profile)],
        },
        "left_out": dict(rules.left_out),
    }


def alertmanager_bundle(catalogue: Catalogue, profile: Profile, *, secrets_inline: bool) -> dict[str, Any]:
    """The configuration, the files of secrets, whom each alert must reach; raises NotDescribed, CatalogueError."""
    alerting = _alerting(profile)
    if alerting.alertmanager_url is None or alerting.alertmanager is None:
        raise _missing("alertmanager")
    server = alerting.alertmanager
    files = alertmanager_files(alerting, server.seen_as, server.file, secrets_inline=secrets_inline)
    routes = route_tests(alerting, rules_of(catalogue, profile).rules)
    return {
        "files": dict(files.files),
        "secret_files": dict(files.secret_files),
        "expected": {
            "receivers": sorted({name for route in routes for name in route.receivers}),
            "routes": [{"labels": dict(each.labels), "receivers": list(each.receivers)} for each in routes],
        },
    }


def proof_bundle(catalogue: Catalogue, profile: Profile) -> dict[str, Any]:
    """What proves the rules of a platform: tests, mutants that they must kill, metrics that must exist."""
    rules = rules_of(catalogue, profile)
    return {
        "tests": rule_test_files(rules),
        "mutants": [{"name": each.name, "files": each.files} for each in mutants(rules.tested)],
        "metrics": {name: list(alerts) for name, alerts in rules.readers.items()},
        "rules": _expected_rules(rules),
        "left_out": dict(rules.left_out),
    }


def _expected_rules(rules: RuleSet) -> list[dict[str, Any]]:
    return [
        {
            "group": group_of(rule),
            "name": rule.name,
            "expr": rule.expr,
            "for_s": rule.for_s,
            "keep_firing_for_s": rule.keep_firing_for_s,
            "labels": dict(rule.labels),
            "annotations": dict(rule.annotations),
        }
        for rule in rules.rules
    ]


def _alerting(profile: Profile) -> Alerting:
    if profile.alerting is None:
        raise NotDescribed(
            "the profile has no k2_alerting",
            expected="the section k2_alerting",
            seen="none",
            action="see docs/monitoring.md",
        )
    return profile.alerting


def _missing(server: str) -> NotDescribed:
    return NotDescribed(
        f"the profile does not say where {server} is and where its configuration lies",
        expected=f"k2_alerting.{server}_url and k2_alerting.{server}.directory",
        seen="not both",
        action="see docs/monitoring.md",
    )
