# SPDX-License-Identifier: Apache-2.0
"""From the plain catalogue to ``Catalogue``, or to all that is wrong with it at once, each by its entry's name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Optional

from ..core.errors import K2Error
from ..core.suggest import did_you_mean
from ..profile.reader import Node, Problem
from .alert import (
    GIVEN,
    PLACEHOLDER,
    Alert,
    Cases,
    Catalogue,
    Drill,
    DrillKind,
    Each,
    Expect,
    Metric,
    RuleCase,
    Severity,
    duration,
    seconds,
)

SCHEMA = 1
# The step of the series in rule tests, and of their evaluation.
STEP_S = 15
_ALERT_NAME = re.compile(r"^[A-Z][A-Za-z0-9]*$")
_METRIC_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
# What every alert has, from elsewhere: an entry cannot say it a second time.
_RESERVED = ("alertname", "severity", "component", "team")
_VALUE = re.compile(r"\$value|\.Value")


class CatalogueError(K2Error):
    """The catalogue of alerts cannot be used; ``problems`` holds every reason."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem" + ("s" if len(self.problems) != 1 else "")
        listing = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(f"the catalogue of alerts has {count}:{listing}")


def parse_catalogue(data: Mapping[str, Any]) -> Catalogue:
    """Read and check a whole catalogue.

    :raises CatalogueError: with every problem found, not only the first.
    """
    root = Node.root(data)
    if root.integer("schema") != SCHEMA:
        root.reject("schema", str(SCHEMA), repr(data.get("schema")))
    modes = root.texts("failure_modes")
    metrics = root.named("metrics", _read_metric)
    alerts = root.named("alerts", lambda name, node: _read_alert(name, node, modes, metrics))
    if not alerts and not root.problems:
        root.reject("alerts", "at least one alert", "none")
    root.finish()
    if root.problems:
        raise CatalogueError(root.problems)
    return Catalogue(failure_modes=modes, metrics=metrics, alerts=alerts)


def _read_metric(name: str, node: Node) -> Metric:
    if not _METRIC_NAME.match(name):
        node.reject("", "a name of small letters, digits and _", repr(name))
    return Metric(name, node.text("meaning"), node.texts("labels"))


def _read_alert(name: str, node: Node, modes: tuple[str, ...], metrics: Mapping[str, Metric]) -> Alert:
    if not _ALERT_NAME.match(name):
        node.reject("", "a name in CamelCase", repr(name))
    each = node.choice("each", Each) if node.has("each") else None
    alert = Alert(
        name=name,
        meta=node.boolean("meta", default=False),
        each=each,
        expr=node.text("expr"),
        thresholds=_read_thresholds(node, metrics, each),
        for_s=_time(node, "for"),
        keep_firing_for_s=_time(node, "keep_firing_for"),
        severity=node.choice("severity", Severity),
        component=node.slug("component"),
        labels=node.text_map("labels"),
        summary=node.text("summary"),
        description=node.text("description"),
        failure_modes=node.texts("failure_modes"),
        runbook=node.slug("runbook"),
        dashboard=node.slug("dashboard"),
        drill=node.req("drill", _read_drill) or Drill(DrillKind.LIVE, None, None, None),
        cases=node.req("tests", _read_cases) or _no_cases(),
    )
    _check_alert(alert, node, modes, metrics)
    return alert


def _read_thresholds(node: Node, metrics: Mapping[str, Metric], each: Optional[Each]) -> dict[str, str]:
    inner = node.opt_node("thresholds")
    if inner is None:
        return {}
    found: dict[str, str] = {}
    given = GIVEN[each] if each else ()
    for name in inner.data:
        value = threshold(inner, str(name))
        if name in metrics or name in given:
            inner.reject(str(name), "a name that no metric has and each does not give", repr(name))
        if value is not None:
            found[str(name)] = value
    return found


def threshold(node: Node, name: str) -> Optional[str]:
    """A number, or a duration such as 2m, as the text that stands in an expression; None when it was refused."""
    value = node.data[name]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = node.opt_number(name)
        return None if number is None else format(number, ".15g")
    if isinstance(value, str) and re.match(r"^\d+(\.\d+)?$", value):
        node.has(name)
        return value
    return node.opt_parsed(name, "a number, or a duration such as 2m", lambda text: duration(seconds(text)))


