# SPDX-License-Identifier: Apache-2.0
"""Faults on real processes: each takes effect, is proven, ends, and its steps alone undo it when nobody ends it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.fault.inject.base import (
    Fault,
    FaultEndedEarly,
    FaultNotPossible,
    Mechanism,
    RunOver,
    Step,
)
from ansible_collections.k2.hardening.plugins.module_utils.fault.inject.factory import fault_for
from ansible_collections.k2.hardening.plugins.module_utils.fault.steps import perform
from ansible_collections.k2.hardening.plugins.module_utils.platform.procfs import (
    ProcessStat,
    is_stopped,
    process_tree,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import State
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import FaultAction
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

from .runtimes import Bench, eventually, supervisord

ROOT = Path(__file__).parents[2]
# Answers each line with the same line, on one port, for ever.
ECHO = """
import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
PROGRAM = """
[program:{name}]
command={command}
startsecs={startsecs}
autorestart=true
redirect_stderr=true
stdout_logfile=NONE
stopasgroup=true
killasgroup=true
"""
# A worker with an idle helper and then a run, which has started two processes of its own.
WORKER = """
import os, signal, subprocess, time
subprocess.Popen(["sleep", "900"])
time.sleep(0.3)
run = {**os.environ, "PREFECT__FLOW_RUN_ID": "r1"}
subprocess.Popen(["/bin/sh", "-c", "sleep 901 & sleep 902; true"], env=run)
signal.pause()
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port


@dataclass
class Site:
    bench: Bench
    port: int

    def fault(self, action: str, name: str = "echo", duration_s: float = 30, **more: Any) -> Fault:
        return self.fault_of({}, action, name, duration_s, **more)

    def fault_of(
        self, sections: dict[str, Any], action: str, name: str = "echo", duration_s: float = 30, **more: Any
    ) -> Fault:
        runtime = self.bench.runtime
        profile = parse_profile(
            {
                "k2_platform": {
                    "name": "bench",
                    "scale": "lab",
                    "runtime": "supervisor",
                    "runtimes": {"supervisor": {"socket": runtime._socket, "timeout_s": 5}},  # type: ignore[attr-defined]
                },
                "k2_services": {name: {"kind": "service", "allow_faults": True, "port": self.port, **more}},
                "k2_failure_modes": {
                    "it": {"services": [name], "action": "kill", "max_recovery_s": 5, "duration_s": duration_s}
                },
                **sections,
            }
        )
        mode = profile.failure_modes["it"]
        chosen = replace(mode, action=FaultAction(action))
        return fault_for(profile, chosen, profile.services[name], runtime)

    def running(self, name: str = "echo") -> int:
        def pid() -> int:
            status = self.bench.runtime.status(name)
            return status.pid if status.state is State.RUNNING and status.pid else 0

        return eventually(pid, bool)

    def listening(self) -> None:
        eventually(lambda: reachable(self.port), bool)


def undo(steps: Iterable[Step]) -> None:
    """As the watchdog does it."""
    outcomes = perform(tuple(steps), Deadline.after(30).at_ns)
    assert all(outcome.ok for outcome in outcomes), outcomes


def reachable(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("programs")
    port, script, worker = free_port(), directory / "echo.py", directory / "worker.py"
    script.write_text(ECHO, encoding="utf-8")
    worker.write_text(WORKER, encoding="utf-8")
    programs = "".join(
        PROGRAM.format(name=name, command=command, startsecs=startsecs)
        for name, command, startsecs in (
            ("echo", f"{sys.executable} {script} {port}", 1),
            ("family", '/bin/sh -c "sleep 1000 & sleep 1001 & wait"', 0),
            ("worker", f'/bin/sh -c "{sys.executable} {worker}; true"', 0),
        )
    )
    with supervisord(programs) as bench:
        yield Site(bench, port)


@pytest.fixture(autouse=True)
def up(site: Site) -> None:
    for name in ("echo", "family"):
        site.bench.runtime.resume(name)
        site.bench.runtime.start(name, 20)
    site.listening()


class TestCrash:
    def test_the_supervisor_brings_it_back(self, site: Site) -> None:
        fault, before = site.fault("kill"), site.running()
        fault.check()
        moment = fault.inject()
        assert 0 < moment.high_ns - moment.low_ns < 1e9
        proof = fault.proof(5)
        assert (proof.proven, f"process {before} is gone" in proof.what) == (True, True)
        assert fault.heal() is None
        assert site.running() != before
        assert fault.mechanism() is Mechanism.RESTARTED_BY_SUPERVISOR
        assert fault.restored() == ()

    def test_its_undo_starts_what_its_supervisor_gave_up(self, site: Site) -> None:
        fault = site.fault("kill")
        fault.check()
        steps = fault.undo_steps()
        site.bench.runtime.stop("echo", 20)
        assert fault.restored() == ("echo is stopped, was running",)
        undo(steps)
        undo(steps)
        assert site.bench.runtime.status("echo").state is State.RUNNING

    def test_undo_of_a_program_that_is_just_being_stopped_waits_for_it(self, site: Site) -> None:
        fault = site.fault("kill")
        fault.check()
        (step,) = fault.undo_steps()
        site.bench.runtime._act("stopProcess", "echo", False, harmless=70)  # type: ignore[attr-defined]
        undo([step])
        assert site.bench.runtime.status("echo").state is State.RUNNING

    def test_what_nothing_would_restart_is_not_killed(self, site: Site) -> None:
        with pytest.raises(FaultNotPossible, match="restart_expected: false"):
            site.fault("kill", restart_expected=False).check()

    def test_what_does_not_run_is_not_broken(self, site: Site) -> None:
        site.bench.runtime.stop("echo", 20)
        for action in ("kill", "restart", "stop", "pause", "disconnect"):
            with pytest.raises(FaultNotPossible, match="state stopped"):
                site.fault(action).check()

    def test_what_the_profile_does_not_allow_is_refused(self, site: Site) -> None:
        with pytest.raises(FaultNotPossible, match="allow-list"):
            site.fault("kill", allow_faults=False)


def test_a_restart_is_timed_by_its_stop_and_told_as_ours(site: Site) -> None:
    fault, before = site.fault("restart"), site.running()
    fault.check()
    begun = time.monotonic_ns()
    moment = fault.inject()
    # The program counts as running a second after its start: the moment must not hold that second.
    assert begun <= moment.low_ns < moment.high_ns < time.monotonic_ns() - 0.9e9
    assert fault.proof(5).proven
    assert site.running() != before
    assert (fault.mechanism(), fault.heal(), fault.restored()) == (Mechanism.RESTARTED_BY_TOOL, None, ())


class TestStop:
    def test_it_stays_down_until_healed_and_the_start_is_known_closely(self, site: Site) -> None:
        fault = site.fault("stop")
        fault.check()
        fault.inject()
        assert fault.proof(5).proven
        assert (fault.mechanism(), fault.restored()) == (None, ("echo is stopped, was running",))
        moment = fault.heal()
        assert moment is not None
        # supervisord reports a start after a second; the kernel knows when the process was made.
        assert (moment.high_ns - moment.low_ns) < 0.5e9
        site.listening()
        assert (fault.mechanism(), fault.restored()) == (Mechanism.RESTARTED_BY_TOOL, ())

    def test_its_undo_starts_it_however_often(self, site: Site) -> None:
        fault = site.fault("stop")
        fault.check()
        steps = json.loads(json.dumps(fault.undo_steps()))
        fault.inject()
        undo(steps)
        undo(steps)
        assert fault.restored() == ()
        with pytest.raises(FaultEndedEarly, match="started by something else"):
            fault.heal()
        assert fault.mechanism() is Mechanism.RESTARTED_BY_SUPERVISOR


class TestPause:
    def test_it_stands_still_with_its_connections_and_goes_on(self, site: Site) -> None:
        with socket.create_connection(("127.0.0.1", site.port), timeout=0.5) as client:
            fault = site.fault("pause")
            fault.check()
            fault.inject()
            assert fault.proof(5).proven
            client.sendall(b"a\n")
            with pytest.raises(TimeoutError):
                client.recv(10)
            assert fault.restored()[0] == "echo is paused, was running"
            assert fault.heal() is not None
            client.settimeout(5)
            assert client.recv(10) == b"a\n"
        assert (fault.mechanism(), fault.restored()) == (Mechanism.HEALED_ITSELF, ())

    def test_its_undo_reaches_every_process_also_one_born_since(self, site: Site) -> None:
        fault, pid = site.fault("pause", "family"), site.running("family")
        eventually(lambda: process_tree(pid), lambda tree: len(tree) == 3)
        fault.check()
        steps = json.loads(json.dumps([step for step in fault.undo_steps() if step["op"] == "exec"]))
        fault.inject()
        assert all(is_stopped(each) for each in process_tree(pid))
        undo(steps)  # the group alone does it
        eventually(lambda: [each for each in process_tree(pid) if is_stopped(each)], lambda still: not still)
        fault.inject()
        undo(step for step in fault.undo_steps() if step["op"] == "signal")  # and so does the list
        eventually(lambda: [each for each in process_tree(pid) if is_stopped(each)], lambda still: not still)
        with pytest.raises(FaultEndedEarly):
            fault.heal()


def test_a_run_is_killed_with_all_its_processes_and_nothing_else(site: Site) -> None:
    site.bench.runtime.stop("worker", 20)
    site.bench.runtime.start("worker", 20)
    main = site.running("worker")
    # A shell around the worker, the worker, its helper, the run, and the two that the run has started.
    tree = eventually(lambda: process_tree(main), lambda found: len(found) == 6)
    fault = site.fault("kill_run", "worker")
    fault.check()
    assert not fault.proof(0).proven
    fault.inject()
    proof = fault.proof(5)
    assert (proof.proven, "and 2 that it had started" in proof.what) == (True, True)
    left = eventually(lambda: [p.pid for p in process_tree(main) if p.state != "Z"], lambda found: len(found) == 3)
    assert left == [each.pid for each in tree[:3]]
    assert (fault.heal(), fault.mechanism(), fault.restored()) == (None, Mechanism.HEALED_ITSELF, ())
    undo(fault.undo_steps())


@contextmanager
def orchestrator(state: str) -> Iterator[dict[str, Any]]:
    """The section of one that tells this state of run r1."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None: ...

        def do_GET(self) -> None:
            known = self.path == "/api/flow_runs/r1"
            body = json.dumps({"id": "r1", "name": "quick-heron", "state_type": state}).encode() if known else b"{}"
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        yield {"k2_orchestrator": {"url": url, "deployments": [{"name": "flow/each", "interval_s": 60}]}}
        server.shutdown()


