# SPDX-License-Identifier: Apache-2.0
"""The lab's one list of services, and what is made from it, agree with the inventory that describes the lab."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from lab_role import ROOT, RenderedLab

BASE = 31000
KNOWN_NEEDS = {"topics", "schema", "candles"}
MONITORING = {"kafka-exporter", "process-exporter", "prometheus", "alertmanager", "alert-receiver", "grafana"}


@pytest.fixture(name="lab")
def _lab(tmp_path: Path) -> RenderedLab:
    return RenderedLab(tmp_path, {"k2_lab_base_port": BASE})


@pytest.fixture(name="described")
def _described(lab: RenderedLab) -> dict[str, Any]:
    inventory = ROOT / "inventory" / "lab"
    lab.define({"inventory_dir": str(inventory), **lab.read(inventory / "group_vars" / "all" / "services.yml")})
    services: dict[str, Any] = lab.render("{{ k2_services }}")
    return services


def test_inventory_and_lab_know_the_same_services(lab: RenderedLab, described: dict[str, Any]) -> None:
    assert described.keys() == lab.services().keys()


def test_the_inventory_names_ports_the_services_listen_on(lab: RenderedLab, described: dict[str, Any]) -> None:
    for name, service in lab.services().items():
        assert int(described[name]["port"]) in service["ports"], name


def test_what_is_scraped_is_what_the_inventory_says(lab: RenderedLab, described: dict[str, Any]) -> None:
    scraped = {
        config["labels"]["service"]: (job["job_name"], config["targets"][0], job["metrics_path"])
        for job in lab.file("monitoring/prometheus.yml.j2")["scrape_configs"]
        for config in job["static_configs"]
    }
    urls = {name: entry["metrics"] for name, entry in described.items() if "metrics" in entry}
    expected = {
        name: (metrics["job"], urlsplit(metrics["url"]).netloc, urlsplit(metrics["url"]).path)
        for name, metrics in urls.items()
    }
    assert scraped == expected


def test_ports_belong_to_one_service_and_to_the_labs_block(lab: RenderedLab) -> None:
    ports = [port for service in lab.services().values() for port in service["ports"]]
    assert len(ports) == len(set(ports))
    parts = lab.render("{{ __lab_parts }}")
    assert {port - BASE for port in ports} == {offset for part in parts.values() for offset in part["offsets"]}
    assert all(0 < port - BASE < 70 for port in ports)


def test_needs_name_what_there_is(lab: RenderedLab) -> None:
    entries = lab.render("{{ __lab_entries }}")
    names = {entry["name"] for entry in entries} | KNOWN_NEEDS
    tools = {tool for part in lab.render("{{ __lab_parts }}").values() for tool in part["tools"]}
    for entry in entries:
        assert set(entry.get("needs", [])) <= names, entry["name"]
        assert set(entry.get("tools", [])) <= tools, entry["name"]


def test_each_service_is_a_group_that_matches_its_own_command_line_only(lab: RenderedLab) -> None:
    groups = lab.file("monitoring/process-exporter.yml.j2")["process_names"]
    services = lab.services()
    assert [group["name"] for group in groups] == list(services)
    for group in groups:
        [pattern] = group["cmdline"]
        matched = {name for name, each in services.items() if re.search(pattern, " ".join(map(str, each["command"])))}
        assert matched == {group["name"]}


def test_another_labs_processes_are_in_no_group(lab: RenderedLab, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = RenderedLab(tmp_path / "other", {"k2_lab_base_port": BASE + 100})
    lines = [" ".join(map(str, each["command"])) for each in other.services().values()]
    for group in lab.file("monitoring/process-exporter.yml.j2")["process_names"]:
        assert not [line for line in lines if re.search(group["cmdline"][0], line)], group["name"]


def test_without_alertmanager_prometheus_has_nobody_to_tell(lab: RenderedLab) -> None:
    assert lab.file("monitoring/prometheus.yml.j2")["alerting"]
    lab.define({"__lab_selected": {"unavailable": {"alertmanager": "not wanted"}}})
    config = lab.file("monitoring/prometheus.yml.j2")
    assert "alerting" not in config
    assert "alertmanager" not in {job["job_name"] for job in config["scrape_configs"]}


def test_a_cluster_id_that_begins_with_a_dash_is_no_option(lab: RenderedLab) -> None:
    lab.define({"__lab_prepared": {"cluster_id": "-xyz", "secrets": lab.secrets("s")}})
    formatted = next(entry for entry in lab.render("{{ __lab_entries }}") if entry["name"] == "kafka-format")
    assert "--cluster-id=-xyz" in formatted["argv"]


def test_secrets_are_on_no_command_line(lab: RenderedLab) -> None:
    lab.define({"__lab_prepared": {"cluster_id": "c", "secrets": lab.secrets("TOP-SECRET")}})
    for entry in lab.render("{{ __lab_entries }}"):
        assert "TOP-SECRET" not in " ".join(map(str, entry.get("command", entry.get("argv")))), entry["name"]