def _time(node: Node, key: str, *, required: bool = False) -> int:
    what = "a duration such as 5m"
    if required and not node.has(key):
        node.text(key, what=what)
    text = node.opt_parsed(key, what, lambda text: str(seconds(text)))
    return int(text) if text else 0


def _read_drill(node: Node) -> Drill:
    drill = Drill(
        kind=node.choice("how", DrillKind),
        mode=node.opt_text("mode"),
        hold_s=node.opt_number("hold_s", low=0.001, unit="seconds"),
        reason=node.opt_text("reason"),
    )
    held = drill.kind in (DrillKind.HELD, DrillKind.SCALED)
    if held and (drill.mode is None or drill.hold_s is None):
        node.reject("", f"a mode and hold_s, since it is {drill.kind.value}", "not both")
    if not held and drill.hold_s is not None:
        node.reject("hold_s", "none, since nothing is held", repr(drill.hold_s))
    if (drill.kind is DrillKind.SYNTHETIC) != (drill.reason is not None):
        node.reject("reason", "a reason where the drill is synthetic, and only there", repr(drill.reason))
    return drill


def _read_cases(node: Node) -> Cases:
    fires = node.req("fires", lambda inner: _read_case(inner, Expect.FIRING))
    below = node.opt("below", lambda inner: _read_case(inner, Expect.SILENT))
    absent = node.req("absent", lambda inner: _read_case(inner, inner.choice("expect", Expect)))
    nothing = _no_cases().fires
    return Cases(fires or nothing, below, absent or nothing)


def _read_case(node: Node, expect: Expect) -> RuleCase:
    at_s = _time(node, "at", required=True)
    if at_s % STEP_S:
        node.reject("at", f"a multiple of {STEP_S}s, at which rules are evaluated", repr(node.data.get("at")))
    return RuleCase(at_s=at_s, series=_series(node), expect=expect, labels=node.text_map("labels"))


def _series(node: Node) -> dict[str, str]:
    # Values such as 1x3 are text, but a lone number is not.
    inner = node.opt_node("series")
    if inner is None:
        return {}
    for name, value in inner.data.items():
        if not isinstance(value, str) or not value:
            inner.reject(str(name), "values in promtool's notation, such as 0+10x20", repr(value))
    return {str(name): str(value) for name, value in inner.data.items()}


def _no_cases() -> Cases:
    nothing = RuleCase(0, {}, Expect.SILENT, {})
    return Cases(nothing, None, nothing)


def _check_alert(alert: Alert, node: Node, modes: tuple[str, ...], metrics: Mapping[str, Metric]) -> None:
    for mode in alert.failure_modes:
        if mode not in modes:
            node.reject("failure_modes", "failure modes of the catalogue", repr(mode), did_you_mean(mode, modes))
    if alert.drill.mode is not None and alert.drill.mode not in modes:
        hint = did_you_mean(alert.drill.mode, modes)
        node.reject("drill.mode", "a failure mode of the catalogue", repr(alert.drill.mode), hint)
    for label, value in alert.labels.items():
        if label in _RESERVED:
            node.reject(f"labels.{label}", "a label that is not given otherwise", repr(label))
        if _VALUE.search(value):
            node.reject(f"labels.{label}", "no value in a label: each value would be an alert of its own", repr(value))
    known = {*metrics, *alert.thresholds, *(GIVEN[alert.each] if alert.each else ())}
    for name in sorted(alert.placeholders | _in_cases(alert.cases)):
        if name not in known:
            node.reject("", "placeholders that are metrics, thresholds or given by each", f"[[{name}]]")
    used = set(PLACEHOLDER.findall(alert.expr))
    for name in alert.thresholds:
        if name not in used:
            node.reject(f"thresholds.{name}", "a threshold that stands in expr", "none there")
    if alert.thresholds and alert.cases.below is None:
        node.reject("tests.below", "a test just below the threshold", "none")


def _in_cases(cases: Cases) -> set[str]:
    texts = [
        text
        for case in (cases.fires, cases.below, cases.absent)
        if case is not None
        for text in (*case.series, *case.labels.values())
    ]
    return {name for text in texts for name in PLACEHOLDER.findall(text)}
