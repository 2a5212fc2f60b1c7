# SPDX-License-Identifier: Apache-2.0
"""The role grafana against a real server: what it deployed is there, and what is wrong is refused or taken back."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from scenario import ETC, PLACE, URL, contents
from scenario import play as play_all
from testinfra.host import Host

OURS = {"k2-overview", "k2-oncall", "k2-resources"}
FOLDER = "k2"
MANIFEST = PLACE / "state" / "watched" / "grafana.json"
MINE = {"uid": "mine", "title": "Mine", "schemaVersion": 38, "panels": []}


def play(*arguments: str, **variables: object) -> tuple[int, str]:
    """The role alone: Prometheus is there since converge."""
    code, said = play_all("grafana", *arguments, scenario_grafana_alone=True, **variables)
    return code, " ".join(said.replace('\\"', '"').split())


def ask(path: str, method: str = "GET", document: object = None, password: str = "correct-horse") -> Any:
    key = base64.b64encode(f"admin:{password}".encode()).decode()
    body = None if document is None else json.dumps(document).encode()
    headers = {"Authorization": f"Basic {key}", "Content-Type": "application/json", "X-Grafana-NoCache": "true"}
    with urllib.request.urlopen(urllib.request.Request(URL + path, body, headers, method=method), timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def listed() -> dict[str, dict[str, Any]]:
    return {entry["uid"]: entry for entry in ask("/api/search?type=dash-db")}


def state() -> tuple[dict[str, str], dict[str, Any], Any, str | None]:
    """All that a refused play must leave as it is: files, dashboards, data sources, the record of what is ours."""
    dashboards = {uid: ask(f"/api/dashboards/uid/{uid}")["dashboard"]["version"] for uid in listed()}
    return contents(), dashboards, ask("/api/datasources"), MANIFEST.read_text() if MANIFEST.exists() else None


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Any:
    """Makes a dashboard's file of a text or a model."""

    def make(content: object, name: str = "mine.json") -> str:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return str(path)

    return make


def test_the_server_runs_and_listens_to_this_machine_only(host: Host) -> None:
    pid = (PLACE / "data" / "grafana.pid").read_text(encoding="ascii").strip()
    assert host.process.get(pid=pid).comm == "grafana"
    port = URL.rpartition(":")[2]
    assert host.socket(f"tcp://127.0.0.1:{port}").is_listening
    assert not host.socket(f"tcp://0.0.0.0:{port}").is_listening


def test_the_files_can_be_read_by_grafana_and_hold_no_password(host: Host) -> None:
    for name in (
        "dashboards/k2-hardening.yml",
        "datasources/k2-hardening.yml",
        "dashboards/k2-hardening/k2-oncall.json",
    ):
        file = host.file(str(ETC / name))
        assert file.mode == 0o644, name
        assert "correct-horse" not in file.content_string
    assert host.file(str(PLACE / "data" / "grafana.ini")).mode == 0o600


def test_dashboards_are_there_in_their_folder_and_tagged() -> None:
    found = listed()
    # Nothing here trades: of those dashboards no panel is left, so they are not deployed.
    assert set(found) == OURS
    for uid, entry in found.items():
        assert entry["folderUid"] == FOLDER, uid
        assert entry["tags"] == ["k2-hardening"], uid
        assert ask(f"/api/dashboards/uid/{uid}")["meta"]["provisioned"], uid


def test_the_data_source_can_be_queried() -> None:
    assert ask("/api/datasources/uid/k2-prometheus/health")["status"] == "OK"
    question = {"refId": "A", "datasource": {"uid": "k2-prometheus"}, "expr": "up", "instant": True}
    answer = ask("/api/ds/query", "POST", {"from": "now-1m", "to": "now", "queries": [question]})
    assert len(answer["results"]["A"]["frames"]) == 2


def test_a_check_changes_nothing_and_shows_the_difference(file: Any) -> None:
    before = state()
    code, said = play("--check", "--diff", k2_grafana_dashboard_files=[file(MINE)])
    assert code == 0, said
    assert '+ "title": "Mine"' in said
    assert state() == before


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"k2_grafana_data_sources": [{"uid": "k2-prometheus", "name": "B", "url": URL}]}, "uid 'k2-prometheus' twice"),
        (
            {"k2_grafana_data_sources": [{"uid": "b", "name": "K2 Prometheus", "url": URL}]},
            "name 'K2 Prometheus' twice",
        ),
        ({"k2_grafana_data_sources": [{"uid": "b", "nam": "B", "url": URL}]}, "nam"),
        ({"k2_grafana_pasword": "x"}, "did you mean 'k2_grafana_password'?"),
        ({"k2_grafana_password": "wrong", "k2_grafana_deploy": "existing"}, "as admin"),
        ({"k2_grafana_only": ["k2-overvieww"]}, "did you mean 'k2-overview'?"),
        ({"k2_grafana_provisioning_dir": "/proc/grafana", "k2_grafana_deploy": "existing"}, "files cannot be written"),
        ({"k2_grafana_provisioning_dir": ""}, "what is there came by provisioning files"),
        ({"k2_confirm": "another"}, "expected k2_confirm to be watched"),
        (
            {"k2_grafana_may_be_empty": [{"dashboard": "k2-oncall", "panel": "Watchdogg", "reason": "r"}]},
            "did you mean 'Watchdog'?",
        ),
    ],
    ids=[
        "two data sources with one uid",
        "two data sources with one name",
        "misspelt key",
        "misspelt variable",
        "wrong credentials",
        "unknown dashboard",
        "read-only directory",
        "other way",
        "another platform",
        "unknown panel",
    ],
)
def test_what_is_wrong_is_refused_and_nothing_changes(variables: dict[str, object], named: str) -> None:
    before = state()
    code, said = play(**variables)
    assert code != 0
    assert named in said
    assert state() == before


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('{"uid": "mine", "title": "Mine",', "dashboard mine.json: no JSON"),
        ({**MINE, "title": "k2 / on call "}, "title 'k2 / on call' twice"),
        ({**MINE, "uid": "k2-oncall"}, "dashboards k2-oncall and mine.json: uid 'k2-oncall' twice"),
        ({"title": "Mine"}, "dashboard mine.json: uid None"),
    ],
    ids=["broken JSON", "duplicate title", "duplicate uid", "no uid"],
)
def test_a_dashboard_that_is_wrong_is_refused_by_name(content: object, named: str, file: Any) -> None:
    before = state()
    code, said = play(k2_grafana_dashboard_files=[file(content)])
    assert code != 0
    assert named in said
    assert state() == before


