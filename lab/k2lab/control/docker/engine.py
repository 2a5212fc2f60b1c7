# SPDX-License-Identifier: Apache-2.0
"""The engine a lab runs on: one that answers already, else one of its own that comes and goes with the lab.

An engine of its own changes no packet filter and makes no default bridge, so that it stands beside any other: ports are
published by its proxy alone, and nothing in a container reaches beyond this machine. Where another engine has left the
kernel dropping what it forwards, one rule lets the lab's containers speak to each other.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from k2lab.common.errors import LabError
from k2lab.control.docker.api import Engine
from k2lab.control.lab import Lab

DEFAULT_SOCKET = Path("/var/run/docker.sock")
PROGRAMS = ("dockerd", "containerd", "runc")
# Packages put them where a user's PATH may not lead.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
COMMAND_TIMEOUT_S = 20.0
POLL_S = 0.1
# The kernel's longest name of an interface.
INTERFACE_MAX = 15
PACKAGES = "docker.io"


@dataclass(frozen=True)
class Daemon:
    """A dockerd of the lab's own."""

    lab: Lab

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.lab.engine_run / "docker.sock"

    @property
    def _pid_file(self) -> Path:
        return self.lab.engine_run / "docker.pid"

    @property
    def _exec_root(self) -> Path:
        return self.lab.engine_run / "exec"

    @property
    def is_there(self) -> bool:
        """True when one was started for this lab and not taken away since, running or not."""
        return self.lab.engine_run.is_dir() or self.lab.engine_data.is_dir()

    def hindrance(self) -> str | None:
        """Why none could be started here; None when one could."""
        missing = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
        if missing:
            return f"{', '.join(missing)} not installed: make setup-docker, or apt install {PACKAGES}"
        if os.geteuid() != 0:
            return "to start one takes root: start Docker (systemctl start docker), or become root"
        return None

    def start(self) -> None:
        """Have it answer; one that runs is kept. Raises LabError, with the end of its log."""
        if self._answers():
            return
        if self._pid() is None:
            self._launch()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if time.monotonic() > deadline:
                log = self.lab.log("engine")
                raise LabError(
                    f"an engine of the lab's own to answer within {START_TIMEOUT_S:.0f} s",
                    f"last lines of {log}:\n{self.lab.log_tail('engine')}",
                    "correct the cause, or start Docker yourself, and run lab-up again",
                )
            time.sleep(POLL_S)

    def stop(self) -> bool:
        """End it and remove its files, images and containers; True when there was something."""
        if not self.is_there:
            return False
        if (pid := self._pid()) is not None:
            os.kill(pid, signal.SIGTERM)
            if not _gone(pid, STOP_TIMEOUT_S):
                os.kill(pid, signal.SIGKILL)
                _gone(pid, STOP_TIMEOUT_S)
        # A dockerd that was killed leaves its containerd.
        containerd = _pid_in(self._exec_root / "containerd" / "containerd.pid", "containerd")
        if containerd is not None:
            os.kill(containerd, signal.SIGTERM)
            _gone(containerd, STOP_TIMEOUT_S)
        # A dockerd that was killed leaves, beside networks' namespaces, the mount of its data directory onto itself.
        _unmount(STOP_TIMEOUT_S, self.lab.engine_run, self.lab.engine_data)
        for directory in (self.lab.engine_data, self.lab.engine_run):
            shutil.rmtree(directory, ignore_errors=True)
        if self.lab.engine_data.exists() or self.lab.engine_run.exists():
            raise LabError(
                f"{self.lab.engine_data} and {self.lab.engine_run} to be removed",
                "something in them is mounted or in use",
                "see what holds them (findmnt, lsof), run lab-down again",
            )
        return True

    def _answers(self) -> bool:
        return Engine(self.socket).unreachable() is None

    def _pid(self) -> int | None:
        return _pid_in(self._pid_file, "dockerd")

    def _launch(self) -> None:
        if hindrance := self.hindrance():
            raise LabError("an engine of the lab's own to start", hindrance, "then run lab-up again")
        run = self.lab.engine_run
        # Whoever reaches the socket of an engine is root: the directory is made by us alone or not used.
        run.mkdir(mode=0o700, exist_ok=True)
        seen = run.lstat()
        if seen.st_uid != os.getuid() or seen.st_mode & 0o077:
            raise LabError(f"{run} to be this user's alone", "another owner or mode", "remove it")
        self.lab.engine_data.mkdir(exist_ok=True)
        # Pid files may name zombies, which dockerd takes for living: it would give up after 15 s.
        self._pid_file.unlink(missing_ok=True)
        containerd = self._exec_root / "containerd" / "containerd.pid"
        if _pid_in(containerd, "containerd") is None:
            containerd.unlink(missing_ok=True)
        command = [
            *("dockerd", "--data-root", str(self.lab.engine_data), "--exec-root", str(self._exec_root)),
            *("--pidfile", str(self._pid_file), "-H", f"unix://{self.socket}", "--log-level", "warn"),
            *("--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-masq=false"),
            # Containers outlive a dockerd that is killed, and the next one takes them over.
            "--live-restore",
        ]
        self.lab.logs.mkdir(parents=True, exist_ok=True)
        with self.lab.log("engine").open("a") as log:
            subprocess.Popen(
                command,
                env={**os.environ, "PATH": _path()},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def find_socket(lab: Lab) -> tuple[Path | None, str]:
    """The socket of the engine to use, or None and why none can be: the lab's own, the user's, the system's.

    DOCKER_HOST decides where it is set. Nothing is started.
    """
    own = Daemon(lab)
    if own.is_there:
        return own.socket, ""
    chosen = os.environ.get("DOCKER_HOST")
    if chosen and not chosen.startswith("unix://"):
        return None, f"DOCKER_HOST is {chosen}: a lab needs an engine of this machine, as unix:///path/to/docker.sock"
    socket = Path(chosen.removeprefix("unix://")) if chosen else DEFAULT_SOCKET
    reason = Engine(socket).unreachable()
    if reason is None:
        return socket, ""
    if chosen or "no permission" in reason:
        return None, reason
    hindrance = own.hindrance()
    return (None, f"{reason}, and {hindrance}") if hindrance else (own.socket, "")


def bridge_of(lab: Lab) -> str:
    """Name of the bridge of the lab's network on the host."""
    return f"k2-{lab.lab_id}"[:INTERFACE_MAX]


def let_through(bridge: str, lab_id: str, *, wanted: bool) -> None:
    """Have, or have not, the one rule by which containers on `bridge` reach each other whatever else is forwarded."""
    iptables = shutil.which("iptables", path=_path())
    if iptables is None:
        return  # then nothing drops what is forwarded either
    rule = ["FORWARD", "-i", bridge, "-o", bridge, "-m", "comment", "--comment", f"k2-lab-{lab_id}", "-j", "ACCEPT"]

    def done(action: str) -> bool:
        outcome = subprocess.run(
            [iptables, "-w", "10", action, *rule], capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False
        )
        return outcome.returncode == 0

    if wanted and not done("-C"):
        done("-I")
    while not wanted and done("-D"):
        pass


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{SYSTEM_PATH}"


def _pid_in(path: Path, name: str) -> int | None:
    """The process that a pid file names, if it lives and is what it should be. A zombie does not live."""
    try:
        pid = int(path.read_text())
        status = Path(f"/proc/{pid}/status").read_text()
        command = Path(f"/proc/{pid}/comm").read_text().strip()
    except (OSError, ValueError):
        return None
    return pid if command == name and "State:\tZ" not in status else None


def _gone(pid: int, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
        except OSError:
            return True
        time.sleep(POLL_S)
    return False


def _unmount(timeout_s: float, *roots: Path) -> None:
    """Take away what is mounted there. Busy is what a process holds whose first thread has ended, and not yet all."""
    deadline = time.monotonic() + timeout_s
    while mounts := _mounts_at(*roots):
        for mount in mounts:
            subprocess.run(["umount", mount], timeout=COMMAND_TIMEOUT_S, check=False, capture_output=True)
        if time.monotonic() > deadline:
            return
        time.sleep(POLL_S)


def _mounts_at(*roots: Path) -> list[str]:
    """Mount points at and below the directories, the deepest first; one that is mounted twice is there twice."""
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return sorted((each for each in points if any(Path(each).is_relative_to(root) for root in roots)), reverse=True)
