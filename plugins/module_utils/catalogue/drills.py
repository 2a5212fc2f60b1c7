# SPDX-License-Identifier: Apache-2.0
"""How each alert of a platform is drilled: by its fault where the platform has it, else by the series of its test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from ..profile.failures import CRASH, all_modes
from ..profile.model import FailureMode, Profile
from .alert import PLACEHOLDER, Catalogue, DrillKind, RuleCase, duration, seconds
from .parse import STEP_S
from .rules import Rule, RuleSet, expanded

# Metrics whose value is a Unix time are named so; promtool counts them from the beginning of a test.
_TIME = "_time"
# Thresholds in seconds are named so.
_SECONDS = "_s"
# A drill waits somewhat longer than its fault has to last.
_BEYOND_S = 60.0


def drill_plans(catalogue: Catalogue, rules: RuleSet, profile: Profile) -> list[dict[str, Any]]:
    """A plan for each deployed alert, as module ``k2_alert_drill`` takes it."""
    by_alert: dict[str, list[Rule]] = {}
    for rule in rules.rules:
        by_alert.setdefault(rule.name, []).append(rule)
    return [_plan(catalogue, own, profile) for own in by_alert.values()]


def _plan(catalogue: Catalogue, rules: Sequence[Rule], profile: Profile) -> dict[str, Any]:
    drill = rules[0].alert.drill
    mode, why_not = _mode(drill.mode, profile)
    if drill.kind is not DrillKind.SYNTHETIC and drill.mode is None:
        return {**_named(rules[0]), "always": True}
    if drill.kind is DrillKind.SYNTHETIC or mode is None:
        return {**_named(rules[0]), "synthetic": _synthetic(catalogue, rules[0], drill.reason or why_not)}
    rule = _of_mode(rules, mode)
    lasts_s = max(drill.hold_s or 0.0, mode.duration_s)
    longest_s = _longest_s(rule)
    if drill.kind in (DrillKind.HELD, DrillKind.SCALED) and longest_s > lasts_s + _BEYOND_S:
        why_not = f"{mode.name} would have to last {duration(round(longest_s))}"
        return {**_named(rules[0]), "synthetic": _synthetic(catalogue, rules[0], why_not)}
    return {
        **_named(rule),
        "of_service": "service" not in rule.labels,
        "mode": mode.name,
        "hold_s": drill.hold_s or 0.0,
    }


def _longest_s(rule: Rule) -> float:
    """How long the cause of an alert has to last by its own numbers: those in seconds and those that are times."""
    found = [0.0]
    for name, text in rule.alert.thresholds.items():
        if name.endswith(_SECONDS):
            found.append(float(text))
        elif text[-1:].isalpha():
            found.append(float(seconds(text)))
    return max(found)


def _named(rule: Rule) -> dict[str, Any]:
    """Labels that take their value from a series are not known before it is seen."""
    return {"name": rule.name, "labels": {name: value for name, value in rule.labels.items() if "{{" not in value}}


def _mode(name: Optional[str], profile: Profile) -> tuple[Optional[FailureMode], str]:
    """The failure mode that is to cause an alert, or why this platform has none."""
    if name is None:
        return None, ""
    crash = name == CRASH.rstrip("_")
    modes = [each for each in all_modes(profile) if each.name == name or (crash and each.name.startswith(CRASH))]
    if not modes:
        return None, f"the platform has no failure mode {name}"
    usable = [mode for mode in modes if mode.not_applicable is None and _available(profile, mode)]
    if not usable:
        return None, modes[0].not_applicable or f"what {name} breaks is not available here"
    return usable[0], ""


def _available(profile: Profile, mode: FailureMode) -> bool:
    return all(profile.services[name].not_available is None for name in mode.services)


def _of_mode(rules: Sequence[Rule], mode: FailureMode) -> Rule:
    """Of several rules of one alert, the one about what the mode breaks."""
    return next((rule for rule in rules if rule.labels.get("service") in mode.services), rules[0])


def _synthetic(catalogue: Catalogue, rule: Rule, why: str) -> dict[str, Any]:
    cases = rule.alert.cases
    quiet = cases.below.series if cases.below is not None else {}
    times = [name for case in (cases.fires.series, quiet) for name in case if _is_time(name, catalogue)]
    return {
        "why": why,
        "interval_s": STEP_S,
        "series": _expanded(cases.fires, rule),
        "at_s": cases.fires.at_s,
        "quiet": _expanded(cases.below, rule) if cases.below is not None else {},
        "epoch": list(dict.fromkeys(expanded(name, rule.values) for name in times)),
        "labels": {name: expanded(value, rule.values) for name, value in cases.fires.labels.items()},
    }


def _is_time(series: str, catalogue: Catalogue) -> bool:
    found = PLACEHOLDER.findall(series.partition("{")[0])
    return any(name in catalogue.metrics and name.endswith(_TIME) for name in found)


def _expanded(case: RuleCase, rule: Rule) -> dict[str, str]:
    return {expanded(name, rule.values): values for name, values in case.series.items()}