def test_a_grafana_that_does_not_answer_is_told() -> None:
    gone = {"prometheus_url": "http://127.0.0.1:9", "grafana_url": "http://127.0.0.1:9"}
    code, said = play(k2_alerting=gone, k2_grafana_deploy="existing")
    assert code != 0
    assert "Grafana did not answer" in said
    assert "http://127.0.0.1:9" in said


def test_a_data_source_that_cannot_be_queried_is_taken_back() -> None:
    before = state()
    code, said = play(k2_grafana_prometheus_url="http://127.0.0.1:9", k2_grafana_verify_timeout=2)
    assert code != 0
    assert "data source 'K2 Prometheus' cannot be queried" in said
    assert "what was there before is back" in said
    files, _, sources, manifest = state()
    # Grafana counts versions on as it takes the old ones back.
    assert (files, manifest) == (before[0], before[3])
    assert [source["url"] for source in sources] == [source["url"] for source in before[2]]
    assert ask("/api/datasources/uid/k2-prometheus/health")["status"] == "OK"


def test_a_renamed_metric_fails_the_verification_by_the_panels_name() -> None:
    names = {
        "service_start_time": "process_start_time_seconds",
        "service_processes": "k2:service_processes",
        "service_cpu_seconds": "process_cpu_secondz_total",
        "service_memory_bytes": "process_resident_memory_bytes",
        "service_open_files": "process_open_fds",
    }
    code, said = play(k2_metric_names=names, k2_grafana_data_timeout=1)
    assert code != 0
    assert "k2-resources / CPU by service: no_frames" in said
    assert "Memory by service" not in said.partition("Expected data in every panel")[2]
    code, said = play()
    assert code == 0, said


def test_what_is_no_longer_wanted_goes_and_what_is_anothers_stays(file: Any) -> None:
    theirs = {"dashboard": {"uid": "theirs", "title": "Theirs", "panels": []}, "folderUid": FOLDER}
    ask("/api/dashboards/db", "POST", theirs)
    try:
        code, said = play(k2_grafana_only=["k2-oncall"], k2_grafana_dashboard_files=[file(MINE)])
        assert code == 0, said
        assert set(listed()) == {"k2-oncall", "mine", "theirs"}
        # In the way, theirs is refused by name.
        before = state()
        code, said = play(k2_grafana_dashboard_files=[file({**MINE, "uid": "theirs"})])
        assert code != 0
        assert "uid 'theirs' is that of 'Theirs' in folder 'K2', which is not ours" in said
        code, said = play(k2_grafana_dashboard_files=[file({**MINE, "title": "THEIRS"})])
        assert code != 0
        assert "title 'THEIRS' is taken in folder 'K2' by 'theirs'" in said
        assert state() == before
        code, said = play(k2_grafana_state="absent", k2_grafana_deploy="existing")
        assert code == 0, said
        assert set(listed()) == {"theirs"}
        assert ask("/api/datasources") == []
        assert ask(f"/api/folders/{FOLDER}")["title"] == "K2", "it is not empty"
        assert not [name for name in contents() if "k2-hardening" in name]
        assert not MANIFEST.exists()
    finally:
        ask("/api/dashboards/uid/theirs", "DELETE")
    # It is theirs since ours went, and with it a folder that is there before us.
    ask(f"/api/folders/{FOLDER}", "DELETE")
    code, said = play()
    assert code == 0, said


def test_through_the_api_it_is_the_same() -> None:
    api = {"k2_grafana_provisioning_dir": "", "k2_grafana_deploy": "existing"}
    assert play(k2_grafana_state="absent", k2_grafana_deploy="existing")[0] == 0
    assert listed() == {}
    code, said = play(**api)
    assert code == 0, said
    assert set(listed()) == OURS
    assert not ask("/api/dashboards/uid/k2-oncall")["meta"]["provisioned"]
    code, said = play(**api)
    assert "changed=0" in said, said
    # Somebody changed a dashboard on its page: it is put right.
    changed = ask("/api/dashboards/uid/k2-oncall")["dashboard"]
    ask("/api/dashboards/db", "POST", {"dashboard": {**changed, "panels": []}, "folderUid": FOLDER, "overwrite": True})
    code, said = play(**api)
    assert code == 0, said
    assert ask("/api/dashboards/uid/k2-oncall")["dashboard"]["panels"]
    before = state()[1:]
    code, said = play(k2_grafana_prometheus_url="http://127.0.0.1:9", k2_grafana_verify_timeout=2, **api)
    assert "what was there before is back" in said
    assert [source["url"] for source in state()[2]] == [source["url"] for source in before[1]]
    assert play(k2_grafana_state="absent", **api)[0] == 0
    assert listed() == {}
    assert ask("/api/datasources") == []
    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask(f"/api/folders/{FOLDER}")
    code, said = play()
    assert code == 0, said
    assert set(listed()) == OURS
