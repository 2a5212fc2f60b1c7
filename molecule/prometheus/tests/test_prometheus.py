# SPDX-License-Identifier: Apache-2.0
"""The role prometheus against a real server: what it deployed runs, and what is wrong is refused."""

from __future__ import annotations

from typing import Any

import pytest
from scenario import ETC, PLACE, contents, eventually, get, play
from testinfra.host import Host

ROLE = "prometheus"
FOREIGN = "groups: [{name: theirs, rules: [{alert: Theirs, expr: vector(1)}]}]\n"
MANIFEST = ".k2_hardening/manifest.json"


def rules() -> dict[str, Any]:
    groups = get("/api/v1/rules?type=alert")["data"]["groups"]
    return {rule["name"]: rule for group in groups for rule in group["rules"]}


def test_the_server_runs_and_listens_to_this_machine_only(host: Host) -> None:
    pid = (PLACE / "data" / "prometheus.pid").read_text(encoding="ascii").strip()
    assert host.process.get(pid=pid).comm == "prometheus"
    assert "--web.listen-address=127.0.0.1:" in host.process.get(pid=pid).args


def test_the_files_are_readable_and_owned_by_whom_the_directory_is(host: Host) -> None:
    for name in ("prometheus.yml", "rules/k2_alerts.yml", "rules/k2_recordings.yml"):
        file = host.file(str(ETC / name))
        assert file.mode == 0o644
        assert file.user == host.file(str(ETC)).user


def test_every_rule_is_loaded_healthy_and_labelled() -> None:
    seen = rules()
    assert {"Watchdog", "TargetDown", "TargetMissing", "ServiceRestarted", "PrometheusBadConfig"} <= set(seen)
    assert "BrokerConsumerLagHigh" not in seen, "nothing here tells consumer lag"
    for name, rule in seen.items():
        assert rule["health"] == "ok", name
        assert {"severity", "component", "team"} <= set(rule["labels"]), name
        assert rule["annotations"]["runbook_url"].startswith("https://runbooks.example.org/"), name


def test_the_target_is_scraped_as_its_service() -> None:
    target = eventually(lambda: get("/api/v1/targets")["data"]["activeTargets"], bool)[0]
    assert (target["labels"]["job"], target["labels"]["service"], target["health"]) == (
        "prometheus",
        "prometheus",
        "up",
    )


def test_an_alert_fires() -> None:
    firing = eventually(
        lambda: [each["labels"]["alertname"] for each in get("/api/v1/alerts")["data"]["alerts"]],
        lambda seen: "Watchdog" in seen,
    )
    assert "TargetDown" not in firing


def test_a_check_changes_nothing_and_shows_the_difference() -> None:
    before = contents()
    names = {"service_start_time": "process_start_time_seconds", "service_processes": "min by (service) (up)"}
    code, said = play(ROLE, "--check", "--diff", k2_metric_names=names)
    assert code == 0, said
    assert "+        expr: min by (service) (up)" in said
    assert "changed=1" in said
    assert contents() == before


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"k2_metric_names": {"service_processes": "sum by (service (up)"}}, "k2:service_processes"),
        ({"k2_metric_names": {"servce_processes": "up"}}, "did you mean 'service_processes'?"),
        ({"k2_promtheus_state": "present"}, "did you mean 'k2_prometheus_state'?"),
        ({"k2_prometheus_state": "gone"}, "value of k2_prometheus_state must be one of: present, absent"),
        ({"k2_confirm": "another"}, "expected k2_confirm to be watched"),
    ],
    ids=["broken rule", "misspelt metric", "misspelt variable", "impossible state", "another platform"],
)
def test_what_is_wrong_is_refused_and_the_old_configuration_is_still_live(
    variables: dict[str, object], named: str
) -> None:
    before, live = contents(), {name: rule["query"] for name, rule in rules().items()}
    code, said = play(ROLE, **variables)
    assert code != 0
    assert named in " ".join(said.replace('\\"', '"').split()), said
    assert contents() == before
    assert {name: rule["query"] for name, rule in rules().items()} == live


def test_somebody_elses_rules_are_left_alone_and_go_on() -> None:
    theirs = ETC / "rules" / "theirs.yml"
    theirs.write_text(FOREIGN, encoding="utf-8")
    try:
        # One metric fewer: rules go, and what recorded it.
        code, said = play(ROLE, k2_metric_names={"service_start_time": "process_start_time_seconds"})
        assert code == 0, said
        assert not (ETC / "rules" / "k2_recordings.yml").exists(), "what we no longer have is pruned"
        assert theirs.read_text(encoding="utf-8") == FOREIGN
        assert {"Theirs", "ServiceRestarted"} <= set(rules())
        assert "ServiceDown" not in rules()
        # In the way, their file is refused by name.
        (ETC / "rules" / "k2_recordings.yml").write_text(FOREIGN, encoding="utf-8")
        code, said = play(ROLE)
        assert code != 0
        assert "rules/k2_recordings.yml is not ours to replace" in said
        assert (ETC / "rules" / "k2_recordings.yml").read_text(encoding="utf-8") == FOREIGN
    finally:
        theirs.unlink()
        (ETC / "rules" / "k2_recordings.yml").unlink(missing_ok=True)
    code, said = play(ROLE)
    assert code == 0, said
    assert "ServiceDown" in rules()


def test_a_metric_that_nothing_exports_fails_the_role_by_name() -> None:
    code, said = play(
        ROLE,
        k2_prometheus_metrics_timeout=2,
        k2_metric_names={"service_start_time": "process_start_time_secondz", "service_processes": "up"},
    )
    assert code != 0
    assert "process_start_time_secondz" in said
    code, said = play(ROLE)
    assert code == 0, said


def test_a_killed_deployment_is_put_back_by_the_next_one() -> None:
    """As a run leaves it that was killed after its first renaming."""
    config, work = ETC / "prometheus.yml", ETC / ".k2_hardening"
    good = config.read_text(encoding="utf-8")
    (work / "before").mkdir()
    (work / "before" / "prometheus.yml").write_text(good, encoding="utf-8")
    (work / "swap.json").write_text('{"touched": ["prometheus.yml"]}', encoding="utf-8")
    config.write_text("half a configuration", encoding="utf-8")
    code, said = play(ROLE)
    assert code == 0, said
    assert "killed in the middle" in said
    assert config.read_text(encoding="utf-8") == good
    assert not (work / "swap.json").exists()
