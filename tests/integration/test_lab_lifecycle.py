# SPDX-License-Identifier: Apache-2.0
"""The life of a lab: up, up again, changed, broken, interrupted, down; and never a process left behind.

Runs a lab of its own, on free ports, beside that of the session. A start takes longer than most of what is tested:
tests that need a running lab come first, then those that need a stopped one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from ports import free_base_port

from k2lab.control import processes
from k2lab.control.keeper import State
from k2lab.control.lab import Lab
from k2lab.control.supervisor import Supervisor
from k2lab.provision.golang.programs import GO_PARTS, go_entry
from k2lab.provision.kafka import kafka_home
from k2lab.provision.paths import Paths

PLAY_TIMEOUT_S = 240
CHANGED = "changed="


@dataclass(frozen=True)
class Play:
    """How a playbook ended."""

    code: int
    output: str

    @property
    def changed(self) -> int:
        return int(self.output.rpartition(CHANGED)[2].split()[0])


class LabUnderTest:
    def __init__(self, root: Path, directory: Path, base_port: int) -> None:
        self.base_port = base_port
        self.root = root
        self.lab = Lab.at(directory)
        self.supervisor = Supervisor(self.lab)
        self._brought_up: set[int] = set()

    def command(self, playbook: str, **variables: object) -> list[str]:
        # What is tested here does not depend on what runs: the hot path starts faster than the whole lab.
        hot_only = {"k2_lab_parts": []}
        own = {"k2_lab_dir": str(self.lab.directory), "k2_lab_base_port": self.base_port, **hot_only, **variables}
        ansible = str(Path(sys.executable).with_name("ansible-playbook"))
        return [ansible, "-i", "inventory/lab", f"playbooks/{playbook}.yml", "-e", json.dumps(own)]

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, **more, "ANSIBLE_CONFIG": str(self.root / "ansible.cfg"), "LC_ALL": "C.UTF-8"}

    def play(self, playbook: str, environment: dict[str, str] | None = None, **variables: object) -> Play:
        outcome = subprocess.run(
            self.command(playbook, **variables),
            cwd=self.root,
            env=environment or self.environment(),
            capture_output=True,
            text=True,
            timeout=PLAY_TIMEOUT_S,
            check=False,
        )
        return Play(outcome.returncode, outcome.stdout + outcome.stderr)

    def up(self, **variables: object) -> Play:
        play = self.play("lab_up", **variables)
        self._brought_up = self.processes() if play.code == 0 and not variables else set()
        return play

    def down(self, **variables: object) -> Play:
        return self.play("lab_down", **variables)

    def status(self, scratch: Path) -> dict[str, Any]:
        """What `k2h status` says of this lab, of which something is not available."""
        inventory = scratch / "inventory"
        shutil.copytree(self.root / "inventory" / "lab", inventory)
        own = {"k2_lab_dir": str(self.lab.directory), "k2_lab_base_port": self.base_port}
        (inventory / "group_vars" / "all" / "zz_own.yml").write_text(json.dumps(own))
        command = [sys.executable, str(self.root / "bin" / "k2h"), "status", "-i", str(inventory), "--json"]
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode in (0, 1, 3), done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def processes(self) -> set[int]:
        return {process.pid for process in processes.of_lab(self.lab)}

    @property
    def is_as_brought_up(self) -> bool:
        """Whether the last thing done was an `up` without variables of its own, and just its processes run."""
        return bool(self._brought_up) and self.processes() == self._brought_up

    def left(self) -> list[str]:
        return [processes.describe(process) for process in processes.of_lab(self.lab)]

    def unavailable(self) -> dict[str, str]:
        reasons: dict[str, str] = json.loads(self.lab.unavailable.read_text())
        return reasons

    def pids(self) -> dict[str, int]:
        return {name: program.pid for name, program in self.supervisor.programs().items()}

    def kill_supervisord(self) -> None:
        daemon = psutil.Process(int((self.lab.run / "supervisord.pid").read_text()))
        daemon.kill()
        daemon.wait(10)


def eventually(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def lab(project_root: Path) -> Iterator[LabUnderTest]:
    directory = project_root / ".lab-lifecycle"
    with pytest.MonkeyPatch.context() as patch:
        # That variable is for the session's lab, which may be running.
        patch.delenv("K2_TEST_BASE_PORT", raising=False)
        base_port = free_base_port()
    under_test = LabUnderTest(project_root, directory, base_port)
    assert under_test.down(k2_lab_purge=True).code == 0
    yield under_test
    assert under_test.down(k2_lab_purge=True).code == 0
    assert under_test.left() == []
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def running(lab: LabUnderTest) -> LabUnderTest:
    """The lab, up; brought up where the test before has not left it just so."""
    if not lab.is_as_brought_up:
        play = lab.up()
        assert play.code == 0, play.output
    return lab


@pytest.fixture
def stopped(lab: LabUnderTest) -> LabUnderTest:
    """The lab with nothing running; taken down where the test before has left something."""
    if lab.left():
        play = lab.down()
        assert play.code == 0, play.output
    return lab


def test_second_up_changes_nothing(running: LabUnderTest) -> None:
    before = running.pids()
    play = running.up()
    assert (play.code, play.changed) == (0, 0), play.output
    assert running.pids() == before


def test_a_changed_variable_restarts_only_what_it_concerns(running: LabUnderTest) -> None:
    before = running.pids()
    assert running.up(k2_lab_processor_linger_ms=90).code == 0
    after = running.pids()
    assert {name for name in before if before[name] != after[name]} == {"silver-processor"}


def test_a_part_that_is_left_out_is_stopped_and_told(running: LabUnderTest, tmp_path: Path) -> None:
    hot = running.pids()
    assert running.up(k2_lab_parts=["monitoring"]).code == 0
    assert hot.items() < running.pids().items(), "what ran goes on running"
    assert "alert-receiver" in running.pids()
    play = running.up()
    assert play.code == 0, play.output
    assert running.pids() == hot
    assert running.unavailable()["alert-receiver"] == "part monitoring is left out by k2_lab_parts"
    status = running.status(tmp_path)
    assert status["services"]["alert-receiver"]["not_available"] == running.unavailable()["alert-receiver"]
    assert not [name for name, each in status["services"].items() if not each["ready"] and not each["not_available"]]


def test_passwords_are_the_owners_alone(running: LabUnderTest) -> None:
    secret = running.lab.secrets / "clickhouse_default"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert running.lab.configuration.stat().st_mode & 0o777 == 0o600
    for process in processes.of_lab(running.lab):
        assert secret.read_text().strip() not in " ".join(process.cmdline())


def test_up_ends_the_orphans_of_a_killed_supervisord(running: LabUnderTest) -> None:
    orphans = running.pids()
    running.kill_supervisord()
    assert running.left()
    play = running.up()
    assert play.code == 0, play.output
    assert not set(orphans.values()) & set(running.pids().values())
    assert all(program.state is State.RUNNING for program in running.supervisor.programs().values())


def test_down_leaves_nothing_and_may_be_repeated(running: LabUnderTest) -> None:
    first = running.down()
    assert (first.code, first.changed) == (0, 1), first.output
    assert running.left() == []
    again = running.down()
    assert (again.code, again.changed) == (0, 0), again.output


def test_an_unknown_part_is_refused(stopped: LabUnderTest) -> None:
    play = stopped.up(k2_lab_parts=["hot-dogs"])
    assert play.code != 0
    assert "hot-dogs" in play.output
    assert stopped.left() == []


def test_a_taken_port_is_told_with_its_holder_before_anything_starts(stopped: LabUnderTest) -> None:
    port = stopped.base_port + 13
    with socket.create_server(("127.0.0.1", port)):
        play = stopped.up()
    assert play.code != 0
    assert f"port {port} is taken by pid {os.getpid()}" in play.output
    assert stopped.left() == []


def test_a_service_that_dies_at_start_is_told_with_its_log_and_all_is_stopped(stopped: LabUnderTest) -> None:
    play = stopped.up(
        k2_lab_kafka={"heap_min": "1k", "heap_max": "1k", "retention_hours": 1, "retention_bytes": 1 << 26}
    )
    assert play.code != 0
    assert "kafka to stay up" in play.output
    assert "Too small" in play.output, "the broker's own words"
    assert stopped.left() == []


def test_what_cannot_be_had_or_does_not_start_is_told_and_the_rest_comes_up(
    stopped: LabUnderTest, tmp_path: Path
) -> None:
    # A cache in which set-up has provided the broker, and one program that is out of order.
    home = kafka_home(Paths.discover())
    (tmp_path / home.name).symlink_to(home)
    [part] = [part for part in GO_PARTS if "process-exporter" in part.programs]
    broken = go_entry(Paths(stopped.root, tmp_path), part) / "process-exporter"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho out of order\nexit 7\n")
    broken.chmod(0o755)
    play = stopped.play("lab_up", stopped.environment(K2_CACHE_DIR=str(tmp_path)), k2_lab_parts=["monitoring"])
    assert play.code == 0, play.output
    reasons = stopped.unavailable()
    assert "program kafka_exporter is not available: " in reasons["kafka-exporter"]
    assert "did not start: expected process-exporter to stay up" in reasons["process-exporter"]
    for name in ("kafka-exporter", "process-exporter"):
        assert f"- {name}: {reasons[name]}" in play.output
    running = stopped.pids()
    assert "kafka-exporter" not in running
    assert running["process-exporter"] == 0
    assert running["alert-receiver"] > 0, "needs nothing that is missing"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_an_interrupted_up_is_recovered_by_the_next(stopped: LabUnderTest, number: signal.Signals) -> None:
    play = subprocess.Popen(
        stopped.command("lab_up"),
        cwd=stopped.root,
        env=stopped.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    eventually(lambda: len(stopped.left()) >= 2, 60, "supervisord and a first program")
    os.killpg(play.pid, number)
    play.wait(60)
    recovered = stopped.up()
    assert recovered.code == 0, recovered.output
    assert len(stopped.left()) == len(stopped.pids()) + 1, "each program once, and supervisord"


def test_down_ends_the_orphans_of_a_killed_supervisord_of_a_whole_lab(stopped: LabUnderTest) -> None:
    # Some programs of the other parts have children, and users, of their own.
    begun = stopped.up(k2_lab_parts=["cold", "monitoring"])
    assert begun.code == 0, begun.output
    assert stopped.unavailable() == {}, "run make setup"
    stopped.kill_supervisord()
    play = stopped.down()
    assert play.code == 0, play.output
    assert stopped.left() == []


def test_purge_removes_the_lab_but_never_another_directory(stopped: LabUnderTest, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    refused = stopped.play("lab_down", k2_lab_dir=str(tmp_path), k2_lab_purge=True)
    assert refused.code != 0
    assert (tmp_path / "data").exists()
    assert stopped.down(k2_lab_purge=True).code == 0
    assert not stopped.lab.directory.exists()
