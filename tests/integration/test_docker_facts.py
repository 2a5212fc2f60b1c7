# SPDX-License-Identifier: Apache-2.0
"""What a real Docker Engine does, as far as faults on containers rely on it. Each fact is looked at without our runtime
where that is possible: when an engine changes its ways, the test that fails names what no longer holds.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.fault.inject.unit import Process
from ansible_collections.k2.hardening.plugins.module_utils.platform.procfs import read_stat
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import Attachment, EventKind
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.engine_api import EngineApi, EngineError

from .boxes import PYTHON, python_mounts
from .runtimes import Engine, Subnet, events_until, eventually

HEALTHY = ("--health-cmd", "true", "--health-interval", "200ms", "--health-retries", "1")
IDLE = "sleep 600"
# The engine has decided within milliseconds; an end that nobody restarts is looked at for longer than a restart takes.
NOT_RESTARTED_S = 1.5
V1_FREEZER = Path("/sys/fs/cgroup/freezer").is_dir()


@pytest.fixture(scope="module")
def subnet(engine: Engine) -> Iterator[Subnet]:
    with engine.subnet() as made:
        yield made


def state(engine: Engine, name: str) -> dict[str, Any]:
    found: dict[str, Any] = engine.inspect(name)["State"]
    return found


def running(engine: Engine, name: str, not_pid: int = 0) -> int:
    """The pid of its main process, once there is another than ``not_pid``."""

    def pid() -> int:
        now = state(engine, name)
        return int(now["Pid"]) if now["Status"] == "running" and now["Pid"] != not_pid else 0

    return eventually(pid, bool)


def stays_down(engine: Engine, name: str) -> bool:
    eventually(lambda: state(engine, name)["Status"], lambda status: status == "exited")
    end = time.monotonic() + NOT_RESTARTED_S
    eventually(lambda: state(engine, name)["Status"] != "exited" or time.monotonic() > end, bool)
    return bool(state(engine, name)["Status"] == "exited")


def actions(engine: Engine, name: str, since: str) -> list[tuple[str, int]]:
    """What the engine reported of a container since then, with its own time (ns)."""
    now = f"{time.time():.6f}"
    words = ["events", "--since", since, "--until", now, "--filter", f"container={name}", "--format", "{{json .}}"]
    told = [json.loads(line) for line in engine.docker(*words).splitlines()]
    return [(str(each["Action"]), int(each["timeNano"])) for each in told]


def refusal(engine: Engine, path: str, body: dict[str, Any] | None = None) -> int:
    with pytest.raises(EngineError) as error:
        EngineApi(engine.socket, 10).post(path, body=body)
    return error.value.status


class TestKilling:
    def test_a_kill_from_the_host_is_a_crash_and_restarts_within_seconds(self, engine: Engine) -> None:
        with engine.container("--restart", "unless-stopped") as name:
            victim = running(engine, name)
            begun = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            running(engine, name, victim)
            assert time.monotonic() - begun < 5
            assert engine.inspect(name)["RestartCount"] == 1

    @pytest.mark.parametrize("policy", ["unless-stopped", "always"])
    def test_a_kill_through_the_engine_is_a_manual_stop(self, engine: Engine, policy: str) -> None:
        with engine.container("--restart", policy) as name:
            engine.docker("kill", name)
            assert stays_down(engine, name)

    def test_even_a_signal_to_reload_spoils_the_restart_after_the_next_crash(self, engine: Engine) -> None:
        ignores = "trap : HUP; while :; do sleep 0.1; done"
        with engine.container("--restart", "unless-stopped", command=ignores) as name:
            engine.docker("kill", "-s", "HUP", name)
            assert state(engine, name)["Status"] == "running"
            os.kill(running(engine, name), signal.SIGKILL)
            assert stays_down(engine, name)

    def test_without_a_policy_nothing_restarts_and_the_policy_can_be_read(self, engine: Engine) -> None:
        with engine.container() as name:
            assert engine.inspect(name)["HostConfig"]["RestartPolicy"]["Name"] in ("", "no")
            os.kill(running(engine, name), signal.SIGKILL)
            assert stays_down(engine, name)

    def test_restarts_on_failure_are_counted_until_they_are_used_up(self, engine: Engine) -> None:
        with engine.container("--restart", "on-failure:1") as name:
            assert engine.runtime().restart_policy(name).after_crash
            victim = running(engine, name)
            os.kill(victim, signal.SIGKILL)
            second = running(engine, name, victim)
            told = engine.runtime().restart_policy(name)
            assert (told.text, told.after_crash) == ("on-failure:1, of which 1 used", False)
            os.kill(second, signal.SIGKILL)
            assert stays_down(engine, name)

    def test_a_shell_inside_cannot_kill_the_main_process(self, engine: Engine) -> None:
        with engine.container(init=False) as name:
            victim = running(engine, name)
            engine.docker("exec", name, "sh", "-c", "kill -9 1")
            assert running(engine, name) == victim
            assert engine.inspect(name)["RestartCount"] == 0

    def test_the_wait_before_a_restart_doubles_from_100_ms_and_is_forgotten_after_10_s_of_uptime(
        self, engine: Engine
    ) -> None:
        # It ends at once five times, and then runs until it is killed.
        five = "echo x >>/tmp/n; test $(wc -l </tmp/n) -gt 5 || exit 1; exec sleep 600"
        since = f"{time.time():.6f}"
        with engine.container("--restart", "unless-stopped", command=five) as name:
            # While one waits for its restart, an engine says "running" of it, too, but not as its status.
            info = eventually(
                lambda: engine.inspect(name), lambda i: i["RestartCount"] == 5 and i["State"]["Status"] == "running"
            )
            up = time.monotonic()
            told = [each for each in actions(engine, name, since) if each[0] in ("die", "start")]
            waits = [(b[1] - a[1]) / 1e9 for a, b in pairwise(told) if (a[0], b[0]) == ("die", "start")]
            assert len(waits) == 5
            assert all(wait >= 0.1 * 2**n for n, wait in enumerate(waits)), waits
            eventually(lambda: time.monotonic() - up > 10.2, bool)
            os.kill(info["State"]["Pid"], signal.SIGKILL)
            killed = time.monotonic()
            running(engine, name, info["State"]["Pid"])
            assert time.monotonic() - killed < 0.1 * 2**5, "as after an only failure"


class TestPausing:
    def test_the_health_check_fails_at_once_and_no_event_tells(self, engine: Engine) -> None:
        with engine.container(*HEALTHY, command=IDLE) as name:
            eventually(lambda: state(engine, name)["Health"]["Status"], lambda health: health == "healthy")
            since = f"{time.time():.6f}"
            engine.docker("pause", name)
            eventually(lambda: state(engine, name)["Health"]["Status"], lambda health: health == "unhealthy")
            told = [action for action, _ in actions(engine, name, since)]
            engine.docker("unpause", name)
        assert "pause" in told
        assert not [action for action in told if action.startswith("health_status")]

    @pytest.mark.skipif(not V1_FREEZER, reason="the freezer of cgroup version 2 lets a SIGKILL through")
    def test_a_kill_of_what_is_paused_waits_until_it_goes_on(self, engine: Engine) -> None:
        with engine.container("--restart", "unless-stopped", command=IDLE) as name:
            victim = Process.of(running(engine, name))
            assert victim is not None
            engine.docker("pause", name)
            os.kill(victim.pid, signal.SIGKILL)
            end = time.monotonic() + NOT_RESTARTED_S
            eventually(lambda: not victim.alive or time.monotonic() > end, bool)
            assert victim.alive
            engine.docker("unpause", name)
            running(engine, name, victim.pid)
            assert not victim.alive

    def test_what_is_not_paused_cannot_be_unpaused(self, engine: Engine) -> None:
        with engine.container() as name:
            assert refusal(engine, f"/containers/{name}/unpause") in (409, 500)


class TestHealth:
    def test_what_is_unhealthy_is_never_restarted(self, engine: Engine) -> None:
        sick = ("--health-cmd", "false", "--health-interval", "200ms", "--health-retries", "1")
        with engine.container(*sick, "--restart", "always", command=IDLE) as name:
            pid = running(engine, name)
            health = eventually(lambda: state(engine, name)["Health"], lambda found: found["FailingStreak"] >= 5)
            assert health["Status"] == "unhealthy"
            assert (running(engine, name), engine.inspect(name)["RestartCount"]) == (pid, 0)


class TestNetworks:
    def endpoint(self, engine: Engine, name: str, network: str) -> Attachment:
        (found,) = engine.runtime().attachments(name)
        assert found.network == network
        return found

    def test_a_disconnect_drops_address_and_aliases_which_a_plain_connect_does_not_bring_back(
        self, engine: Engine, subnet: Subnet
    ) -> None:
        options = ("--network", subnet.name, "--ip", f"{subnet.prefix}.77", "--network-alias", "db")
        with engine.container(*options) as name:
            assert self.endpoint(engine, name, subnet.name).ipv4 == f"{subnet.prefix}.77"
            engine.docker("network", "disconnect", subnet.name, name)
            assert engine.inspect(name)["NetworkSettings"]["Networks"] == {}
            engine.docker("network", "connect", subnet.name, name)
            plain = self.endpoint(engine, name, subnet.name)
            assert (plain.ipv4, "db" in plain.aliases) == (None, False)

    def test_while_disconnected_commands_and_health_checks_succeed_and_only_a_peer_notices(
        self, engine: Engine, subnet: Subnet
    ) -> None:
        address = f"{subnet.prefix}.78"
        # Its health check asks the service as a client would, but from inside.
        port = "8000"
        script = f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)"
        health = ("--health-cmd", f'{PYTHON} -c "{script}"', "--health-interval", "300ms", "--health-retries", "1")
        serve = f"exec {PYTHON} -m http.server {port}"
        options = ("--network", subnet.name, "--ip", address, *health, *python_mounts())
        with engine.container(*options, command=serve) as name, engine.network():
            eventually(lambda: state(engine, name)["Health"]["Status"], lambda found: found == "healthy")
            socket.create_connection((address, int(port)), 2).close()
            engine.docker("network", "disconnect", subnet.name, name)
            checked = state(engine, name)["Health"]["Log"][-1]["End"]
            assert engine.docker("exec", name, "echo", "answers") == "answers"
            after = eventually(
                lambda: state(engine, name)["Health"], lambda found: sum(e["End"] > checked for e in found["Log"]) >= 2
            )
            assert after["Status"] == "healthy"
            with pytest.raises(OSError, match=r"timed out|unreachable|No route"):
                socket.create_connection((address, int(port)), 1)

    def test_what_is_connected_is_not_connected_again(self, engine: Engine, subnet: Subnet) -> None:
        with engine.container("--network", subnet.name) as name:
            assert refusal(engine, f"/networks/{subnet.name}/connect", {"Container": name}) in (403, 409)

    def test_a_container_that_crashes_gets_a_network_namespace_without_the_rules_of_the_last(
        self, engine: Engine, subnet: Subnet
    ) -> None:
        def rules(pid: int) -> str:
            words = ["nsenter", "-t", str(pid), "-n", "iptables", "-w", "5"]
            return subprocess.run([*words, "-S", "INPUT"], capture_output=True, text=True, check=True).stdout

        with engine.container("--network", subnet.name, "--restart", "unless-stopped", command=IDLE) as name:
            first = running(engine, name)
            enter = ["nsenter", "-t", str(first), "-n", "iptables", "-w", "5", "-I", "INPUT", "-s", "192.0.2.9"]
            subprocess.run([*enter, "-j", "DROP"], check=True)
            assert "192.0.2.9" in rules(first)
            os.kill(first, signal.SIGKILL)
            assert "192.0.2.9" not in rules(running(engine, name, first))


class TestMemory:
    def test_a_child_that_runs_out_of_memory_is_an_event_and_no_state(self, engine: Engine) -> None:
        runtime = engine.runtime()
        limits = ("--memory", "24m", "--memory-swap", "24m")
        child = "sleep 0.5; tail /dev/zero; echo survived; sleep 600"
        with engine.container(*limits, command=child) as name, runtime.events((name,)) as stream:
            events_until(stream, EventKind.OOM, seconds=60)
            eventually(lambda: engine.docker("logs", name), lambda said: "survived" in said)
            told = state(engine, name)
            assert (told["Status"], told["OOMKilled"]) == ("running", False)
            kills = runtime.resources(name).oom_kills
            assert kills is None or kills >= 1  # a kernel that counts them

    def test_cgroup_files_are_read_in_a_fraction_of_what_the_engine_takes(self, engine: Engine) -> None:
        runtime = engine.runtime()
        with engine.container() as name:
            runtime.resources(name)
            begun = time.monotonic()
            for _ in range(5):
                runtime.resources(name)
            ours = (time.monotonic() - begun) / 5
            begun = time.monotonic()
            engine.docker("stats", "--no-stream", name)
            assert ours < (time.monotonic() - begun) / 3

    def test_page_cache_that_nobody_uses_is_no_working_set(self, engine: Engine) -> None:
        writes = "dd if=/dev/zero of=/big bs=1M count=64 2>/dev/null && sync /big; echo written; sleep 600"
        with engine.container(command=writes) as name:
            eventually(lambda: engine.docker("logs", name), lambda said: "written" in said)
            stat = read_stat(running(engine, name))
            assert stat is not None
            assert engine.runtime().resources(name).memory_bytes < 48 << 20
