# SPDX-License-Identifier: Apache-2.0
"""Shorter waits change waits and nothing else; whatever else would change is seen by the structural comparison."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.scaling import (
    ROUTE_WAITS,
    RULE_WAITS,
    rule_differences,
    scaled_s,
    scaled_text,
    seconds,
    text_differences,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.prometheus import RuleGroupRun, RuleRun

RULES = """\
groups:
  - name: one
    rules:
      - alert: Down
        expr: up == 0
        for: 5m
        keep_firing_for: 1m30s
        labels:
          interval: 5m
        annotations:
          summary: "for: 5m"
          description: |
            it says
            for 5m
  - name: two
    interval: 30s
    rules:
      - alert: Gone
        expr: absent(up)
        for: 0s
"""
RULE = RuleRun("Down", "alerting", "up == 0", {"severity": "critical"}, {"summary": "x"}, 300.0, 0.0, "ok", "", ())
GROUP = RuleGroupRun("one", "rules.yml", 15.0, (RULE,))


@pytest.mark.parametrize(
    ("text", "amount"), [("5m", 300), ("1h30m", 5400), ("90s", 90), ("1d", 86400), ("500ms", 0.5), ("0", 0)]
)
def test_a_duration(text: str, amount: float) -> None:
    assert seconds(text) == amount


@pytest.mark.parametrize("text", ["", "5", "m5", "5 m", "-5m"])
def test_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("field", "was", "now"),
    [
        ("for", 300, 15),
        ("for", 10, 1),
        ("for", 0, 0),
        ("for", 0.5, 0.5),
        ("interval", 15, 1),
        ("group_interval", 60, 3),
        ("group_interval", 5, 2),
        ("repeat_interval", 14400, 10),
    ],
)
def test_a_wait_is_never_longer_and_never_none(field: str, was: float, now: float) -> None:
    assert scaled_s(field, was, 0.05) == now


def test_only_lines_with_waits_differ() -> None:
    shorter = scaled_text(RULES, RULE_WAITS, 0.05, group_interval_s=1).splitlines()
    assert shorter[2] == "    interval: 1s"
    del shorter[2]
    changed = [(was, now) for was, now in zip(RULES.splitlines(), shorter, strict=True) if was != now]
    assert changed == [
        ("        for: 5m", "        for: 15s"),
        ("        keep_firing_for: 1m30s", "        keep_firing_for: 4s"),
        # A label that is called so: the comparison of what runs refuses it.
        ("          interval: 5m", "          interval: 15s"),
        ("    interval: 30s", "    interval: 2s"),
    ] or changed == [pair for pair in changed if pair[0].strip().split(":")[0] in RULE_WAITS]


def test_waits_may_differ() -> None:
    now = replace(GROUP, interval_s=1.0, rules=(replace(RULE, duration_s=15.0, keep_firing_for_s=1.0),))
    waits, others = rule_differences([GROUP], [now])
    assert waits == ["Down: for 300 -> 15 s", "Down: keep_firing_for 0 -> 1 s", "one: interval 15 -> 1 s"]
    assert others == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"query": "up == 1"}, "Down: expression 'up == 0' became 'up == 1'"),
        ({"labels": {"severity": "warning"}}, "Down: labels"),
        ({"annotations": {}}, "Down: annotations"),
        ({"name": "Up"}, "one: rules Down became Up"),
        ({"kind": "recording"}, "Down: kind"),
    ],
)
def test_anything_else_is_seen(changed: dict[str, object], told: str) -> None:
    waits, others = rule_differences([GROUP], [replace(GROUP, rules=(replace(RULE, **changed),))])  # type: ignore[arg-type]
    assert waits == []
    assert len(others) == 1
    assert others[0].startswith(told)


def test_groups_that_come_and_go_are_seen() -> None:
    assert rule_differences([GROUP], [])[1] == ["group one of rules.yml is gone"]
    assert rule_differences([], [GROUP])[1] == ["group one of rules.yml is new"]


ROUTES = "route:\n  receiver: log\n  group_wait: 30s\n  repeat_interval: 4h\n"


def test_routes_with_shorter_waits_differ_in_these_alone() -> None:
    shorter = scaled_text(ROUTES, ROUTE_WAITS, 0.05)
    waits, others = text_differences(ROUTES, shorter, ROUTE_WAITS)
    assert waits == ["group_wait: 30s -> group_wait: 2s", "repeat_interval: 4h -> repeat_interval: 10s"]
    assert others == []


@pytest.mark.parametrize("other", [ROUTES.replace("log", "people"), ROUTES + "receivers: []\n"])
def test_routes_that_differ_in_more_are_seen(other: str) -> None:
    assert text_differences(ROUTES, other, ROUTE_WAITS)[1]