class TestARunThatTheOrchestratorKnows:
    @pytest.fixture
    def tree(self, site: Site) -> list[ProcessStat]:
        site.bench.runtime.stop("worker", 20)
        site.bench.runtime.start("worker", 20)
        main = site.running("worker")
        return eventually(lambda: process_tree(main), lambda found: len(found) == 6)

    def test_it_is_killed_while_it_is_running(self, site: Site, tree: list[ProcessStat]) -> None:
        with orchestrator("RUNNING") as section:
            fault = site.fault_of(section, "kill_run", "worker")
            fault.check()
            fault.inject()
        proof = fault.proof(5)
        assert (proof.proven, "flow run r1, RUNNING until then" in proof.what) == (True, True)

    @pytest.mark.parametrize("state", ["COMPLETED", "FAILED"])
    def test_it_is_let_go_on_once_it_is_over(self, site: Site, tree: list[ProcessStat], state: str) -> None:
        with orchestrator(state) as section:
            fault = site.fault_of(section, "kill_run", "worker")
            fault.check()
            with pytest.raises(RunOver, match=f"seen: {state}"):
                fault.inject()
        assert not fault.proof(0).proven
        main = site.running("worker")
        assert [each.pid for each in process_tree(main)] == [each.pid for each in tree]
        eventually(lambda: [each for each in process_tree(main) if is_stopped(each)], lambda stopped: not stopped)

    def test_it_goes_on_where_nobody_can_be_asked(self, site: Site, tree: list[ProcessStat]) -> None:
        with orchestrator("RUNNING") as section:
            pass
        fault = site.fault_of(section, "kill_run", "worker")
        fault.check()
        with pytest.raises(K2Error, match="Prefect"):
            fault.inject()
        eventually(lambda: [p for p in process_tree(site.running("worker")) if is_stopped(p)], lambda still: not still)


