# SPDX-License-Identifier: Apache-2.0
"""Drills of alerts against real servers: Prometheus, Alertmanager and a receiver that keeps what arrives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Journal
from ansible_collections.k2.hardening.plugins.module_utils.measure.drill import drill as drill_module
from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.drill import drill
from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.plan import read_plans
from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.request import DrillRequest
from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.scaling import NotScalable
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.quiet import PlannedSilence
from ansible_collections.k2.hardening.plugins.module_utils.measure.leftovers import search_silences
from ansible_collections.k2.hardening.plugins.module_utils.platform.alertmanager import AlertmanagerClient
from ansible_collections.k2.hardening.plugins.module_utils.platform.prometheus import PrometheusClient
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import State
from ansible_collections.k2.hardening.plugins.module_utils.verdict.alert_drill import (
    missing_proofs,
    why_nothing_follows,
)
from ansible_collections.k2.hardening.plugins.module_utils.verdict.alert_facts import read_alert

from .runtimes import eventually
from .watched import Watched, received, watched

GONE = {
    "name": "ServiceGone",
    "labels": {"severity": "critical"},
    "of_service": True,
    "mode": "front_down",
    "hold_s": 5,
}
NEVER = {"name": "NeverFires", "labels": {"severity": "warning"}, "mode": "front_down"}
DISK = {'disk_free_bytes{service="s"}': "149x60", 'disk_size_bytes{service="s"}': "1000x60"}
FULL = {
    "name": "Full",
    "labels": {"severity": "warning"},
    "synthetic": {
        "why": "nobody fills a disk",
        "interval_s": 15,
        "at_s": 720,
        "series": DISK,
        "quiet": DISK | {'disk_free_bytes{service="s"}': "150x60"},
    },
}
UNKNOWN = {
    "name": "Unknown",
    "labels": {"severity": "warning"},
    "synthetic": {
        "why": "the watermark would have to be away for a quarter of an hour",
        "interval_s": 15,
        "at_s": 1020,
        "series": {"watermark_seconds": "60x3"},
        "quiet": {"watermark_seconds": "60x3"},
    },
}
WATCHDOG = {"name": "Watchdog", "labels": {"severity": "info"}, "always": True}
REQUEST = DrillRequest(fire_s=30, over_s=90, dead_man_s=20)
TOOL = """
import json, sys
from pathlib import Path
from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.drill import drill
from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.plan import read_plans
from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.request import DrillRequest
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
print("begins", flush=True)
profile, plans = parse_profile(json.loads(sys.argv[1])), read_plans(json.loads(sys.argv[2]))
drill(profile, plans, DrillRequest(fire_s=600), Path(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched(tmp_path_factory.mktemp("watched")) as found:
        yield found


@pytest.fixture(autouse=True)
def mended(platform: Watched) -> None:
    platform.mend()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "watched" / "undo")


def run(platform: Watched, tmp_path: Path, *plans: dict[str, Any], **alerting: Any) -> dict[str, Any]:
    return drill(platform.profile(**alerting), read_plans(plans), REQUEST, tmp_path)


def missing(found: dict[str, Any], name: str) -> tuple[list[str], list[str]]:
    alert = read_alert(next(each for each in found["alerts"] if each["name"] == name))
    return why_nothing_follows(alert), missing_proofs(alert)


@pytest.mark.slow
def test_a_whole_drill(platform: Watched, tmp_path: Path, journal: Journal) -> None:
    before = platform.rules.read_bytes(), platform.routes.read_bytes()
    found = run(platform, tmp_path, GONE, NEVER, FULL, UNKNOWN, WATCHDOG)
    assert [missing(found, name) for name in ("ServiceGone", "Full", "Unknown", "Watchdog")] == [([], [])] * 4
    doubt, (told,) = missing(found, "NeverFires")
    assert doubt == []
    assert told.startswith("did not fire while its cause was there; its evaluation: up{job=")
    assert "service=front is 0" in told
    gone = next(each for each in found["alerts"] if each["name"] == "ServiceGone")
    assert gone["caused_us"][0] < gone["seen"]["pending_us"] < gone["seen"]["firing_us"] < gone["seen"]["delivered_us"]
    assert (gone["for_s"], gone["drilled_for_s"]) == (300.0, 15.0)
    assert gone["runbook"] == {"url": f"{platform.url('front')}/gone", "reachable": True, "what": "status 200"}
    logged = [alert["labels"] for each in received(platform.folder) for alert in each["notification"]["alerts"]]
    assert {"k2_drill": "synthetic", "alertname": "Full", "severity": "warning", "service": "s"} in logged
    assert "ServiceGone: for 300 -> 15 s" in found["scaled"]["waits"]
    assert found["dead_man"]["cut_us"] < found["dead_man"]["noticed_us"] < found["dead_man"]["back_us"]
    # Nothing of it is left.
    assert found["not_put_back"] == []
    assert (platform.rules.read_bytes(), platform.routes.read_bytes()) == before
    assert journal.open_entries() == []
    assert platform.state("front") is State.RUNNING


def test_nothing_follows_from_an_alert_that_was_there_before_its_fault(
    platform: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drill_module, "_QUIET_S", 3.0)
    plan = {"name": "Watchdog", "labels": {"severity": "info"}, "mode": "front_down"}
    found = drill(platform.profile(), read_plans([plan]), DrillRequest(fire_s=5, over_s=10), tmp_path)
    doubt, _ = missing(found, "Watchdog")
    assert doubt == ["it was there before its fault, so nothing tells what that has caused"]


def test_a_text_in_which_more_than_waits_would_change_is_not_drilled(
    platform: Watched, tmp_path: Path, journal: Journal
) -> None:
    # A line of a text that looks like a wait: what runs then has another annotation.
    text = platform.rules.read_text().replace(
        "          summary: '{{ $labels.service }} is gone'\n",
        "          summary: |\n            it waits\n            for: 5m\n",
    )
    platform.rules.write_text(text)
    AlertmanagerClient(platform.url("alertmanager")).reload()
    PrometheusClient(platform.url("prometheus")).reload()
    with pytest.raises(NotScalable, match="ServiceGone: annotations"):
        run(platform, tmp_path, GONE)
    assert platform.rules.read_text() == text
    assert journal.open_entries() == []
    assert platform.state("front") is State.RUNNING


@pytest.mark.parametrize(
    ("alerting", "told"),
    [
        ({"prometheus_url": "http://127.0.0.1:1"}, "Prometheus did not answer"),
        ({"alertmanager_url": "http://127.0.0.1:1"}, "Alertmanager did not answer"),
        ({"log_url": "http://127.0.0.1:1"}, "the alert receiver did not answer"),
        ({"log_url": None}, "log_url missing"),
    ],
)
def test_a_server_that_cannot_be_asked_ends_it_before_anything_is_touched(
    platform: Watched, tmp_path: Path, journal: Journal, alerting: dict[str, Any], told: str
) -> None:
    before = platform.rules.stat().st_mtime_ns
    with pytest.raises(K2Error, match=told):
        run(platform, tmp_path, GONE, **alerting)
    assert platform.rules.stat().st_mtime_ns == before
    assert journal.open_entries() == []


def test_a_log_that_is_none_and_an_alert_that_nobody_deployed_end_it_too(platform: Watched, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("no notifications\n")
    request = DrillRequest(receiver=str(log))
    with pytest.raises(K2Error, match="no record of notifications"):
        drill(platform.profile(), read_plans([GONE]), request, tmp_path)
    with pytest.raises(K2Error, match="none of the alerts is deployed"):
        run(platform, tmp_path, {**GONE, "name": "Nobodys"})


def test_a_drill_that_is_killed_is_put_back_by_its_watchdogs(
    platform: Watched, tmp_path: Path, journal: Journal
) -> None:
    before = platform.rules.read_bytes(), platform.routes.read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-c", TOOL, json.dumps(platform.data()), json.dumps([NEVER]), str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )
    try:
        eventually(lambda: platform.state("front"), lambda state: state is State.STOPPED, 60)
        assert platform.rules.read_bytes() != before[0]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=20)
    eventually(journal.open_entries, lambda entries: not entries, 60)
    assert (platform.rules.read_bytes(), platform.routes.read_bytes()) == before
    assert platform.state("front") is State.RUNNING


def test_a_planned_fault_wakes_nobody_and_its_silence_is_taken_back(platform: Watched, journal: Journal) -> None:
    url = platform.url("alertmanager")
    with PlannedSilence(platform.profile(), journal, "run-1", "front_down on front", 600.0) as silence:
        (told,) = search_silences(url).open
        assert str(silence.silence_id) in told
        assert len(journal.open_entries()) == 1
    assert search_silences(url).open == ()
    assert journal.open_entries() == []
    assert silence.to_plain() == {"id": silence.silence_id, "why": ""}


def test_a_silence_that_died_with_its_alertmanager_is_taken_back_as_well(platform: Watched, journal: Journal) -> None:
    with PlannedSilence(platform.profile(), journal, "run-1", "crash of alertmanager", 600.0) as silence:
        pid = platform.runtime.pid("alertmanager")
        os.kill(pid, signal.SIGKILL)
        # Asked for its status: in between there is no process that could be named.
        eventually(lambda: platform.runtime.status("alertmanager").pid, lambda now: now not in (None, pid), 30)
        platform.await_up()
    assert journal.open_entries() == []
    assert silence.to_plain()["why"] == ""


def test_without_an_alertmanager_a_fault_goes_on_and_says_so(platform: Watched, journal: Journal) -> None:
    profile = platform.profile(alertmanager_url="http://127.0.0.1:1")
    with PlannedSilence(profile, journal, "", "x", 60.0) as silence:
        pass
    assert silence.silence_id is None
    assert "did not answer" in silence.why
