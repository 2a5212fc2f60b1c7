# SPDX-License-Identifier: Apache-2.0
"""A lab's identity and its places."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MARKER = "K2_LAB_ID"
INHERITED = ("HOME", "PATH", "USER", "TMPDIR", "PYTHONPATH")
# sun_path holds 108 bytes with its closing zero; supervisord binds to "<path>.<pid>" first and renames.
SOCKET_PATH_MAX = 107 - len(".4194304")


@dataclass(frozen=True)
class Lab:
    """One lab. Its id follows from its directory alone, so that a lab is recognised even when its files are gone."""

    directory: Path

    @classmethod
    def at(cls, directory: Path) -> Lab:
        """The lab in this directory, whatever the way its path is written."""
        return cls(directory.resolve())

    @property
    def lab_id(self) -> str:
        """Carried by each process of the lab in its environment (MARKER)."""
        return hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:12]

    @property
    def run(self) -> Path:
        """Rendered configuration, socket, pid file, secrets."""
        return self.directory / "run"

    @property
    def data(self) -> Path:
        """What the services keep, one directory each."""
        return self.directory / "data"

    @property
    def logs(self) -> Path:
        """One bounded log for each service."""
        return self.directory / "log"

    @property
    def truth(self) -> Path:
        """What the exchange simulator sent."""
        return self.directory / "truth"

    @property
    def secrets(self) -> Path:
        """Passwords, one file each, readable by their owner only."""
        return self.run / "secrets"

    @property
    def plan(self) -> Path:
        """What is to run, rendered by the role; also the mark by which a directory is known to be a lab."""
        return self.run / "lab.json"

    @property
    def unavailable(self) -> Path:
        """Services this lab is without, and why: {service: reason}. Read by the lab's inventory."""
        return self.run / "unavailable.json"

    @property
    def configuration(self) -> Path:
        """Configuration of supervisord."""
        return self.run / "supervisord.conf"

    @property
    def socket_link(self) -> Path:
        """Where clients look for supervisord. A symbolic link when that path is too long for a socket."""
        return self.run / "supervisor.sock"

    @property
    def socket(self) -> Path:
        """Where supervisord really listens."""
        if len(os.fsencode(self.socket_link)) <= SOCKET_PATH_MAX:
            return self.socket_link
        return Path(tempfile.gettempdir()) / f"k2-lab-{os.getuid()}-{self.lab_id}" / "supervisor.sock"

    @property
    def compose(self) -> Path:
        """The compose file of a lab in containers."""
        return self.run / "compose.yml"

    @property
    def engine_link(self) -> Path:
        """Where clients look for the Docker Engine of this lab: a symbolic link to its socket."""
        return self.run / "docker.sock"

    @property
    def engine_data(self) -> Path:
        """Images and containers of an engine of the lab's own; gone when that is stopped."""
        return self.directory / "engine"

    @property
    def engine_run(self) -> Path:
        """Sockets and pid files of an engine of the lab's own: its sockets lie deep, so this is a short path."""
        return Path(tempfile.gettempdir()) / f"k2-engine-{os.getuid()}-{self.lab_id}"

    def environment(self, outer: Mapping[str, str]) -> dict[str, str]:
        """What a process of the lab is given of the environment around it, and the marker."""
        kept = {name: outer[name] for name in INHERITED if name in outer}
        return {**kept, "LC_ALL": "C.UTF-8", MARKER: self.lab_id}

    def log(self, program: str) -> Path:
        """Log of one program."""
        return self.logs / f"{program}.log"

    def log_tail(self, program: str, lines: int = 20) -> str:
        """The last lines of a program's log."""
        try:
            return "\n".join(self.log(program).read_text(errors="replace").splitlines()[-lines:]) or "(empty)"
        except FileNotFoundError:
            return "(no log yet)"
