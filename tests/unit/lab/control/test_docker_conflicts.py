# SPDX-License-Identifier: Apache-2.0
"""What of a machine keeps a lab's containers from starting is told with what to do; what is the lab's own is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from k2lab.common.errors import LabError
from k2lab.control.docker import conflicts, engine
from k2lab.control.docker.conflicts import Wanted, problems
from k2lab.control.docker.containers import LAB_LABEL, Containers
from k2lab.control.docker.engine import bridge_of
from k2lab.control.lab import Lab
from k2lab.control.prepare import FoundTool

from ...platform.engine import Engine, container, network, serve  # noqa: TID252 - tests are no package that has a name

WANTED = Wanted("k2", ["k2-kafka"], "k2-net", "172.28.0.0/16")
HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
DEFAULT_ROUTE = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"


@pytest.fixture(name="lab")
def _lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    (tmp_path / "route").write_text(HEAD + DEFAULT_ROUTE)
    monkeypatch.setattr(conflicts, "ROUTES", tmp_path / "route")
    monkeypatch.setattr(conflicts, "find_tool", lambda *_: FoundTool("/bin/docker-compose", "", "1.29.2", ""))
    return Lab.at(tmp_path / "lab")


@pytest.fixture(name="docker")
def _docker(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    lab.run.mkdir(parents=True)
    with serve(Engine(tmp_path / "d.sock", removes=True)) as docker:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{docker.socket}")
        lab.engine_link.symlink_to(docker.socket)
        yield docker


def test_an_empty_engine_has_no_conflict(lab: Lab, docker: Engine) -> None:
    assert problems(lab, WANTED) == []
    assert set(docker.requests) == {("GET", "/_ping"), ("GET", "/containers/json"), ("GET", "/networks")}


def test_a_running_lab_is_no_conflict_with_itself(lab: Lab, docker: Engine) -> None:
    own = {LAB_LABEL: lab.lab_id, "com.docker.compose.project": "k2", "com.docker.compose.service": "kafka"}
    docker.containers.append(container("k2-kafka", labels=own))
    docker.networks.append(network("k2-net", WANTED.subnet, labels={LAB_LABEL: lab.lab_id}))
    assert problems(lab, WANTED) == []


def test_what_others_have_is_told_with_its_way_out(lab: Lab, docker: Engine) -> None:
    docker.containers.append(container("k2-kafka"))
    docker.containers.append(container("k2-grafana-old", labels={"com.docker.compose.project": "k2"}))
    docker.networks += [network("k2-net", "10.9.0.0/24"), network("theirs", "172.28.5.0/24")]
    name, project, taken, subnet = problems(lab, WANTED)
    assert "k2-kafka is taken (Up 2 minutes, image nginx): docker rm k2-kafka" in name
    assert "(k2-grafana-old): set another k2_lab_docker.project" in project
    assert "docker network rm k2-net" in taken
    assert "theirs of Docker has 172.28.5.0/24" in subnet


@pytest.mark.parametrize(("interface", "told"), [("eth1", True), ("BRIDGE", False)])
def test_a_route_into_the_subnet_is_told(lab: Lab, docker: Engine, interface: str, told: bool) -> None:
    assert docker.containers == []
    name = bridge_of(lab) if interface == "BRIDGE" else interface
    route = f"{name}\t00001CAC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    conflicts.ROUTES.write_text(HEAD + DEFAULT_ROUTE + route)
    expected = ["172.28.0.0/16 is in use on interface eth1: set another k2_lab_docker.subnet"]
    assert problems(lab, WANTED) == (expected if told else [])


def test_an_engine_elsewhere_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2375")
    [problem] = problems(lab, WANTED)
    assert "DOCKER_HOST is tcp://10.0.0.1:2375" in problem


def test_an_engine_that_was_named_and_does_not_answer_is_not_replaced(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    [problem] = problems(lab, WANTED)
    assert f"no engine answers on {tmp_path}/none.sock" in problem


def test_without_an_engine_or_its_programs_both_are_told(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine, "DEFAULT_SOCKET", tmp_path / "none.sock")
    monkeypatch.setattr(engine, "PROGRAMS", ("no-such-dockerd",))
    [problem] = problems(lab, WANTED)
    assert "no-such-dockerd not installed: make setup-docker" in problem


def test_one_of_its_own_takes_root(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine, "DEFAULT_SOCKET", tmp_path / "none.sock")
    monkeypatch.setattr(engine, "PROGRAMS", ("sh",))
    monkeypatch.setattr(engine.os, "geteuid", lambda: 1000)
    [problem] = problems(lab, WANTED)
    assert "takes root" in problem


@pytest.mark.parametrize("subnet", ["172.28.0.0/33", "nonsense", "172.28.0.1/16"])
def test_a_subnet_that_is_none_is_told(lab: Lab, docker: Engine, subnet: str) -> None:
    assert docker.networks == []
    [problem] = problems(lab, Wanted("k2", [], "k2-net", subnet))
    assert subnet in problem


def test_removal_takes_the_labs_own_and_nothing_else(lab: Lab, docker: Engine) -> None:
    own = {LAB_LABEL: lab.lab_id, "com.docker.compose.service": "kafka"}
    other = {"com.docker.compose.project": "k2", "com.docker.compose.service": "kafka"}
    docker.containers.append(container("k2-kafka", labels=own, ports=(23420,)))
    docker.containers.append(container("k2-redpanda", labels=other))
    docker.networks.append(network("k2-net", WANTED.subnet, labels={LAB_LABEL: lab.lab_id}))
    docker.networks.append(network("theirs", "10.0.0.0/8"))
    keeper = Containers(lab, None, ())
    assert keeper.answers()
    assert keeper.held_ports() == {23420}
    assert keeper.shutdown() == ["containers"]
    assert [each["Name"] for each in docker.containers] == ["/k2-redpanda"]
    assert [each["Name"] for each in docker.networks] == ["theirs"]
    assert not keeper.answers()


def test_an_engine_that_is_away_is_not_forgotten(lab: Lab, tmp_path: Path) -> None:
    lab.run.mkdir(parents=True)
    lab.engine_link.symlink_to(tmp_path / "away.sock")
    with pytest.raises(LabError, match="start it, run lab-down again"):
        Containers(lab, None, ()).clean_up()
    assert lab.engine_link.is_symlink()
