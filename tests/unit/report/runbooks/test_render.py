# SPDX-License-Identifier: Apache-2.0
"""Runbooks hold the profile's own names and the evidence's own numbers, for every runtime, and no secret."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.catalogue.load import load_catalogue
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.rules import rules_of
from ansible_collections.k2.hardening.plugins.module_utils.cli.inventory import load_profile
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.runbook.page import read_page
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.runbooks import (
    GENERAL,
    ON_CALL,
    known_runbooks,
    runbook_modes,
)
from ansible_collections.k2.hardening.plugins.module_utils.report.runbooks.measured import Evidence
from ansible_collections.k2.hardening.plugins.module_utils.report.runbooks.render import (
    Rendered,
    Wanted,
    page_texts,
    render_runbooks,
)
from ansible_collections.k2.hardening.plugins.module_utils.report.runbooks.shell import setup_lines

ROOT = Path(__file__).resolve().parents[4]
TEMPLATES = ROOT / "roles" / "runbooks" / "templates"
INVENTORIES = ("lab", "lab_docker", "k2_compose")
# A platform of another trade: nothing in it is called as in the others.
BETTING: dict[str, Any] = {
    "k2_platform": {"name": "betting", "scale": "full", "runtime": "systemd"},
    "k2_services": {
        "odds-api": {
            "kind": "service",
            "unit": "odds-api.service",
            "allow_faults": True,
            "probe": {"http": {"url": "http://127.0.0.1:8088/healthz", "contains": "up"}},
        },
        "ledger": {
            "kind": "database",
            "allow_faults": True,
            "port": 6379,
            "probe": {"tcp": {"host": "::1", "port": 6379}},
        },
    },
    "k2_failure_modes": {
        "odds_crash": {"services": ["odds-api"], "action": "kill", "max_recovery_s": 5},
        "ledger_frozen": {"services": ["ledger"], "action": "pause", "duration_s": 9, "max_recovery_s": 5},
        "ledger_cut": {"services": ["ledger"], "action": "disconnect", "duration_s": 9, "max_recovery_s": 5},
        "settlement_killed": {"action": "kill_run", "max_recovery_s": 5, "not_applicable": "settled by hand"},
    },
}


@pytest.fixture(params=(*INVENTORIES, "betting"))
def profile(request: pytest.FixtureRequest, k2_secrets: dict[str, str]) -> Profile:
    if request.param == "betting":
        return parse_profile(BETTING)
    return load_profile(str(ROOT / "inventory" / request.param), "localhost")


def texts(profile: Profile, artifacts: Path, run: Path | None = None) -> dict[str, str]:
    return page_texts(profile, Evidence(run, artifacts, profile.platform.name), TEMPLATES, "/state")


def blocks(text: str) -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_there_is_a_page_for_every_failure_and_every_page_can_be_followed(profile: Profile, tmp_path: Path) -> None:
    pages = texts(profile, tmp_path)
    modes = {mode.name: mode for mode in runbook_modes(profile)}
    assert {*modes, *GENERAL, "index", "on-call", "architecture"} == set(pages)
    for name, mode in modes.items():
        if mode.not_applicable is None:
            page = read_page(pages[name])
            assert page.symptoms, name
            assert page.resolution, name
        else:
            assert mode.not_applicable in pages[name] or "## Diagnosis" in pages[name]


def test_every_command_is_one_that_bash_can_read(profile: Profile, tmp_path: Path) -> None:
    for name, text in texts(profile, tmp_path).items():
        script = "\n".join(blocks(text))
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), f"{name}: {done.stderr}\n{script}"


def test_no_secret_is_in_any_page(profile: Profile, tmp_path: Path, k2_secrets: dict[str, str]) -> None:
    whole = "\n".join(texts(profile, tmp_path).values())
    assert not [secret for secret in k2_secrets.values() if secret in whole and secret != "somebody"]


def test_every_link_between_pages_leads_somewhere(profile: Profile, tmp_path: Path) -> None:
    pages = texts(profile, tmp_path)
    for name, text in pages.items():
        for target in re.findall(r"\]\(([\w-]+)\.md(?:#[\w-]+)?\)", text):
            assert target in pages, f"{name} links to {target}"


def test_every_alert_leads_to_a_page_and_that_of_a_failure_tells_of_it(profile: Profile, tmp_path: Path) -> None:
    pages = texts(profile, tmp_path)
    assert set(known_runbooks(profile)) <= set(pages)
    for rule in rules_of(load_catalogue(), profile).rules:
        if (url := rule.annotations.get("runbook_url")) is not None:
            assert url.rpartition("/")[2].removesuffix(".md") in pages, rule.name
    listed = pages[ON_CALL].partition("## Alerts")[2]
    for alert in load_catalogue().alerts.values():
        (page,) = re.findall(rf"^\| `{alert.name}` \|.*\]\(([\w-]+)\.md\) \|$", listed, re.MULTILINE)
        assert page == (alert.runbook if alert.runbook in pages else ON_CALL)
        if "## Related monitoring" in pages[page]:
            assert f"[{alert.name}](on-call.md#alerts)" in pages[page].partition("## Related monitoring")[2]


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_a_platform_of_streams_has_the_runbook_of_every_alert(inventory: str, k2_secrets: dict[str, str]) -> None:
    known = known_runbooks(load_profile(str(ROOT / "inventory" / inventory), "localhost"))
    alerts = load_catalogue().alerts
    assert {alert.runbook for alert in alerts.values()} <= set(known)
    assert alerts["ServiceOOMKill"].runbook == "oom_kill"
    assert alerts["MVProcessingDelay"].runbook == "candle_view_stall"


def test_related_monitoring_links_panels_and_the_drill_and_says_how_it_went(
    k2_secrets: dict[str, str], tmp_path: Path
) -> None:
    lab = load_profile(str(ROOT / "inventory" / "lab"), "localhost")
    drill = "failure mode [clickhouse_partition](clickhouse_partition.md), held for 60 s"

    def row() -> str:
        (found,) = re.findall(r"^\| \[MVProcessingDelay\].*$", texts(lab, tmp_path)["candle_view_stall"], re.MULTILINE)
        return found

    assert lab.alerting is not None
    assert f"[K2 / ClickHouse]({lab.alerting.grafana_url}/d/k2-clickhouse): Delay of materialised views, now" in row()
    assert row().endswith(f"| {drill}; not seen in any run that is kept |")
    run = tmp_path / "20260102T030405Z-abcdef"
    evidence(run, lab.platform.name, "S4.alert.MVProcessingDelay", measured=1, low=None, high=None, verdict="FAIL")
    assert row().endswith(f"| {drill}; FAIL in run `{run.name}`, 2026-01-02 |")


def test_what_was_not_measured_is_said_to_be_so(profile: Profile, tmp_path: Path) -> None:
    pages = texts(profile, tmp_path)
    for mode in runbook_modes(profile):
        if mode.not_applicable is None:
            # Of the whole page no number of seconds remains but those of commands and their waits.
            head = pages[mode.name].split("## Before you start")[0]
            assert not re.search(r"\d+(\.\d+)? s\b", head), head
            assert "not measured in any run that is kept" in head or mode.name == "crash"
    assert "Not measured in any run that is kept: run step S1" in pages["architecture"]


def evidence(run: Path, platform: str, gate: str, **changes: Any) -> None:
    """A run's evidence of one gate."""
    (run / "evidence").mkdir(parents=True, exist_ok=True)
    plain = {
        "schema": 1, "id": gate, "recorded": "2026-01-02T03:04:05.000000Z", "verdict": "PASS", "low": 1.25, "high": 2.5,
        "measured": 2.5, "target": 5.0, "unit": "s", "n": 1, "scale": "full", "detail": {},
    }  # fmt: skip
    (run / "evidence" / f"{gate}.json").write_text(json.dumps(plain | changes))
    (run / "results.json").write_text(json.dumps({"schema": 1, "profile": platform}))


