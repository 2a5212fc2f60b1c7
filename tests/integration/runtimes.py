# SPDX-License-Identifier: Apache-2.0
"""Real runtimes for tests: a supervisord of its own, and a Docker Engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import (
    Event,
    EventKind,
    EventStream,
    Runtime,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.docker import DockerRuntime
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.supervisor import SupervisorRuntime
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import RuntimeSettings

T = TypeVar("T")
ENGINE = Path(__file__).parent / "engine"
# Uses CPU, writes a line ten times a second, and never ends by itself.
TICKER = "i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.1; done"


@dataclass(frozen=True)
class Bench:
    """A runtime with one ticking unit that its runtime restarts after a crash."""

    runtime: Runtime
    unit: str


def eventually(act: Callable[[], T], accept: Callable[[T], bool], seconds: float = 20.0) -> T:
    """The first value of ``act`` that ``accept`` takes."""
    end = time.monotonic() + seconds
    while True:
        value = act()
        if accept(value):
            return value
        assert time.monotonic() < end, f"still {value!r} after {seconds:g} s"
        time.sleep(0.05)


def events_until(stream: EventStream, kind: EventKind, seconds: float = 20.0) -> list[Event]:
    """What the stream tells, up to and with the first event of ``kind``."""
    seen: list[Event] = []

    def found() -> bool:
        seen.extend(stream.poll(1))
        return any(event.kind is kind for event in seen)

    eventually(found, bool, seconds)
    return seen


@contextmanager
def supervisord(programs: str = "") -> Iterator[Bench]:
    """A private supervisord, with ``programs`` besides its own.

    Its folder is short because a socket's path has 107 characters at most.
    """
    pytest.importorskip("supervisor", reason="supervisor is not installed in this Python")
    folder = Path(tempfile.mkdtemp(prefix="k2sup-"))
    config = folder / "supervisord.conf"
    config.write_text(
        f"""
[unix_http_server]
file={folder}/s.sock
[supervisord]
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:ticker]
command=/bin/sh -c "{TICKER}"
startsecs=0
autorestart=true
redirect_stderr=true
stdout_logfile={folder}/ticker.log
stopasgroup=true
killasgroup=true
[program:broken]
command=/bin/sh -c "echo no licence found; exit 3"
startsecs=1
startretries=0
autostart=false
redirect_stderr=true
stdout_logfile={folder}/broken.log
{programs}
""",
        encoding="utf-8",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", config], stdout=subprocess.DEVNULL
    )
    try:
        eventually((folder / "s.sock").exists, bool)
        yield Bench(SupervisorRuntime(RuntimeSettings(str(folder / "s.sock"), 5.0)), "ticker")
    finally:
        process.terminate()
        process.wait(timeout=30)
        shutil.rmtree(folder)


def engine_socket() -> Generator[str, None, None]:
    """The socket of a running engine, else of one started for the tests; skips where neither can be had."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if host.startswith("unix://") and _answers(host):
        yield host.removeprefix("unix://")
        return
    folder = tempfile.mkdtemp(prefix="k2eng-")
    environment = {**os.environ, "ENGINE_DIR": folder}
    try:
        started = subprocess.run(
            [ENGINE / "start-engine.sh"], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        if started.returncode != 0:
            pytest.skip(f"no Docker Engine: {started.stderr.strip().splitlines()[-1]}")
        yield f"{folder}/docker.sock"
    finally:
        subprocess.run([ENGINE / "stop-engine.sh"], env=environment, timeout=60, check=True)
        shutil.rmtree(folder, ignore_errors=True)


def _answers(host: str) -> bool:
    if shutil.which("docker") is None:
        return False
    probe = ["docker", "-H", host, "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(probe, capture_output=True, timeout=20, check=False).returncode == 0


@dataclass(frozen=True)
class Engine:
    """The docker command line against one engine; tests arrange with it and act through the runtime under test."""

    socket: str

    def docker(self, *arguments: str) -> str:
        command = ["docker", "-H", f"unix://{self.socket}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout.strip()

    def inspect(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.docker("inspect", container))[0]
        return found

    @contextmanager
    def container(self, *options: str, command: str = TICKER) -> Iterator[str]:
        """A container that runs the host's own programs; its name is new each time."""
        image = subprocess.run(
            [ENGINE / "host-image.sh"],
            env={**os.environ, "DOCKER_HOST": f"unix://{self.socket}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.strip()
        name = f"k2test-{uuid.uuid4().hex[:8]}"
        # `docker run --init` makes the shell a child that hears SIGTERM, as real services do.
        self.docker("run", "-d", "--init", "--name", name, "-v", "/usr:/usr:ro", *options, image, "sh", "-c", command)
        try:
            yield name
        finally:
            self.docker("rm", "-f", "-v", name)

    def runtime(self, project: str | None = None) -> DockerRuntime:
        return DockerRuntime(RuntimeSettings(self.socket, 10.0, project))
