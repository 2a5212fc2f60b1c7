# SPDX-License-Identifier: Apache-2.0
"""Real runtimes for tests: a supervisord of its own, and a Docker Engine."""

from __future__ import annotations

import ctypes
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
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
_CLONE_NEWNET = 0x40000000
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
    with own_engine() as engine:
        yield engine.socket


@contextmanager
def own_engine() -> Iterator[Engine]:
    """An engine of the tests' own, apart from any other on this machine; skips where none can run."""
    folder = Path(tempfile.mkdtemp(prefix="k2eng-"))
    engine = Engine(str(folder / "docker.sock"))
    try:
        reason = engine.begin()
        if reason:
            pytest.skip(f"no Docker Engine: {reason}")
        yield engine
    finally:
        engine.end()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(host: str) -> bool:
    if shutil.which("docker") is None:
        return False
    probe = ["docker", "-H", host, "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(probe, capture_output=True, timeout=20, check=False).returncode == 0


def new_name() -> str:
    """For a container or a network of a test."""
    return f"k2test-{uuid.uuid4().hex[:8]}"


def _enter(handle: int) -> None:
    """Move this thread to the network namespace behind ``handle``."""
    if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@dataclass(frozen=True)
class Subnet:
    """A network of containers; ``prefix`` is the first three numbers of its addresses."""

    name: str
    prefix: str


@dataclass(frozen=True)
class Engine:
    """The docker command line against one engine; tests arrange with it and act through the runtime under test."""

    socket: str

    @property
    def folder(self) -> Path:
        """Of an engine of our own."""
        return Path(self.socket).parent

    def begin(self) -> str:
        """Start an engine of our own, also one that was killed; the reason why it cannot be, else nothing."""
        started = self._script("start-engine.sh", 120)
        return "" if started.returncode == 0 else started.stderr.strip().splitlines()[-1]

    def kill(self) -> None:
        """Kill an engine of our own, as a crash would: what manages its containers' processes dies with it."""
        pid = int((self.folder / "docker.pid").read_text(encoding="ascii"))
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: _answers(f"unix://{self.socket}"), lambda answers: not answers)

    def end(self) -> None:
        """Stop an engine of our own with all its containers; one that was killed has left theirs running."""
        if (self.folder / "docker.pid").exists() and not _answers(f"unix://{self.socket}"):
            self.begin()
        stopped = self._script("stop-engine.sh", 60)
        assert stopped.returncode == 0, stopped.stderr

    def _script(self, name: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "ENGINE_DIR": str(self.folder), "ENGINE_APART": "yes"}
        return subprocess.run(
            [ENGINE / name], env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    @contextmanager
    def network(self) -> Iterator[None]:
        """Have this thread, and all that it starts meanwhile, on the engine's network, where containers are reached."""
        apart = self.folder / "netns"
        if not apart.exists():
            yield  # an engine on the host's network
            return
        with Path("/proc/thread-self/ns/net").open("rb") as own, apart.open("rb") as other:
            _enter(other.fileno())
            try:
                yield
            finally:
                _enter(own.fileno())

    def docker(self, *arguments: str) -> str:
        command = ["docker", "-H", f"unix://{self.socket}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout.strip()

    def inspect(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.docker("inspect", container))[0]
        return found

    def image(self) -> str:
        """An image that runs the host's own programs."""
        made = subprocess.run(
            [ENGINE / "host-image.sh"],
            env={**os.environ, "DOCKER_HOST": f"unix://{self.socket}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return made.stdout.strip()

    @contextmanager
    def container(
        self, *options: str, command: str = TICKER, argv: Sequence[str] | None = None, init: bool = True
    ) -> Iterator[str]:
        """A container that runs the host's own programs; its name is new each time."""
        name = new_name()
        # `docker run --init` makes the shell a child that hears SIGTERM, as real services do.
        first = ["--init"] if init else []
        mounts = ["-v", "/usr:/usr:ro"]
        words = ["sh", "-c", command] if argv is None else argv
        self.docker("run", "-d", *first, "--name", name, *mounts, *options, self.image(), *words)
        try:
            yield name
        finally:
            self.docker("rm", "-f", "-v", name)

    @contextmanager
    def subnet(self) -> Iterator[Subnet]:
        """A network of containers, with addresses that nobody else of this engine has."""
        name = new_name()
        # Beside what engines take by themselves.
        choices = iter(random.sample(range(256), 20))

        def create() -> Subnet | None:
            subnet = Subnet(name, f"10.213.{next(choices)}")
            words = ["docker", "-H", f"unix://{self.socket}", "network", "create", "--subnet", f"{subnet.prefix}.0/24"]
            made = subprocess.run([*words, name], capture_output=True, text=True, timeout=60, check=False)
            return subnet if made.returncode == 0 else None

        found = eventually(create, bool)
        assert found is not None
        try:
            yield found
        finally:
            self.docker("network", "rm", name)

    def runtime(self, project: str | None = None) -> DockerRuntime:
        return DockerRuntime(RuntimeSettings(self.socket, 10.0, project))