def test_numbers_are_those_of_the_newest_run_against_this_platform(tmp_path: Path) -> None:
    profile = parse_profile(BETTING)
    evidence(tmp_path / "20260101T000000Z-aaaaaa", "betting", "S3.odds_crash.recovery", low=8.0, high=9.0)
    evidence(tmp_path / "20260102T000000Z-bbbbbb", "betting", "S3.odds_crash.recovery")
    evidence(tmp_path / "20260103T000000Z-cccccc", "another", "S3.odds_crash.recovery", low=6.0, high=7.0)
    evidence(
        tmp_path / "20260104T000000Z-dddddd", "betting", "S3.ledger_cut.recovery", low=None, high=None, measured=None
    )
    evidence(
        tmp_path / "20260102T000000Z-bbbbbb",
        "betting",
        "S3.odds_crash.detection",
        detail={"health": {"odds-api": {"low_s": 0.0, "high_s": 0.75}}, "alerts": None},
    )
    pages = texts(profile, tmp_path)
    assert "1.25 to 2.5 s (run `20260102T000000Z-bbbbbb`, 2026-01-02, n = 1)" in pages["odds_crash"]
    assert "0.00 to 0.75 s after the fault" in pages["odds_crash"]
    assert "| noticed by an alert | not measured" in pages["odds_crash"]
    assert "| measured recovery | not measured" in pages["ledger_cut"]
    own = texts(profile, tmp_path, tmp_path / "20260101T000000Z-aaaaaa")
    assert "8 to 9 s (run `20260101T000000Z-aaaaaa`" in own["odds_crash"]


