# SPDX-License-Identifier: Apache-2.0
"""The generated rule tests hold by promtool, and each fails when a threshold of its alert is moved."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from ansible_collections.k2.hardening.plugins.module_utils.catalogue.load import load_catalogue
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.mutants import moves, mutants
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.rule_files import rule_files, rule_test_files
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.rules import RuleSet, rules_of
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def promtool() -> str:
    found = subprocess.run(
        [sys.executable, str(ROOT / "molecule" / "shared" / "tools.py")], check=True, capture_output=True, text=True
    )
    return str(json.loads(found.stdout)["promtool"])


@pytest.fixture(scope="module")
def everything() -> RuleSet:
    """All alerts of the catalogue, on a platform that has every metric under a name of its own."""
    catalogue = load_catalogue()
    profile = {
        "k2_platform": {"name": "p", "scale": "lab", "runtime": "docker"},
        "k2_services": {
            name: {"kind": "feed-handler", "exchange": name, "metrics": {"url": f"http://{name}:1/m", "job": name}}
            for name in ("a", "b")
        },
        "k2_metric_names": {name: f"its_{name}" for name in catalogue.metrics} | {"consumer_lag": "ends - done"},
        "k2_alerting": {"thresholds": {"BrokerConsumerLagHigh": {"lag": 7}}},
    }
    rules = rules_of(catalogue, parse_profile(profile))
    assert not rules.left_out
    return rules


def run(promtool: str, place: Path, files: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    for path, text in files.items():
        (place / path).parent.mkdir(exist_ok=True)
        (place / path).write_text(text, encoding="utf-8")
    tests = [str(place / path) for path in files if path.endswith("_test.yml")]
    return subprocess.run([promtool, "test", "rules", *tests], capture_output=True, text=True, check=False)


def test_promtool_takes_the_rules(promtool: str, everything: RuleSet, tmp_path: Path) -> None:
    for path, text in rule_files(everything).items():
        (tmp_path / Path(path).name).write_text(text, encoding="utf-8")
    files = [str(path) for path in tmp_path.iterdir()]
    done = subprocess.run([promtool, "check", "rules", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_all_cases_hold(promtool: str, everything: RuleSet, tmp_path: Path) -> None:
    done = run(promtool, tmp_path, rule_test_files(everything))
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_three_cases_for_every_alert_with_a_threshold(everything: RuleSet) -> None:
    document = yaml.safe_load(rule_test_files(everything)["tests/k2_alerts_test.yml"])
    names = {test["name"] for test in document["tests"]}
    for alert in {rule.name: rule.alert for rule in everything.rules}.values():
        assert {f"{alert.name} fires", f"{alert.name} absent"} <= names
        assert f"{alert.name} below" in names or not alert.thresholds


def test_no_moved_threshold_goes_unnoticed(promtool: str, everything: RuleSet, tmp_path: Path) -> None:
    survivors, tried = [], 0
    for number, mutant in enumerate(mutants(everything.tested)):
        place = tmp_path / str(number)
        place.mkdir()
        tried += 1
        if run(promtool, place, mutant.files).returncode == 0:
            survivors.append(mutant.name)
    assert survivors == []
    thresholds = {(rule.name, name) for rule in everything.rules for name in rule.alert.thresholds}
    assert tried == 2 * len(thresholds)


@pytest.mark.parametrize(
    ("said", "moved"),
    [
        ("1000", ("1250", "750")),
        ("0", ("1", "-1")),
        ("3", ("4", "2")),
        ("0.05", ("0.0625", "0.0375")),
        ("2m", ("2m30s", "1m30s")),
    ],
)
def test_how_a_threshold_is_moved(said: str, moved: tuple[str, str]) -> None:
    assert moves(said) == moved
