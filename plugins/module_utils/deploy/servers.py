# SPDX-License-Identifier: Apache-2.0
"""What is particular to each server: its checks before, its reload, and what it must say afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from ..platform.alertmanager import AlertmanagerClient, config_hash
from ..platform.prometheus import ALERTING, RECORDING, PrometheusClient, RuleGroupRun, RuleRun
from .checker import Checker
from .expected import Expected, ExpectedRule

RULES_FILE = "rules/k2_alerts.yml"
# Where checks of the rules' tests find rules and tests, below the staged copy.
_TESTS = ".k2_tests"


class Server(Protocol):
    """A server whose configuration is deployed."""

    def check(self, stage: Path, checker: Checker, tests: Mapping[str, str], expected: Expected) -> None:
        """Have the staged copy checked by the server's own tool; raises CheckFailed."""

    def reload(self) -> None:
        """Have the server read its configuration; raises ApiUnreachable, ApiRefused."""

    def differences(self, root: Path, expected: Expected) -> list[str]:
        """What of ``expected`` the server does not run; what may only need time says so by being told again."""

    def reachable(self) -> str:
        """The server's version; raises ApiUnreachable."""


class PrometheusServer:
    """Prometheus, whose rules and targets the API tells in full."""

    def __init__(self, url: str, file: str, *, shares_file: bool) -> None:
        self._api = PrometheusClient(url)
        self._file = file
        self._shares_file = shares_file

    def check(self, stage: Path, checker: Checker, tests: Mapping[str, str], expected: Expected) -> None:
        """``check config`` on the whole copy, then the rules' own tests."""
        del expected
        if (stage / self._file).exists():
            checker.run("the configuration", "check", "config", checker.path(stage / self._file))
        if self._shares_file and (stage / RULES_FILE).exists():
            checker.run("the rules", "check", "rules", checker.path(stage / RULES_FILE))
        run_tests(stage, checker, tests)

    def reload(self) -> None:
        """See Server."""
        self._api.reload()

    def reachable(self) -> str:
        """See Server."""
        return self._api.version()

    def differences(self, root: Path, expected: Expected) -> list[str]:
        """See Server."""
        del root
        groups = self._api.rule_groups()
        ours = [group for group in groups if group.file.endswith(f"/{RULES_FILE}")]
        loaded = [(group, rule) for group in ours for rule in group.rules if rule.kind == ALERTING]
        found = self._rules(loaded, expected.rules)
        scraped = {(each.job, each.url) for each in self._api.targets()}
        found += [
            f"target {each.url} of job {each.job} is not scraped"
            for each in expected.targets
            if (each.job, each.url) not in scraped
        ]
        return found + [
            f"recording rule {rule.name}: {rule.error}"
            for group in groups
            for rule in group.rules
            if rule.kind == RECORDING and rule.health == "err"
        ]

    def _rules(self, loaded: list[tuple[RuleGroupRun, RuleRun]], expected: tuple[ExpectedRule, ...]) -> list[str]:
        found = []
        left = list(loaded)
        for rule in expected:
            same = next((each for each in left if self._is_same(*each, rule)), None)
            if same is None:
                found.append(f"rule {rule.name} of group {rule.group} is not loaded as rendered")
                continue
            left.remove(same)
            run = same[1]
            if run.health != "ok":
                found.append(f"rule {rule.name} is {run.health}: {run.error or 'not yet evaluated'}")
        return found + [f"rule {run.name} of group {group.name} is loaded and was not rendered" for group, run in left]

    def _is_same(self, group: RuleGroupRun, loaded: RuleRun, rule: ExpectedRule) -> bool:
        alike = (
            group.name == rule.group
            and loaded.name == rule.name
            and loaded.duration_s == rule.for_s
            and loaded.keep_firing_for_s == rule.keep_firing_for_s
            and dict(loaded.labels) == dict(rule.labels)
            and dict(loaded.annotations) == dict(rule.annotations)
        )
        if not alike or loaded.query == rule.expr:
            return alike
        return self._api.formatted(loaded.query) == self._api.formatted(rule.expr)


class AlertmanagerServer:
    """Alertmanager, which tells a hash of the configuration it runs on."""

    def __init__(self, url: str, file: str) -> None:
        self._api = AlertmanagerClient(url)
        self._file = file

    def check(self, stage: Path, checker: Checker, tests: Mapping[str, str], expected: Expected) -> None:
        """``check-config``, then whom each alert reaches."""
        del tests
        if not (stage / self._file).exists():
            return
        config = checker.path(stage / self._file)
        checker.run("the configuration", "check-config", config)
        run_routes(config, checker, expected)

    def reload(self) -> None:
        """See Server."""
        self._api.reload()

    def reachable(self) -> str:
        """See Server."""
        return self._api.version()

    def differences(self, root: Path, expected: Expected) -> list[str]:
        """See Server."""
        succeeded, running = self._api.loaded()
        found = [] if succeeded else ["the last reload failed"]
        if (root / self._file).exists() and running != config_hash((root / self._file).read_bytes()):
            found.append(f"it runs on another configuration than {root / self._file}")
        known = self._api.receivers()
        return found + [f"receiver {name} is not known" for name in expected.receivers if name not in known]


def run_tests(stage: Path, checker: Checker, tests: Mapping[str, str]) -> None:
    """``promtool test rules``; raises CheckFailed. The files stand in the copy only, never in the configuration."""
    if not tests:
        return
    place = stage / _TESTS
    names = write_tests(place, tests)
    checker.run("the rules' tests", "test", "rules", *(checker.path(name) for name in names))


def write_tests(place: Path, tests: Mapping[str, str]) -> list[Path]:
    """Write rules and tests for promtool; returns the files of tests."""
    found = []
    place.mkdir(mode=0o755, exist_ok=True)
    for path, text in tests.items():
        file = place / Path(path).name
        file.write_text(text, encoding="utf-8")
        file.chmod(0o644)
        if file.stem.endswith("_test"):
            found.append(file)
    return found


def run_routes(config: str, checker: Checker, expected: Expected) -> None:
    """``amtool config routes test`` for each alert; raises CheckFailed naming the alert."""
    for case in expected.routes:
        checker.run(
            f"the route of {case.labels.get('alertname', 'an alert')}",
            "config",
            "routes",
            "test",
            f"--config.file={config}",
            f"--verify.receivers={','.join(case.receivers)}",
            *(f"{name}={value}" for name, value in case.labels.items()),
        )
