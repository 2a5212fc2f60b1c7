# SPDX-License-Identifier: Apache-2.0
"""The lab in containers: up, up again, a crash, refused, down; and never a container, network or engine left behind.

Its hot path alone, under a project, a network and ports of its own, on a running engine or one that comes with it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ports import free_base_port

from k2lab.control.docker.api import Engine
from k2lab.control.docker.containers import LAB_LABEL, SERVICE_LABEL
from k2lab.control.docker.engine import Daemon, bridge_of, find_socket
from k2lab.control.docker.image import REPOSITORY
from k2lab.control.lab import Lab as Places
from k2lab.provision.paths import Paths
from k2lab.provision.tools import find_tool

from .lab import ROOT, Lab
from .runtimes import eventually

PROJECT = "k2test-lab"
NET = "172.27"
HOT = {
    "kafka",
    "clickhouse",
    "exchange-simulator",
    "feed-handler-binance",
    "feed-handler-kraken",
    "feed-handler-coinbase",
    "silver-processor",
}


@dataclass(frozen=True)
class DockerLab(Lab):
    """A lab whose services are containers."""

    inventory: str = "lab_docker"

    @property
    def variables(self) -> dict[str, object]:
        return {**super().variables, "lab_project": PROJECT, "lab_net": NET, "k2_lab_parts": []}

    @property
    def places(self) -> Places:
        return Places.at(self.directory)

    def containers(self) -> dict[str, dict[str, Any]]:
        """What the engine says of each container, by service."""
        engine = Engine(self.places.engine_link)
        filters = json.dumps({"label": [f"{LAB_LABEL}={self.places.lab_id}"]})
        found = engine.get("/containers/json", {"all": 1, "filters": filters})
        return {each["Labels"][SERVICE_LABEL]: engine.get(f"/containers/{each['Id']}/json") for each in found}

    def left(self) -> list[str]:
        """What a lab may leave behind on the machine, apart from its data."""
        places = self.places
        found = [str(path) for path in (places.engine_run, places.engine_data, places.engine_link) if path.exists()]
        found += [bridge_of(places)] if Path("/sys/class/net", bridge_of(places)).exists() else []
        rules = subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True, timeout=20, check=False)
        found += [rule for rule in rules.stdout.splitlines() if places.lab_id in rule]
        found += [line for line in Path("/proc/mounts").read_text().splitlines() if str(places.engine_run) in line]
        return found


@pytest.fixture(scope="module", name="idle")
def _idle() -> Iterator[DockerLab]:
    """A lab that is not up; whatever a test brings up is taken down with its data."""
    own = DockerLab(ROOT / ".lab-test-docker", free_base_port())
    if find_tool(Paths.discover(), "docker-compose").path is None:
        pytest.skip("no Compose on this machine")
    chosen, reason = find_socket(own.places)
    if chosen is None:
        pytest.skip(f"no Docker Engine: {reason}")
    try:
        yield own
    finally:
        own.playbook("lab_down", k2_lab_purge=True)


@pytest.fixture(scope="module", name="running")
def _running(idle: DockerLab) -> DockerLab:
    idle.playbook("lab_up", timeout_s=400)
    return idle


def refusal(lab: DockerLab, **variables: object) -> str:
    """What a lab-up that must fail says, which must have left nothing."""
    done = lab.playbook("lab_up", check=False, **variables)
    assert done.returncode != 0
    assert lab.left() == []
    return done.stdout + done.stderr


def test_a_taken_port_is_refused_before_anything_is_started(idle: DockerLab) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", idle.port(30)))
        other.listen()
        assert f"port {idle.port(30)} is taken by" in refusal(idle)


def test_a_network_that_is_in_use_is_refused(idle: DockerLab) -> None:
    assert "'no.net.0.0/16' is no network" in refusal(idle, lab_net="no.net")
    route = subprocess.run(["ip", "-4", "route"], capture_output=True, text=True, timeout=20, check=True).stdout
    used = next(line.split()[0] for line in route.splitlines() if "/" in line.split()[0])
    first, second, *_ = used.split(".")
    assert "is in use on interface" in refusal(idle, lab_net=f"{first}.{second}")


def test_each_service_is_a_container_as_the_compose_file_says(running: DockerLab) -> None:
    found = running.containers()
    assert found.keys() == HOT
    for name, each in found.items():
        host, labels = each["HostConfig"], each["Config"]["Labels"]
        assert each["Name"] == f"/{PROJECT}-{name}"
        assert labels["com.docker.compose.project"] == PROJECT
        assert {"com.k2.service", "com.k2.tier", "com.k2.version"} <= labels.keys()
        assert each["State"]["Status"] == "running"
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        assert host["Memory"] > 0
        assert host["NanoCpus"] > 0
        address = each["NetworkSettings"]["Networks"][f"{PROJECT}-net"]["IPAMConfig"]["IPv4Address"]
        assert address.startswith(f"{NET}.0."), name
        published = [binding for bindings in host["PortBindings"].values() for binding in bindings]
        assert {binding["HostIp"] for binding in published} == {"127.0.0.1"}


def test_programs_are_mounted_read_only(running: DockerLab) -> None:
    for name, each in running.containers().items():
        writable = [mount["Source"] for mount in each["Mounts"] if mount["RW"]]
        assert writable == [str(running.places.directory)], name


def test_every_check_of_health_passes(running: DockerLab) -> None:
    def health() -> set[str]:
        return {each["State"]["Health"]["Status"] for each in running.containers().values()}

    eventually(health, lambda seen: seen == {"healthy"}, 90)


def test_a_second_start_changes_nothing(running: DockerLab) -> None:
    before = {name: (each["Id"], each["State"]["StartedAt"]) for name, each in running.containers().items()}
    assert "changed=0" in running.playbook("lab_up").stdout
    after = {name: (each["Id"], each["State"]["StartedAt"]) for name, each in running.containers().items()}
    assert after == before


def test_a_changed_setting_replaces_the_container_it_concerns(running: DockerLab) -> None:
    before = {name: each["Id"] for name, each in running.containers().items()}
    running.playbook("lab_up", k2_lab_processor_linger_ms=80)
    after = {name: each["Id"] for name, each in running.containers().items()}
    assert {name for name in after if after[name] != before[name]} == {"silver-processor"}


def test_what_crashes_comes_back_by_itself(running: DockerLab) -> None:
    before = running.containers()["feed-handler-kraken"]
    os.kill(before["State"]["Pid"], signal.SIGKILL)

    def pid() -> int:
        return int(running.containers()["feed-handler-kraken"]["State"]["Pid"])

    eventually(pid, lambda now: now not in (0, before["State"]["Pid"]), 20)


def test_a_killed_engine_is_taken_up_again_with_its_containers(running: DockerLab) -> None:
    pid_file = running.places.engine_run / "docker.pid"
    if not pid_file.exists():
        pytest.skip("the engine is not the lab's own")
    before = {name: each["State"]["Pid"] for name, each in running.containers().items()}
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    running.playbook("lab_up")
    # The setting that the test before last changed is back, and with it one container.
    after = {name: each["State"]["Pid"] for name, each in running.containers().items()}
    assert {name for name in HOT if after[name] != before[name]} <= {"silver-processor"}


def test_a_taken_name_is_told_and_left_alone(running: DockerLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another lab on the same engine, with the names of this one."""
    if Daemon(running.places).is_there:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{Daemon(running.places).socket}")
    other = DockerLab(ROOT / ".lab-test-docker2", free_base_port())
    before = running.containers().keys()
    try:
        said = refusal(other, lab_net="172.26")
        assert f"the container name {PROJECT}-kafka is taken" in said
        assert f"{PROJECT}-net that is not this lab's" in said
        assert running.containers().keys() == before
    finally:
        other.playbook("lab_down", k2_lab_purge=True)
        shutil.rmtree(other.directory, ignore_errors=True)


def test_down_leaves_nothing_but_data(running: DockerLab) -> None:
    engine = Engine(running.places.engine_link.readlink())
    own = Daemon(running.places).is_there
    running.playbook("lab_down")
    assert running.left() == []
    assert (running.directory / "data" / "kafka").is_dir()
    if own:
        assert engine.unreachable() is not None
    else:
        images = {"filters": json.dumps({"reference": [REPOSITORY]})}
        assert engine.get("/networks", {"filters": json.dumps({"name": [f"{PROJECT}-net"]})}) == []
        assert engine.get("/images/json", images) == []
    assert "changed=0" in running.playbook("lab_down").stdout