def test_evidence_that_cannot_be_read_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    run = tmp_path / "artifacts" / "20260101T000000Z-aaaaaa"
    evidence(run, "betting", "S3.odds_crash.recovery")
    (run / "evidence" / "S3.odds_crash.recovery.json").write_text('{"schema": 1')
    with pytest.raises(K2Error, match=r"S3.odds_crash.recovery.json"):
        rendered(tmp_path, run.parent)
    assert not (tmp_path / "out").exists()


def rendered(tmp_path: Path, artifacts: Path, *, check: bool = False) -> Rendered:
    profile = parse_profile(BETTING)
    wanted = Wanted(tmp_path / "out" / "runbooks", TEMPLATES, "/state", None, check)
    return render_runbooks(profile, Evidence(None, artifacts, "betting"), wanted)


def test_a_second_time_nothing_changes_and_a_check_writes_nothing(tmp_path: Path) -> None:
    planned = rendered(tmp_path, tmp_path, check=True)
    assert planned.changed
    assert not (tmp_path / "out").exists()
    first = rendered(tmp_path, tmp_path)
    assert first.changed == planned.changed
    assert rendered(tmp_path, tmp_path).changed == ()
    stale = tmp_path / "out" / "runbooks" / "gone.md"
    stale.write_text("of a failure mode that there is no more")
    assert rendered(tmp_path, tmp_path, check=True).changed == (str(stale),)
    assert stale.exists()
    assert rendered(tmp_path, tmp_path).changed == (str(stale),)
    assert not stale.exists()


def test_commands_are_those_of_the_runtime(k2_secrets: dict[str, str], tmp_path: Path) -> None:
    k2 = load_profile(str(ROOT / "inventory" / "k2_compose"), "localhost")
    pages = texts(k2, tmp_path)
    assert "docker start k2-redpanda" in pages["broker_restart"]
    assert "docker network connect --ip 172.28.0.20" in pages["clickhouse_partition"]
    assert "nsenter -t" in pages["exchange_partition"]
    assert "supervisorctl" not in "".join(pages.values())
    assert "box" not in pages["broker_restart"]
    lab = texts(load_profile(str(ROOT / "inventory" / "lab_docker"), "localhost"), tmp_path)
    assert "docker start $(box kafka)" in lab["broker_restart"]
    assert "project=k2 --format '{{.Name}}' | head -n 1)" in lab["clickhouse_partition"]
    betting = texts(parse_profile(BETTING), tmp_path)
    assert "systemctl start odds-api.service" in betting["odds_crash"]
    assert "--[ds]port 6379" in betting["ledger_cut"]


# Says of a container called k2-kafka, whose key is kafka, what `docker ps` would: only with the filters that are given.
DOCKER = """\
#!/bin/sh
case "$*" in
  *"name=^/k2-kafka$"* | *"project=k2 --filter label=com.docker.compose.service=kafka"*) echo k2-kafka ;;
esac
"""


@pytest.mark.parametrize(("asked", "found"), [("kafka", "k2-kafka"), ("k2-kafka", "k2-kafka"), ("minio", "")])
def test_a_container_is_found_by_its_name_and_by_its_key(tmp_path: Path, asked: str, found: str) -> None:
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    lines = setup_lines(load_profile(str(ROOT / "inventory" / "lab_docker"), "localhost"), "box")
    done = subprocess.run(
        ["bash", "-c", "\n".join((*lines, f"box {asked}"))],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == found