def test_a_worker_without_a_run_is_left_alone(site: Site) -> None:
    with pytest.raises(FaultNotPossible, match="no run under way"):
        site.fault("kill_run", "echo").check()


needs_filter = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("iptables", path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None,
    reason="the packet filter takes root and iptables",
)


@needs_filter
class TestCutAtThePort:
    @pytest.fixture(autouse=True)
    def no_rule_is_left(self) -> Iterator[None]:
        yield
        listed = subprocess.run(["/usr/sbin/iptables", "-S", "INPUT"], capture_output=True, text=True, check=True)
        assert "k2-" not in listed.stdout

    def test_clients_hear_nothing_and_their_connections_go_on_afterwards(self, site: Site) -> None:
        with socket.create_connection(("127.0.0.1", site.port), timeout=0.5) as client:
            client.sendall(b"before\n")
            assert client.recv(10) == b"before\n"
            fault = site.fault("disconnect")
            assert fault.plan.needs_root
            fault.check()
            try:
                fault.inject()
                proof = fault.proof(5)
                assert (proof.proven, "no answer" in proof.what) == (True, True)
                client.sendall(b"during\n")
                with pytest.raises(TimeoutError):  # silence, not a reset
                    client.recv(10)
                assert len(fault.restored()) == 3  # two rules, and nobody gets through
                assert fault.heal() is not None
            finally:
                undo(fault.undo_steps())
            client.settimeout(10)
            assert client.recv(10) == b"during\n"
        assert (fault.mechanism(), fault.restored()) == (Mechanism.HEALED_ITSELF, ())

    def test_undo_removes_its_own_rules_only(self, site: Site) -> None:
        first, second = site.fault("disconnect"), site.fault("disconnect")
        first.check()
        second.check()
        try:
            first.inject()
            second.inject()
            undo(json.loads(json.dumps(first.undo_steps())))
            undo(first.undo_steps())
            assert not reachable(site.port)
            with pytest.raises(FaultEndedEarly, match="some of them gone"):
                first.heal()
        finally:
            undo((*first.undo_steps(), *second.undo_steps()))
        assert reachable(site.port)

    def test_without_the_rules_there_is_no_proof(self, site: Site) -> None:
        fault = site.fault("disconnect")
        fault.check()
        proof = fault.proof(0)
        assert (proof.proven, "accepted" in proof.what) == (False, True)

    def test_a_port_nobody_listens_on_is_not_cut(self, site: Site) -> None:
        with pytest.raises(FaultNotPossible, match="refused"):
            site.fault("disconnect", port=free_port()).check()


