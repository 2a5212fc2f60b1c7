# SPDX-License-Identifier: Apache-2.0
"""This machine as hosts that are reached over SSH: a server of its own for each, and an inventory of a lab there."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from .lab import ROOT
from .stores import free_ports, until

INVENTORY = ROOT / "inventory" / "lab"
PLATFORM, LOAD = "platform-host", "load-host"
PRIVILEGE_SEPARATION = Path("/run/sshd")


@dataclass(frozen=True)
class Remote:
    """Two hosts over SSH; each has an environment of its own, and both are told one state directory."""

    inventory: Path
    directory: Path

    def venv(self, host: str) -> Path:
        """Where role bench_host puts the environment of ``host``."""
        return self.directory / host / "venv"

    @property
    def state(self) -> Path:
        """What the hosts keep."""
        return self.directory / "state"

    def commands(self, host: str) -> int:
        """How many commands ``host`` was sent so far."""
        log = (self.directory / host / "sshd.log").read_text(encoding="utf-8", errors="replace")
        return log.count("Starting session: command")

    def write_inventory(self, ports: dict[str, int]) -> None:
        """Describe the lab as one on these hosts."""
        folder = self.inventory
        folder.mkdir(parents=True, exist_ok=True)
        hosts = {
            name: {
                "ansible_host": "127.0.0.1",
                "ansible_port": port,
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(self.directory / "key"),
                "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={self.directory / 'known_hosts'}",
                # Not the tests' own Python, which has everything; the environment's, once there is one.
                "ansible_python_interpreter": str(self.venv(name) / "bin" / "python"),
                "ansible_remote_tmp": str(self.directory / name / "tmp"),
                "ansible_pipelining": True,
                "k2_bench_host_venv": str(self.venv(name)),
                "k2_state_dir": str(self.state),
            }
            for name, port in ports.items()
        }
        groups = {"platform": {"hosts": {PLATFORM: hosts[PLATFORM]}}, "load": {"hosts": {LOAD: hosts[LOAD]}}}
        (folder / "hosts.yml").write_text(yaml.safe_dump(groups), encoding="utf-8")
        for link, target in ((folder / "group_vars", INVENTORY / "group_vars"), (folder / "../../lab", ROOT / "lab")):
            if not link.exists():
                link.symlink_to(target)


def obstacle() -> str | None:
    """Why no SSH server can be run here, if none can."""
    if os.geteuid() != 0:
        return "an SSH server that lets somebody in needs root"
    missing = [name for name in ("ssh", "ssh-keygen") if shutil.which(name) is None]
    if program() is None:
        missing.append("sshd")
    return f"no {', '.join(missing)} (Debian: apt install openssh-server openssh-client)" if missing else None


def program() -> str | None:
    """The server, by the absolute path that it wants to be called by."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@contextmanager
def two_hosts() -> Iterator[Remote]:
    """Two servers and an inventory that names them; all is gone afterwards. Skips where there can be none."""
    if why := obstacle():
        pytest.skip(why)
    # A socket's path has little room, less than pytest's own directories leave.
    directory = Path(tempfile.mkdtemp(prefix="k2-ssh-"))
    remote = Remote(directory / "inventory" / "remote", directory)
    servers: list[subprocess.Popen[bytes]] = []
    try:
        _make_key(directory / "key")
        PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        ports = dict(zip((PLATFORM, LOAD), free_ports(2), strict=True))
        servers.extend(_start(directory, name, port) for name, port in ports.items())
        remote.write_inventory(ports)
        yield remote
    finally:
        _close_connections(directory / "cp")
        for server in servers:
            server.terminate()
            server.wait(timeout=10)
        shutil.rmtree(directory)


def _start(directory: Path, name: str, port: int) -> subprocess.Popen[bytes]:
    own = directory / name
    own.mkdir()
    _make_key(own / "host_key")
    public = (own / "host_key.pub").read_text(encoding="ascii").split()[:2]
    with (directory / "known_hosts").open("a", encoding="ascii") as known:
        known.write(f"[127.0.0.1]:{port} {' '.join(public)}\n")
    # How pip gets its packages on this machine may be told by its environment.
    pip = [f'{key}="{value}"' for key, value in os.environ.items() if key.startswith("PIP_")]
    settings = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {own / 'host_key'}",
        f"PidFile {own / 'sshd.pid'}",
        f"AuthorizedKeysFile {directory / 'key.pub'}",
        "AuthenticationMethods publickey",
        "PermitRootLogin prohibit-password",
        # The key lies below /tmp, which everybody may write to.
        "StrictModes no",
        "UsePAM no",
        "LogLevel VERBOSE",
        "MaxStartups 100",
        "Subsystem sftp internal-sftp",
        *([f"SetEnv {' '.join(pip)}"] if pip else []),
    ]
    (own / "sshd_config").write_text("\n".join(settings) + "\n", encoding="utf-8")
    server = program()
    assert server is not None
    log = own / "sshd.log"
    process = subprocess.Popen([server, "-D", "-E", str(log), "-f", str(own / "sshd_config")], stdin=subprocess.DEVNULL)

    def listens() -> bool:
        said = log.read_text(encoding="utf-8") if log.exists() else ""
        assert process.poll() is None, f"sshd ended with {process.returncode}: {said}"
        return "Server listening" in said

    until(listens, f"{name} takes connections", timeout_s=10)
    return process


def _make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, timeout=30)


def _close_connections(folder: Path) -> None:
    """End what Ansible keeps open for a minute."""
    for control in folder.glob("*"):
        subprocess.run(
            ["ssh", "-S", str(control), "-O", "exit", "anybody"], check=False, capture_output=True, timeout=10
        )
