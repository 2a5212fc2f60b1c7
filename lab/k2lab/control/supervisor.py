# SPDX-License-Identifier: Apache-2.0
"""supervisord of one lab: start it, speak to it over its socket, bring it to a changed configuration."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import time
import xmlrpc.client
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import Faults

from k2lab.common.errors import LabError
from k2lab.control import processes
from k2lab.control.keeper import SETTLED, Keeper, Program, Reload, State
from k2lab.control.lab import Lab
from k2lab.control.unix_http import UnixConnection

POLL_S = 0.05
CALL_TIMEOUT_S = 10.0
START_TIMEOUT_S = 15.0
SHUTDOWN_TIMEOUT_S = 30.0


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: object) -> http.client.HTTPConnection:  # noqa: ARG002 - the socket is the address
        return UnixConnection(self._path, CALL_TIMEOUT_S)


class Supervisor(Keeper):
    """Client; makes a connection for each call, so it may be used from several threads."""

    name = "supervisord"

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def answers(self) -> bool:
        """True when supervisord of this lab is there and takes orders."""
        try:
            return bool(self._call("getState")["statecode"] == 1)
        except (OSError, http.client.HTTPException):
            return False

    def programs(self) -> dict[str, Program]:
        """Every program by name."""
        return {entry["name"]: _program(entry) for entry in self._call("getAllProcessInfo")}

    def program(self, name: str) -> Program:
        """One program."""
        return _program(self._call("getProcessInfo", name))

    def start(self, name: str) -> bool:
        """Have the program started; False when it runs or starts already. Whether it stays up is to be watched."""
        if self.program(name).state in (State.RUNNING, State.STARTING, State.BACKOFF):
            return False
        try:
            self._call("startProcess", name, False)
        except LabError as error:
            # It was started and died before the answer came: whoever waits for it finds that as any other death.
            fault = error.__cause__
            if not isinstance(fault, xmlrpc.client.Fault) or fault.faultCode != Faults.SPAWN_ERROR:
                raise
        return True

    def stop(self, names: list[str], *, timeout_s: float) -> list[str]:
        """Stop programs side by side and wait for them; supervisord kills those that exceed their own stopwaitsecs.

        Returns those that did run. Raises LabError when one is still there after timeout_s.
        """
        known = self.programs()
        running = [name for name in names if name in known and known[name].state not in SETTLED]
        for name in running:
            if known[name].state is not State.STOPPING:
                self._call("stopProcess", name, False)
        deadline = time.monotonic() + timeout_s
        while True:
            left = [
                name for name, program in self.programs().items() if name in running and program.state not in SETTLED
            ]
            if not left:
                return running
            if time.monotonic() > deadline:
                raise LabError(
                    f"{', '.join(left)} to stop within {timeout_s:.0f} s", "still running", "run lab-down once more"
                )
            time.sleep(POLL_S)

    def reload(self, *, stop_timeout_s: float) -> Reload:
        """Reread the configuration; programs whose section changed are stopped and replaced, none is started here."""
        [[added, changed, removed]] = self._call("reloadConfig")
        self.stop([*changed, *removed], timeout_s=stop_timeout_s)
        for name in (*changed, *removed):
            self._call("removeProcessGroup", name)
        for name in (*changed, *added):
            self._call("addProcessGroup", name)
        return Reload(tuple(added), tuple(changed), tuple(removed))

    def shutdown(self) -> list[str]:
        """Ask supervisord to stop what is left and end, and wait for that."""
        # supervisord may close the connection before it has answered.
        with contextlib.suppress(OSError, http.client.HTTPException):
            self._call("shutdown")
        deadline = time.monotonic() + SHUTDOWN_TIMEOUT_S
        while processes.of_lab(self._lab) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return [self.name]

    def clean_up(self) -> None:
        """Remove the socket, where supervisord was killed and has left it."""
        lab = self._lab
        lab.socket.unlink(missing_ok=True)
        lab.socket_link.unlink(missing_ok=True)
        if lab.socket != lab.socket_link and lab.socket.parent.is_dir():
            lab.socket.parent.rmdir()

    def held_ports(self) -> set[int]:
        """None: the lab's processes listen themselves, and are known by their marker."""
        return set()

    def log_tail(self, name: str) -> str:
        """The last lines of the program's log, and where it is."""
        return f"last lines of {self._lab.log(name)}:\n{self._lab.log_tail(name)}"

    def launch(self) -> None:
        """Start supervisord as a daemon and wait until it answers. Raises LabError."""
        lab = self._lab
        if lab.socket != lab.socket_link:
            # Only this user may put a socket there: the directory is made by us or not used.
            lab.socket.parent.mkdir(mode=0o700, exist_ok=True)
            seen = lab.socket.parent.lstat()
            if seen.st_uid != os.getuid() or seen.st_mode & 0o077:
                raise LabError(f"{lab.socket.parent} to be this user's alone", "another owner or mode", "remove it")
            lab.socket_link.unlink(missing_ok=True)
            lab.socket_link.symlink_to(lab.socket)
        command = [str(Path(sys.executable).with_name("supervisord")), "-c", str(lab.configuration)]
        outcome = subprocess.run(
            command,
            env=lab.environment(os.environ),
            cwd=lab.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
            check=False,
        )
        if outcome.returncode != 0:
            raise LabError(
                "supervisord to start", outcome.stderr.strip() or outcome.stdout.strip(), f"see {lab.configuration}"
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            if time.monotonic() > deadline:
                raise LabError(
                    f"supervisord to answer within {START_TIMEOUT_S:.0f} s",
                    lab.log_tail("supervisord"),
                    f"see {lab.log('supervisord')}",
                )
            time.sleep(POLL_S)

    def _call(self, method: str, *arguments: object) -> Any:
        proxy = xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=_Transport(self._lab.socket))
        try:
            with proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            raise LabError(
                f"supervisord to accept {method}{arguments}",
                fault.faultString,
                f"see {self._lab.log('supervisord')}; after a mistake in the role's variables correct them",
            ) from fault


def _program(entry: dict[str, Any]) -> Program:
    return Program(
        name=entry["name"],
        state=State(entry["statename"]),
        pid=entry["pid"],
        exit_status=entry["exitstatus"],
        stopped_at=entry["stop"],
        spawn_error=entry["spawnerr"],
    )
