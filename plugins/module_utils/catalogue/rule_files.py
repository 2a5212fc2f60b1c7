# SPDX-License-Identifier: Apache-2.0
"""Rules and their tests as the files that Prometheus and promtool read. On the controller only: a YAML library."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from .alert import Expect, RuleCase, duration
from .parse import STEP_S
from .rules import Recording, Rule, RuleSet, expanded

OWNER = "k2.hardening"
HEADER = f"# Made by {OWNER} from its catalogue of alerts: changes here are lost.\n"
ALERTS = "rules/k2_alerts.yml"
RECORDINGS = "rules/k2_recordings.yml"
# What promtool's tests are run on is not what Prometheus loads, where the profile has other numbers.
TESTED = "tests/k2_alerts.yml"
TESTS = "tests/k2_alerts_test.yml"
STEP = f"{STEP_S}s"


class _Dumper(yaml.SafeDumper):
    """Lists indented below their key, and no aliases, as people write it."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def text_of(document: Any) -> str:
    """A document as YAML with the owner's header."""
    return HEADER + str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True))


def rule_files(rules: RuleSet) -> dict[str, str]:
    """The files that Prometheus loads, by their path below its configuration."""
    files = {ALERTS: text_of(alert_groups(rules.rules))}
    if rules.recordings:
        files[RECORDINGS] = text_of({"groups": [recording_group(rules.recordings)]})
    return files


def rule_test_files(rules: RuleSet) -> dict[str, str]:
    """The files that ``promtool test rules`` reads, by path."""
    # Of an alert with several rules, for other exchanges or jobs, the others would fire in the tests of the first.
    first = tuple({rule.name: rule for rule in reversed(rules.tested)}.values())[::-1]
    return {TESTED: text_of(alert_groups(first)), TESTS: text_of(document_of_tests(first))}


def group_of(rule: Rule) -> str:
    """The group that a rule is evaluated in: one for each component."""
    return f"k2_{rule.alert.component}"


def alert_groups(rules: Iterable[Rule]) -> dict[str, Any]:
    """A rule file's document."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for rule in rules:
        groups.setdefault(group_of(rule), []).append(_plain(rule))
    return {"groups": [{"name": name, "rules": members} for name, members in groups.items()]}


def recording_group(recordings: Iterable[Recording]) -> dict[str, Any]:
    """The group of all recording rules."""
    return {"name": "k2_recordings", "rules": [{"record": each.record, "expr": each.expr} for each in recordings]}


def _plain(rule: Rule) -> dict[str, Any]:
    plain: dict[str, Any] = {"alert": rule.name, "expr": rule.expr}
    if rule.for_s:
        plain["for"] = duration(rule.for_s)
    if rule.keep_firing_for_s:
        plain["keep_firing_for"] = duration(rule.keep_firing_for_s)
    return {**plain, "labels": dict(rule.labels), "annotations": dict(rule.annotations)}


def document_of_tests(rules: Iterable[Rule]) -> dict[str, Any]:
    """Tests for promtool: three cases for each rule."""
    tests = []
    for rule in rules:
        cases = rule.alert.cases
        for name, case in (("fires", cases.fires), ("below", cases.below), ("absent", cases.absent)):
            if case is not None:
                tests.append(_test(rule, name, case))
    return {"rule_files": [TESTED.rpartition("/")[2]], "evaluation_interval": STEP, "tests": tests}


def _test(rule: Rule, name: str, case: RuleCase) -> dict[str, Any]:
    """ALERTS, and not promtool's own alert test, which would compare texts that people may word anew.

    What fires must carry the labels of the rule and of the case; what must not fire may not, whatever its labels.
    """
    labels: dict[str, str] = {}
    if case.expect is Expect.FIRING:
        # A label that is a template takes its value from the series: the case says which.
        labels = {label: value for label, value in rule.labels.items() if "{{" not in value}
        labels |= {label: expanded(value, rule.values) for label, value in case.labels.items()}
    named = {"alertname": rule.name, "alertstate": "firing", **labels}
    selector = ", ".join(f"{label}={_quoted(value)}" for label, value in named.items())
    return {
        "name": f"{rule.name} {name}",
        "interval": STEP,
        "input_series": [
            {"series": expanded(series, rule.values), "values": values} for series, values in case.series.items()
        ],
        "promql_expr_test": [
            {
                "expr": f"count(ALERTS{{{selector}}}) or vector(0)",
                "eval_time": duration(case.at_s),
                "exp_samples": [{"labels": "{}", "value": 1 if case.expect is Expect.FIRING else 0}],
            }
        ],
    }


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