def test_the_packet_filter_is_roots(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(FaultNotPossible, match="become: true"):
        site.fault("disconnect").check()


@dataclass
class Simulator:
    ports: dict[str, int]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['control']}"

    def state(self, exchange: str = "binance") -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/state", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)[exchange]
            return found


@contextmanager
def client_of(port: int) -> Iterator[socket.socket]:
    """A WebSocket client that only listens."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(
            b"GET /ws/xrpeth@trade HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        yield client


def dropped(client: socket.socket) -> bool:
    """Reads to the end of the connection, which comes at once if it was dropped."""
    try:
        while client.recv(65536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    ports = {name: free_port() for name in ("binance", "kraken", "coinbase", "control")}
    directory = tmp_path_factory.mktemp("simulator")
    arguments = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
    data = ["--data", str(ROOT / "lab/data/real_trades.csv"), "--truth-dir", str(directory / "truth"), "--rate", "30"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "k2lab.exchange_simulator", *data, *arguments],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(ROOT / "lab")},
        )
    try:
        eventually(lambda: reachable(ports["control"]), bool)
        yield Simulator(ports)
    finally:
        process.terminate()
        process.wait(15)


class TestCutAtTheSource:
    def fault(self, site: Site, simulator: Simulator) -> Fault:
        load = {"k2_load": {"control_url": simulator.url}}
        return site.fault_of(load, "cut_source", kind="feed-handler", exchange="binance")

    def test_connections_are_dropped_and_refused_until_healed(self, site: Site, simulator: Simulator) -> None:
        with client_of(simulator.ports["binance"]) as client:
            eventually(lambda: simulator.state()["connections"], lambda n: n == 1)
            fault = self.fault(site, simulator)
            fault.check()
            assert not fault.proof(0).proven
            fault.inject()
            assert fault.proof(5).proven
            assert dropped(client)
            with client_of(simulator.ports["binance"]) as refused:
                assert dropped(refused)
            assert fault.heal() is not None
        assert fault.restored() == ("binance has 0 connections, had 1",)
        with client_of(simulator.ports["binance"]):
            eventually(fault.restored, lambda differences: differences == ())
        assert fault.mechanism() is Mechanism.HEALED_ITSELF

    def test_undo_ends_it_and_an_end_by_another_is_told(self, site: Site, simulator: Simulator) -> None:
        with client_of(simulator.ports["binance"]):
            eventually(lambda: simulator.state()["connections"], lambda n: n == 1)
            fault = self.fault(site, simulator)
            fault.check()
            steps = json.loads(json.dumps(fault.undo_steps()))
            fault.inject()
        undo(steps)
        undo(steps)
        assert simulator.state()["refusing_until_us"] is None
        with pytest.raises(FaultEndedEarly, match="before the cut was over"):
            fault.heal()

    def test_a_source_without_listeners_proves_nothing_and_is_not_cut(self, site: Site, simulator: Simulator) -> None:
        eventually(lambda: simulator.state()["connections"], lambda n: n == 0)
        with pytest.raises(FaultNotPossible, match="0 connections"):
            self.fault(site, simulator).check()

    def test_a_simulator_that_is_gone_is_told(self, site: Site) -> None:
        gone = Simulator({"control": free_port()})
        with pytest.raises(K2Error, match="did not answer"):
            self.fault(site, gone).check()
