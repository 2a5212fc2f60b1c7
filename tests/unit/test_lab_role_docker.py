# SPDX-License-Identifier: Apache-2.0
"""The compose file of the lab in containers, and the inventory that describes it."""

from __future__ import annotations

import ipaddress
import shlex
from pathlib import Path
from typing import Any

import pytest
from lab_role import ROOT, RenderedLab

INVENTORY = ROOT / "inventory" / "lab_docker"
OWN = INVENTORY / "group_vars" / "all" / "platform.yml"
MACHINE = {
    "image": "k2-lab-host:0123",
    "bridge": "k2-0123",
    "mounts": ["/opt/python", "/usr"],
    "cpus": 2,
    "user": "0:0",
}


@pytest.fixture(name="lab")
def _lab(tmp_path: Path) -> RenderedLab:
    lab = RenderedLab(tmp_path, {"inventory_dir": str(INVENTORY)})
    own = {name: value for name, value in lab.read(OWN).items() if name != "k2_lab_dir"}
    lab.define(own)
    lab.facts({"docker": MACHINE})
    return lab


@pytest.fixture(name="containers")
def _containers(lab: RenderedLab) -> dict[str, dict[str, Any]]:
    containers: dict[str, dict[str, Any]] = lab.file("compose.yml.j2")["services"]
    return containers


def test_every_service_is_a_container_with_the_projects_name(lab: RenderedLab, containers: dict[str, Any]) -> None:
    assert containers.keys() == lab.services().keys()
    assert {each["container_name"] for each in containers.values()} == {f"k2-{name}" for name in containers}
    assert set(lab.render("{{ __lab_containers }}")) == {f"k2-{name}" for name in containers}


def test_a_container_runs_the_command_of_the_service(lab: RenderedLab, containers: dict[str, Any]) -> None:
    for name, service in lab.services().items():
        words = [word.replace("$$", "$") for word in containers[name]["command"]]
        assert words == [str(word) for word in service["command"]], name


def test_ports_are_published_on_the_loopback_alone(lab: RenderedLab, containers: dict[str, Any]) -> None:
    for name, service in lab.services().items():
        assert containers[name]["ports"] == [f"127.0.0.1:{port}:{port}" for port in service["ports"]], name


def test_addresses_are_the_inventorys_and_lie_in_the_network(lab: RenderedLab, containers: dict[str, Any]) -> None:
    addresses = {name: each["networks"]["lab"]["ipv4_address"] for name, each in containers.items()}
    assert addresses == lab.render("{{ k2_lab_addresses }}")
    assert len(set(addresses.values())) == len(addresses)
    network = lab.file("compose.yml.j2")["networks"]["lab"]
    subnet = ipaddress.ip_network(network["ipam"]["config"][0]["subnet"])
    assert all(ipaddress.ip_address(address) in subnet for address in addresses.values())
    assert network["name"] == "k2-net"


def test_no_program_looks_for_another_on_the_loopback(lab: RenderedLab, containers: dict[str, Any]) -> None:
    for name, each in containers.items():
        words = " ".join(map(str, [*each["command"], *each["environment"].values()]))
        assert "127.0.0.1" not in words, name
    for template in ("offload.json.j2", "monitoring/prometheus.yml.j2", "monitoring/alertmanager.yml.j2"):
        assert "127.0.0.1" not in str(lab.file(template)), template


def test_limits_are_no_less_than_the_budget_and_no_more_than_there_is(
    lab: RenderedLab, containers: dict[str, Any]
) -> None:
    lab.define(lab.read(INVENTORY / "group_vars" / "all" / "services.yml"))
    units = {"M": 1 << 20, "G": 1 << 30}
    for name, service in lab.render("{{ k2_services }}").items():
        each, budget = containers[name], service["budget"]
        assert budget["cpus"] <= each["cpus"] <= MACHINE["cpus"], name
        size, wanted = each["mem_limit"], budget["memory"]
        assert int(size[:-1]) * units[size[-1]] >= int(wanted[:-1]) * units[wanted[-1]], name


def test_what_a_container_carries(containers: dict[str, Any]) -> None:
    for name, each in containers.items():
        labels = each["labels"]
        assert labels.keys() >= {"com.k2.service", "com.k2.tier", "com.k2.version", "com.k2.lab"}, name
        assert each["restart"] == "unless-stopped", name
        assert each["init"] is True, name
        mounts = [volume.split(":") for volume in each["volumes"]]
        assert all(mode == ["ro"] for *_, mode in ([*m[:2], m[2:]] for m in mounts[:-1])), name
    assert containers["feed-handler-kraken"]["labels"]["com.k2.exchange"] == "kraken"
    assert containers["postgres"]["stop_signal"] == "SIGINT"
    assert containers["process-exporter"]["pid"] == "host"


def test_a_check_asks_the_service_itself(containers: dict[str, Any]) -> None:
    for name, each in containers.items():
        *shell, script = each["healthcheck"]["test"]
        assert shell == ["CMD", "bash", "-c"]
        assert "/dev/tcp/127.0.0.1/" in script, name
        assert shlex.split(script.replace("$$", "$")), name


def test_a_dollar_sign_is_no_variable_of_compose(lab: RenderedLab) -> None:
    lab.define({"__lab_prepared": {"cluster_id": "c", "secrets": lab.secrets("pa$word")}})
    text = lab.render("{{ lookup('ansible.builtin.template', 'compose.yml.j2') }}")
    assert "pa$$word" in text
    assert "pa$word" not in text.replace("pa$$word", "")


def test_another_project_shares_no_name(lab: RenderedLab) -> None:
    lab.define({"k2_lab_docker": {"project": "other", "subnet": "172.29.0.0/16"}})
    file = lab.file("compose.yml.j2")
    assert {each["container_name"].split("-")[0] for each in file["services"].values()} == {"other"}
    assert file["networks"]["lab"]["name"] == "other-net"


def test_the_inventory_is_that_of_the_process_lab_but_for_its_platform() -> None:
    process = ROOT / "inventory" / "lab" / "group_vars" / "all"
    for path in process.glob("*.yml"):
        ours = OWN.with_name(path.name)
        assert ours.resolve() == (path.resolve() if path.name != "platform.yml" else OWN.resolve()), path.name


def test_postgres_hears_the_labs_network(lab: RenderedLab) -> None:
    assert "172.28.0.0/16" in lab.render("{{ lookup('ansible.builtin.template', 'pg_hba.conf.j2') }}")
    lab.define({"k2_lab_runtime": "supervisor"})
    assert "172.28" not in lab.render("{{ lookup('ansible.builtin.template', 'pg_hba.conf.j2') }}")
