# SPDX-License-Identifier: Apache-2.0
"""A platform whose services do as they are told: how long each is out, whom it takes along, whether it comes back.

They write down by CLOCK_MONOTONIC when they were up again, which is the truth that a measurement has to contain.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import State
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.supervisor import SupervisorRuntime
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

from .runtimes import eventually, supervisord

# Reads from plan.json what it is to do at this start. "takes_along" and each of "fails" are used up by one.
SERVER = """
import http.server, json, os, signal, sys, time
from pathlib import Path
home, port, address = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
plan = json.loads((home / "plan.json").read_text())
left = {**plan, "takes_along": None, "fails": max(0, plan.get("fails", 0) - 1)}
(home / "plan.new").write_text(json.dumps(left))
(home / "plan.new").replace(home / "plan.json")
if plan.get("takes_along"):
    os.kill(plan["takes_along"], signal.SIGKILL)
if plan.get("fails"):
    sys.exit(3)
time.sleep(plan.get("delay_s", 0))

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer((address, port), Handler, bind_and_activate=False)
server.server_bind()
before = time.monotonic_ns()
server.server_activate()
with (home / "up").open("a") as file:
    file.write(f"{before} {time.monotonic_ns()}\\n")
server.serve_forever()
"""
PROGRAM = """
[program:{name}]
command={python} {script} {home} {port} 127.0.0.1
startsecs={startsecs}
startretries=1
autorestart=true
redirect_stderr=true
stdout_logfile=NONE
"""
# "careful" counts as running only after a second, so that its supervisor can give up on it.
NAMES = {"front": 0, "careful": 1, "other": 0}


@dataclass(frozen=True)
class Ups:
    """Services that do as they are told, and what they have written down."""

    folder: Path

    def script(self, name: str, **plan: Any) -> None:
        """What the service does at its next starts: ``delay_s`` until it listens, the pid that it ``takes_along``, how
        many of them ``fails``.
        """
        (self.folder / name / "plan.json").write_text(json.dumps(plan), encoding="utf-8")

    def ups(self, name: str) -> list[tuple[int, int]]:
        """Between which readings of the clock the service came up, each time."""
        lines = (self.folder / name / "up").read_text(encoding="utf-8").splitlines()
        return [(int(before), int(after)) for before, after in map(str.split, lines)]


@dataclass(frozen=True)
class Site(Ups):
    """Three services under a supervisord of their own."""

    runtime: SupervisorRuntime
    ports: dict[str, int]
    timeout_s: float = 10.0

    def pid(self, name: str) -> int:
        return self.runtime.pid(name)

    def state(self, name: str) -> State:
        return self.runtime.status(name).state

    def states(self) -> set[State]:
        return {self.state(name) for name in NAMES}

    def answers(self, name: str) -> bool:
        return answers("127.0.0.1", self.ports[name])

    def mend(self) -> None:
        """Have all services up, and nothing scripted."""
        for name in NAMES:
            self.script(name)
            self.runtime.resume(name)
            if self.state(name) is not State.RUNNING:
                self.runtime.start(name, 20)
            elif not self.answers(name):
                self.runtime.stop(name, 20)
                self.runtime.start(name, 20)
        eventually(lambda: [name for name in NAMES if not self.answers(name)], lambda missing: not missing)

    def data(self, **modes: dict[str, Any]) -> dict[str, Any]:
        """The platform's profile with these failure modes."""
        services = {
            name: {"port": port, "probe": {"http": {"url": f"http://127.0.0.1:{port}/"}}}
            for name, port in self.ports.items()
        }
        settings = {"socket": self.runtime._socket, "timeout_s": self.timeout_s}
        return profile_data("supervisor", settings, services, modes)

    def profile(self, **modes: dict[str, Any]) -> Profile:
        return parse_profile(self.data(**modes))


def answers(address: str, port: int) -> bool:
    """Whether a connection is accepted there."""
    try:
        socket.create_connection((address, port), timeout=0.5).close()
    except OSError:
        return False
    return True


def profile_data(
    runtime: str, settings: dict[str, Any], services: dict[str, dict[str, Any]], modes: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """A profile of services that may be broken, with these failure modes."""
    return {
        "k2_platform": {"name": "scripted", "scale": "lab", "runtime": runtime, "runtimes": {runtime: settings}},
        "k2_services": {name: {"kind": "service", "allow_faults": True} | more for name, more in services.items()},
        "k2_failure_modes": {
            name: {"services": ["front"], "recovery_at": "served"} | mode for name, mode in modes.items()
        },
    }


@contextmanager
def scripted(folder: Path) -> Iterator[Site]:
    script = folder / "server.py"
    script.write_text(SERVER, encoding="utf-8")
    ports = dict(zip(NAMES, _free_ports(len(NAMES)), strict=True))
    programs = ""
    for name, startsecs in NAMES.items():
        home = folder / name
        home.mkdir()
        (home / "plan.json").write_text("{}", encoding="utf-8")
        programs += PROGRAM.format(
            name=name, python=sys.executable, script=script, home=home, port=ports[name], startsecs=startsecs
        )
    with supervisord(programs) as bench:
        assert isinstance(bench.runtime, SupervisorRuntime)
        yield Site(folder, bench.runtime, ports)


def _free_ports(count: int) -> list[int]:
    # All held at once, so that none is given twice.
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
