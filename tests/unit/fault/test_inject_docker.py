# SPDX-License-Identifier: Apache-2.0
"""Faults on containers, through the runtime's interface: what is asked of the engine, and what the undo steps say."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.fault import steps
from ansible_collections.k2.hardening.plugins.module_utils.fault.inject import packet_filter, routes, unit
from ansible_collections.k2.hardening.plugins.module_utils.fault.inject.base import (
    Fault,
    FaultEndedEarly,
    FaultNotPossible,
    Mechanism,
)
from ansible_collections.k2.hardening.plugins.module_utils.fault.inject.factory import fault_for
from ansible_collections.k2.hardening.plugins.module_utils.fault.inject.network import OutsideCut
from ansible_collections.k2.hardening.plugins.module_utils.fault.inject.steps_of import DockerSteps
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import (
    Attachment,
    EventStream,
    ResourceReading,
    RestartPolicy,
    Runtime,
    RuntimeFailure,
    State,
    Status,
    UnitMissing,
)
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import FaultAction, RuntimeKind
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

OWN = Attachment("k2_net", "172.18.0.9", ("clickhouse", "db"))
OTHER = Attachment("monitoring", None, ("clickhouse",))


class FakeDocker(Runtime):
    """One container whose main process is real, so that pids and start times are; it restarts it if told to."""

    kind = RuntimeKind.DOCKER

    def __init__(self) -> None:
        self.policy = RestartPolicy("unless-stopped", after_crash=True)
        self.networks: tuple[Attachment, ...] = (OWN, OTHER)
        self.state = State.RUNNING
        self.process: subprocess.Popen[bytes] | None = None
        self.refuses = ""
        self._spawn()

    def _spawn(self) -> None:
        self.process = subprocess.Popen(["sleep", "600"])
        self.state = State.RUNNING

    def _end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def status(self, unit: str) -> Status:
        if unit != "box":
            return Status(State.MISSING)
        return Status(self.state, pid=self.process.pid if self.process else None)

    def restart_policy(self, unit: str) -> RestartPolicy:
        return self.policy

    def kill(self, unit: str) -> int:
        pid = self.pid(unit)
        self._end()
        if self.policy.after_crash:
            self._spawn()
        return pid

    def start(self, unit: str, timeout_s: float) -> None:
        if self.process is None:
            self._spawn()

    def stop(self, unit: str, timeout_s: float) -> None:
        assert timeout_s <= 20, "half of it is the grace, which is ten seconds at an engine"
        self._end()
        self.state = State.EXITED

    def pause(self, unit: str) -> None:
        self.state = State.PAUSED

    def resume(self, unit: str) -> None:
        self.state = State.RUNNING

    def attachments(self, unit: str) -> tuple[Attachment, ...]:
        return self.networks

    def disconnect(self, unit: str, attachment: Attachment) -> None:
        if attachment.network == self.refuses:
            raise RuntimeFailure("the engine refused")
        self.networks = tuple(each for each in self.networks if each.network != attachment.network)

    def reconnect(self, unit: str, attachment: Attachment) -> None:
        if attachment not in self.networks:
            self.networks = tuple(sorted((*self.networks, attachment), key=lambda each: each.network))

    def resources(self, unit: str) -> ResourceReading:
        raise NotImplementedError

    def logs(self, unit: str, tail: int) -> list[str]:
        return []

    def events(self, units: tuple[str, ...]) -> EventStream:
        raise NotImplementedError

    def start_command(self, unit: str) -> str:
        return f"docker start {unit}"


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDocker]:
    runtime = FakeDocker()
    monkeypatch.setattr(
        unit, "steps_of", lambda _, settings: DockerSteps(settings.socket, lambda name: f"id-of-{name}")
    )
    try:
        yield runtime
    finally:
        runtime._end()


def fault(docker: FakeDocker, action: str, **more: Any) -> Fault:
    service = {"kind": "feed-handler", "unit": "box", "allow_faults": True, "exchange": "binance", **more}
    profile = parse_profile(
        {
            "k2_platform": {"name": "k2", "scale": "full", "runtime": "docker"},
            "k2_services": {"handler": service},
            "k2_failure_modes": {
                "it": {"services": ["handler"], "action": "kill", "max_recovery_s": 5, "duration_s": 30}
            },
        }
    )
    mode = replace(profile.failure_modes["it"], action=FaultAction(action))
    return fault_for(profile, mode, profile.services["handler"], docker)


def test_a_crash_is_a_kill_from_the_host_and_its_restart_the_engines(docker: FakeDocker) -> None:
    crash = fault(docker, "kill")
    assert crash.plan.needs_root
    crash.check()
    crash.inject()
    assert crash.proof(1).proven
    assert (crash.mechanism(), crash.restored()) == (Mechanism.RESTARTED_BY_SUPERVISOR, ())
    (step,) = crash.undo_steps()
    assert (step["path"], step["ok"]) == ("/containers/id-of-box/start", [204, 304])
    assert (step["verify"]["path"], step["verify"]["holds"]) == (
        "/containers/id-of-box/json",
        {"State": {"Status": "running"}},
    )


def test_a_container_without_a_restart_policy_is_not_killed(docker: FakeDocker) -> None:
    docker.policy = RestartPolicy("no", after_crash=False)
    with pytest.raises(FaultNotPossible, match="restart policy no"):
        fault(docker, "kill").check()


def test_a_process_other_than_the_one_looked_at_is_no_proof(docker: FakeDocker) -> None:
    crash = fault(docker, "kill")
    crash.check()
    docker.kill("box")
    with pytest.raises(RuntimeFailure, match="restarted by something else"):
        crash.inject()


def test_restart_and_stop_are_told_as_ours(docker: FakeDocker) -> None:
    restart = fault(docker, "restart")
    restart.check()
    restart.inject()
    assert restart.proof(1).proven
    assert (restart.mechanism(), restart.restored()) == (Mechanism.RESTARTED_BY_TOOL, ())
    stop = fault(docker, "stop")
    stop.check()
    stop.inject()
    assert stop.proof(1).proven
    assert stop.mechanism() is None
    assert stop.heal() is not None
    assert (stop.mechanism(), stop.restored()) == (Mechanism.RESTARTED_BY_TOOL, ())


def test_a_crash_of_what_was_just_started_is_told_as_its_supervisors(docker: FakeDocker) -> None:
    restart = fault(docker, "restart")
    restart.check()
    restart.inject()
    docker.kill("box")
    assert restart.mechanism() is Mechanism.RESTARTED_BY_SUPERVISOR


def test_a_pause_ends_and_one_that_ended_before_is_told(docker: FakeDocker) -> None:
    pause = fault(docker, "pause")
    pause.check()
    pause.inject()
    assert pause.proof(1).proven
    assert pause.restored()[0] == "handler is paused, was running"
    assert pause.heal() is not None
    assert (pause.mechanism(), pause.restored()) == (Mechanism.HEALED_ITSELF, ())
    with pytest.raises(FaultEndedEarly):
        pause.heal()
    step, start = pause.undo_steps()
    assert (step["path"], step["ok"]) == ("/containers/id-of-box/unpause", [204, 409, 500])
    assert step["verify"]["holds"] == {"State": {"Paused": False}}
    assert start["path"] == "/containers/id-of-box/start"


class TestDisconnect:
    def test_all_networks_go_and_come_back_with_address_and_aliases(self, docker: FakeDocker) -> None:
        cut = fault(docker, "disconnect")
        cut.check()
        assert not cut.proof(0).proven
        cut.inject()
        assert (docker.networks, cut.proof(1).proven) == ((), True)
        assert (
            cut.restored()[0]
            == "network k2_net of handler is not connected, was connected (172.18.0.9, clickhouse, db)"
        )
        assert cut.heal() is not None
        assert (docker.networks, cut.restored()) == ((OWN, OTHER), ())

    def test_a_lost_alias_is_a_difference(self, docker: FakeDocker) -> None:
        cut = fault(docker, "disconnect")
        cut.check()
        docker.networks = (replace(OWN, aliases=("clickhouse",)), OTHER)
        (difference,) = cut.restored()
        assert "is connected (172.18.0.9, clickhouse), was connected (172.18.0.9, clickhouse, db)" in difference

    def test_its_undo_restores_each_network_whole(self, docker: FakeDocker) -> None:
        cut = fault(docker, "disconnect")
        cut.check()
        first, second, start = cut.undo_steps()
        assert start["path"] == "/containers/id-of-box/start"
        assert first["verify"]["holds"] == {
            "NetworkSettings": {
                "Networks": {"k2_net": {"Aliases": ["clickhouse", "db"], "IPAMConfig": {"IPv4Address": "172.18.0.9"}}}
            }
        }
        assert (first["path"], 403 in first["ok"]) == ("/networks/k2_net/connect", True)
        assert json.loads(first["body"]) == {
            "Container": "id-of-box",
            "EndpointConfig": {
                "Aliases": ["clickhouse", "db"],
                "IPAMConfig": {"IPv4Address": "172.18.0.9"},
            },
        }
        assert json.loads(second["body"])["EndpointConfig"] == {"Aliases": ["clickhouse"]}

    def test_half_a_cut_is_an_error_and_healing_it_says_so(self, docker: FakeDocker) -> None:
        cut = fault(docker, "disconnect")
        cut.check()
        docker.refuses = "monitoring"
        with pytest.raises(RuntimeFailure):
            cut.inject()
        assert not cut.proof(0).proven
        with pytest.raises(FaultEndedEarly):
            cut.heal()
        assert docker.networks == (OWN, OTHER)

    @pytest.mark.parametrize("networks", [(), (Attachment("host", None, ()),)])
    def test_a_container_without_a_network_of_its_own_is_refused(
        self, docker: FakeDocker, networks: tuple[Attachment, ...]
    ) -> None:
        docker.networks = networks
        with pytest.raises(FaultNotPossible, match="network of its own"):
            fault(docker, "disconnect").check()


def test_a_unit_that_is_missing_is_named(docker: FakeDocker) -> None:
    with pytest.raises(UnitMissing, match="elsewhere"):
        fault(docker, "kill", unit="elsewhere").check()


ROUTE = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
DEFAULT = "eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
NEAR = "eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
ELSEWHERE = "eth1\t000013AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
LINK_LOCAL = "fe80000000000000004212fffe000002 04 40 20 80     eth0\n"
GLOBAL = "20010db8000000000000000000000002 04 40 00 80     eth0\n"


class TestCutOffTheOutside:
    """Of a container whose source is a real exchange."""

    @pytest.fixture(autouse=True)
    def namespace(self, docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        assert docker.process is not None
        net = tmp_path / str(docker.process.pid) / "net"
        net.mkdir(parents=True)
        (net / "route").write_text(ROUTE + DEFAULT + NEAR + ELSEWHERE)
        (net / "if_inet6").write_text(LINK_LOCAL)
        monkeypatch.setattr(routes, "_PROC", tmp_path)
        return net

    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """A packet filter that notes what it is told, behind an nsenter that only drops its own arguments."""
        log = tmp_path / "calls"
        for name, script in (
            ("nsenter", 'echo "$1 $2 $3" >>{log}; shift 3; exec "$@"'),
            ("iptables", 'shift 2; echo "$*" >>{log}'),
        ):
            program = tmp_path / name
            program.write_text("#!/bin/sh\n" + script.format(log=log) + "\n")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        return log

    def test_what_comes_from_beyond_its_network_is_dropped_in_its_namespace(
        self, docker: FakeDocker, calls: Path
    ) -> None:
        cut = fault(docker, "cut_source")
        assert isinstance(cut, OutsideCut)
        cut.check()
        calls.write_text("")
        cut.inject()
        assert docker.process is not None
        entered, told = calls.read_text().splitlines()
        assert entered == f"-t {docker.process.pid} -n"
        assert told.startswith("-I INPUT -i eth0 ! -s 172.18.0.0/16 -m comment --comment k2-")
        assert told.endswith(" -j DROP")
        step, _ = cut.undo_steps()
        assert step["argv"][:4] == [str(calls.parent / "nsenter"), "-t", str(docker.process.pid), "-n"]
        assert " ".join(step["argv"]).endswith(told.replace("-I", "-D", 1))
        # nsenter exits 1 where it may not enter, and that must not pass for a rule that is not there.
        assert (step["ok"], step["verify"]["ok"]) == ([0, 101], [101])
        # A namespace that ended with its container took the rule along.
        (start,) = {(one["pid"], one["start_ticks"]) for one in (step, step["verify"])}
        assert start == (docker.process.pid, steps.start_ticks(docker.process.pid))

    def test_a_rule_is_taken_back_when_the_next_is_refused(self, docker: FakeDocker, calls: Path) -> None:
        cut = fault(docker, "cut_source")
        assert isinstance(cut, OutsideCut)
        cut.check()
        calls.write_text("")
        refused = packet_filter.Rule(packet_filter.Filter(("/bin/false",)), ("-i", "eth0"), "k2-x")
        cut._rules = (*cut._rules, refused)
        with pytest.raises(RuntimeFailure, match="could not be cut off"):
            cut.inject()
        assert [line[:2] for line in calls.read_text().splitlines()[1::2]] == ["-I", "-D"]

    @pytest.mark.parametrize(("exit_code", "told"), [(0, "dropped still"), (1, ""), (4, "it cannot be told")])
    def test_a_rule_that_nobody_can_look_for_is_not_taken_for_gone(
        self, docker: FakeDocker, calls: Path, exit_code: int, told: str
    ) -> None:
        cut = fault(docker, "cut_source")
        assert isinstance(cut, OutsideCut)
        cut.check()
        answering = packet_filter.Filter(("/bin/sh", "-c", f"exit {exit_code}"))
        cut._rules = (packet_filter.Rule(answering, ("-i", "eth0"), "k2-x"),)
        found = "; ".join(cut.restored())
        assert told in found if told else not found

    def test_a_filter_that_may_not_enter_is_not_taken_for_one_without_the_rule(
        self, docker: FakeDocker, calls: Path
    ) -> None:
        cut = fault(docker, "cut_source")
        cut.check()
        step, _ = cut.undo_steps()
        (calls.parent / "nsenter").write_text("#!/bin/sh\necho 'cannot open: Permission denied' >&2; exit 1\n")
        (outcome,) = steps.perform([step], 0)
        assert (outcome.ok, "Permission denied" in outcome.seen) == (False, True)
        assert "it cannot be told" in cut.restored()[0]
        docker._end()
        (outcome,) = steps.perform([step], 0)
        assert (outcome.ok, "is gone" in outcome.seen) == (True, True)

    @pytest.mark.parametrize("networks", [(), (Attachment("host", None, ()),)])
    def test_the_network_of_the_host_or_of_another_container_is_never_cut(
        self, docker: FakeDocker, calls: Path, networks: tuple[Attachment, ...]
    ) -> None:
        docker.networks = networks
        with pytest.raises(FaultNotPossible, match="network of its own"):
            fault(docker, "cut_source").check()
        assert not calls.exists()

    @pytest.mark.parametrize(
        ("routes_there", "addresses", "words"),
        [
            (NEAR, LINK_LOCAL, "not one way out"),
            (DEFAULT + NEAR + DEFAULT.replace("eth0", "eth1"), LINK_LOCAL, "not one way out"),
            (DEFAULT + NEAR + ELSEWHERE.replace("eth1", "eth0"), LINK_LOCAL, "not one way out"),
            (DEFAULT + NEAR, GLOBAL, "IPv6"),
        ],
    )
    def test_what_one_rule_would_not_cut_is_refused(
        self, docker: FakeDocker, namespace: Path, calls: Path, routes_there: str, addresses: str, words: str
    ) -> None:
        (namespace / "route").write_text(ROUTE + routes_there)
        (namespace / "if_inet6").write_text(addresses)
        with pytest.raises(FaultNotPossible, match=words):
            fault(docker, "cut_source").check()
        assert "-I" not in calls.read_text()


class TestWhichFilterWorks:
    def program(self, directory: Path, name: str, script: str) -> None:
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)

    @pytest.fixture(autouse=True)
    def alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
        monkeypatch.setattr(packet_filter, "_SBIN", ())
        monkeypatch.setattr(os, "geteuid", lambda: 0)

    def test_the_older_interface_is_taken_where_the_newer_fails(self, tmp_path: Path) -> None:
        for name in ("xtables", "xtables-nft"):
            self.program(tmp_path, name, "echo 'Protocol not supported' >&2; exit 1")
        self.program(tmp_path, "xtables-legacy", "exit 0")
        assert packet_filter.Filter.find("xtables").argv[0] == str(tmp_path / "xtables-legacy")

    def test_none_that_works_is_told_in_its_own_words(self, tmp_path: Path) -> None:
        self.program(tmp_path, "xtables", "echo 'Permission denied' >&2; exit 4")
        with pytest.raises(FaultNotPossible, match="Permission denied"):
            packet_filter.Filter.find("xtables")

    def test_none_at_all_says_what_to_install(self) -> None:
        with pytest.raises(FaultNotPossible, match="apt install iptables"):
            packet_filter.Filter.find("xtables")
