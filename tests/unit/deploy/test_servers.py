# SPDX-License-Identifier: Apache-2.0
"""What a server runs against what it should, by its own word; the servers are scripted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.deploy.expected import (
    Expected,
    ExpectedRule,
    ExpectedTarget,
)
from ansible_collections.k2.hardening.plugins.module_utils.deploy.servers import (
    RULES_FILE,
    AlertmanagerServer,
    PrometheusServer,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.alertmanager import config_hash

from ..platform.server import Script, serve  # noqa: TID252 - tests are no package that has a name

RULES = "/api/v1/rules"
TARGETS = "/api/v1/targets?state=active"
DOWN: dict[str, Any] = {
    "name": "Down",
    "type": "alerting",
    "query": "up == 0",
    "duration": 60,
    "keepFiringFor": 30,
    "labels": {"severity": "critical"},
    "annotations": {"summary": "s"},
    "health": "ok",
    "alerts": [],
}
RECORD = {"name": "r", "type": "recording", "query": "up", "health": "err", "lastError": "many-to-many"}
EXPECTED = Expected(
    rules=(ExpectedRule("g", "Down", "up == 0", 60.0, 30.0, {"severity": "critical"}, {"summary": "s"}),),
    targets=(ExpectedTarget("j", "http://a/metrics"),),
)


def group(*rules: dict[str, Any], file: str = f"/etc/prometheus/{RULES_FILE}") -> dict[str, Any]:
    return {"name": "g", "file": file, "interval": 15, "rules": list(rules)}


def differences(
    *groups: dict[str, Any], targets: tuple[tuple[str, str], ...] = (("j", "http://a/metrics"),)
) -> list[str]:
    active = [{"scrapePool": job, "scrapeUrl": url} for job, url in targets]
    answers = {RULES: {"groups": list(groups)}, TARGETS: {"activeTargets": active}}
    bodies = {path: (200, json.dumps({"status": "success", "data": data}).encode()) for path, data in answers.items()}
    # What has no answer above is the printer of expressions, which an old server does not have.
    with serve(Script(status=404, by_path=bodies)) as script:
        server = PrometheusServer(f"http://127.0.0.1:{script.port}", "prometheus.yml", shares_file=False)
        return server.differences(Path("/etc/prometheus"), EXPECTED)


def test_rules_and_targets_as_rendered() -> None:
    assert differences(group(DOWN)) == []
    assert differences(group({**DOWN, "query": "up==0"})) == [], "other blanks are no other expression"
    assert differences(group(DOWN), group({**DOWN, "name": "Theirs"}, file="/etc/prometheus/theirs.yml")) == []


@pytest.mark.parametrize(
    "change",
    [
        {"duration": 61},
        {"keepFiringFor": 0},
        {"query": "up == 1"},
        {"labels": {"severity": "warning"}},
        {"annotations": {}},
        {"type": "recording"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_rule_that_differs_is_not_loaded_as_rendered(change: dict[str, Any]) -> None:
    assert "rule Down of group g is not loaded as rendered" in differences(group({**DOWN, **change}))


def test_what_a_server_does_not_run_is_told_one_by_one() -> None:
    assert differences(targets=()) == [
        "rule Down of group g is not loaded as rendered",
        "target http://a/metrics of job j is not scraped",
    ]
    assert differences(group(DOWN, {**DOWN, "name": "Old"})) == ["rule Old of group g is loaded and was not rendered"]
    assert differences(group({**DOWN, "health": "unknown"})) == ["rule Down is unknown: not yet evaluated"]
    assert differences(group({**DOWN, "health": "err", "lastError": "why"})) == ["rule Down is err: why"]
    assert differences(group(DOWN), group(RECORD, file="/etc/prometheus/theirs.yml")) == [
        "recording rule r: many-to-many"
    ]


def test_an_alertmanager_that_runs_on_something_else(tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_bytes(b"route: {receiver: log}\n")

    def differ(running: bytes, reloaded: int) -> list[str]:
        metrics = (
            f"alertmanager_config_hash {config_hash(running)}\nalertmanager_config_last_reload_successful {reloaded}\n"
        )
        bodies = {"/metrics": (200, metrics.encode()), "/api/v2/receivers": (200, b'[{"name": "log"}]')}
        with serve(Script(status=404, by_path=bodies)) as script:
            server = AlertmanagerServer(f"http://127.0.0.1:{script.port}", file.name)
            return server.differences(tmp_path, Expected(receivers=("log", "page")))

    unknown = "receiver page is not known"
    assert differ(file.read_bytes(), 1) == [unknown]
    assert differ(file.read_bytes(), 0) == ["the last reload failed", unknown]
    assert differ(b"route: {}", 1) == [f"it runs on another configuration than {file}", unknown]
