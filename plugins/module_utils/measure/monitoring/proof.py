# SPDX-License-Identifier: Apache-2.0
"""The state of alerting on a platform, without changing it."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ...core.clock import Deadline
from ...core.errors import K2Error
from ...deploy.checker import Checker
from ...deploy.errors import CheckFailed
from ...deploy.expected import Expected
from ...deploy.servers import AlertmanagerServer, PrometheusServer, run_routes, write_tests
from ...deploy.tree import WORK
from ...platform.prometheus import PrometheusClient

_PAUSE_S = 1.0
_TOLD = 3000


@dataclass(frozen=True)
class RulesSight:
    """The rules as Prometheus has them against those of the catalogue; ``error`` where it could not be asked."""

    version: str
    expected: int
    differences: tuple[str, ...]
    alertmanagers: tuple[str, ...]
    error: Optional[str]


@dataclass(frozen=True)
class TestsSight:
    """The rules' tests, and the mutants that they let live; ``failure`` is promtool's own account."""

    __test__ = False  # pytest takes the name for one of its classes

    cases: int
    failure: Optional[str]
    mutants: int
    survivors: tuple[str, ...]
    error: Optional[str]


@dataclass(frozen=True)
class MetricsSight:
    """The metrics that rules read: how many series each has, and the alerts that are blind without it."""

    series: Mapping[str, int]
    readers: Mapping[str, tuple[str, ...]]
    error: Optional[str]


@dataclass(frozen=True)
class AlertmanagerSight:
    """Whether Alertmanager runs what is on disk, and by it reaches whom it should."""

    version: str
    routes: int
    problems: tuple[str, ...]
    error: Optional[str]


def see_rules(url: str, shares_file: bool, file: str, root: Path, expected: Expected, wait_s: float) -> RulesSight:
    """Compare, until nothing differs or ``wait_s`` is over: a rule counts once it was evaluated."""
    server = PrometheusServer(url, file, shares_file=shares_file)
    api = PrometheusClient(url)
    try:
        version = server.reachable()
        found = _until(lambda: server.differences(root, expected), lambda seen: not seen, wait_s)
        return RulesSight(version, len(expected.rules), tuple(found), api.alertmanagers(), None)
    except K2Error as error:
        return RulesSight("", len(expected.rules), (), (), str(error))


def see_tests(checker: Checker, tests: Mapping[str, str], mutants: list[Mapping[str, Any]]) -> TestsSight:
    """Run the rules' tests, then those of each mutant, which must fail."""
    cases = sum(
        len(re.findall(r"^\s+-?\s*name: .* (?:fires|below|absent)$", text, re.MULTILINE)) for text in tests.values()
    )
    parent = None if checker.sees_everything else checker.here / WORK
    survivors = []
    try:
        with tempfile.TemporaryDirectory(prefix="k2_tests-", dir=parent) as place:
            Path(place).chmod(0o755)
            done = checker.attempt("test", "rules", *_paths(checker, Path(place) / "rules", tests))
            failure = None if done.returncode == 0 else f"{done.stdout}\n{done.stderr}".strip()[-_TOLD:]
            for number, mutant in enumerate(mutants if failure is None else ()):
                files = _paths(checker, Path(place) / str(number), mutant["files"])
                if checker.attempt("test", "rules", *files).returncode == 0:
                    survivors.append(str(mutant["name"]))
    except (OSError, CheckFailed) as error:
        return TestsSight(cases, None, 0, (), str(error))
    return TestsSight(cases, failure, len(mutants) if failure is None else 0, tuple(survivors), None)


def see_metrics(url: str, readers: Mapping[str, list[str]], wait_s: float) -> MetricsSight:
    """Look for each metric, until all are there or ``wait_s`` is over: some appear with the first scrape only."""
    api = PrometheusClient(url)
    plain = {name: tuple(alerts) for name, alerts in readers.items()}

    def count() -> dict[str, int]:
        return {name: api.series_of(name) for name in plain}

    try:
        return MetricsSight(_until(count, lambda seen: all(seen.values()), wait_s), plain, None)
    except K2Error as error:
        return MetricsSight({}, plain, str(error))


def see_alertmanager(url: str, file: Path, checker: Checker, expected: Expected) -> AlertmanagerSight:
    """Check the file on disk with amtool, its routes, and that the server runs it."""
    server = AlertmanagerServer(url, file.name)
    problems = []
    try:
        version = server.reachable()
        problems += server.differences(file.parent, expected)
        for check in (
            lambda: checker.run("the configuration", "check-config", checker.path(file)),
            lambda: run_routes(checker.path(file), checker, expected),
        ):
            try:
                check()
            except CheckFailed as error:
                problems.append(str(error))
    except (OSError, K2Error) as error:
        return AlertmanagerSight("", len(expected.routes), tuple(problems), str(error))
    return AlertmanagerSight(version, len(expected.routes), tuple(problems), None)


def _paths(checker: Checker, place: Path, files: Mapping[str, str]) -> list[str]:
    return [checker.path(file) for file in write_tests(place, files)]


def _until(look: Callable[[], Any], is_right: Callable[[Any], bool], wait_s: float) -> Any:
    deadline = Deadline.after(wait_s)
    while True:
        seen = look()
        if is_right(seen) or deadline.passed:
            return seen
        time.sleep(_PAUSE_S)
