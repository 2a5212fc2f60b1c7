# SPDX-License-Identifier: Apache-2.0
"""A lab's programs as containers of one Compose project: made by Compose, started and stopped through the engine."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from k2lab.common.errors import LabError
from k2lab.control.docker.api import Engine
from k2lab.control.docker.engine import Daemon, bridge_of, find_socket, let_through
from k2lab.control.docker.image import HostImage, remove_images
from k2lab.control.keeper import SETTLED, Keeper, Program, Reload, State
from k2lab.control.lab import Lab
from k2lab.control.plan import DockerPlan
from k2lab.provision.paths import Paths
from k2lab.provision.tools import find_tool

LAB_LABEL = "com.k2.lab"
SERVICE_LABEL = "com.docker.compose.service"
COMPOSE_TIMEOUT_S = 180.0
# For a container whose own grace period is the longest.
STOP_TIMEOUT_S = 60.0
LOG_LINES = 20
STATES = {
    "created": State.STOPPED,
    "running": State.RUNNING,
    "paused": State.RUNNING,
    "restarting": State.BACKOFF,
    "removing": State.STOPPING,
    "exited": State.EXITED,
    "dead": State.FATAL,
}


class Containers(Keeper):
    """Client; makes a connection for each call, so it may be used from several threads."""

    name = "containers"

    def __init__(self, lab: Lab, plan: DockerPlan | None, services: Collection[str]) -> None:
        """Keep `services` by `plan`; None for a lab of which only what is left is to be removed."""
        self._lab = lab
        self._plan = plan
        self._services = services
        self._engine = Engine(lab.engine_link)
        # Asked for ten times a second while services start; Compose alone gives a container another id.
        self._known: dict[str, str] = {}

    def answers(self) -> bool:
        """True when the engine answers and has containers of this lab."""
        return self._engine.unreachable() is None and bool(self._ids())

    def launch(self) -> None:
        """Have the engine there, and every container made and none started."""
        socket, reason = find_socket(self._lab)
        if socket is None:
            raise LabError("a Docker Engine", reason, "mend that, then run lab-up again")
        daemon = Daemon(self._lab)
        if socket == daemon.socket:
            daemon.start()
            let_through(bridge_of(self._lab), self._lab.lab_id, wanted=True)
        self._link(socket)
        self._make(STOP_TIMEOUT_S)

    def reload(self, *, stop_timeout_s: float) -> Reload:
        """Have Compose replace the containers whose part of its file changed; it stops them first."""
        before = self._ids()
        self._make(stop_timeout_s)
        after = self._ids()
        return Reload(
            added=tuple(after.keys() - before.keys()),
            changed=tuple(name for name in after.keys() & before.keys() if after[name] != before[name]),
            removed=tuple(before.keys() - after.keys()),
        )

    def programs(self) -> dict[str, Program]:
        """Every program by name."""
        return {name: self._program(name, container) for name, container in self._ids().items()}

    def program(self, name: str) -> Program:
        """One program."""
        return self._program(name, self._id(name))

    def start(self, name: str) -> bool:
        """See Keeper. Raises LabError when the container cannot even be started: a port that is taken, say."""
        if self.program(name).state not in SETTLED:
            return False
        self._engine.post(f"/containers/{self._id(name)}/start")
        return True

    def stop(self, names: list[str], *, timeout_s: float) -> list[str]:
        """See Keeper; the engine kills those that exceed their own grace period."""
        known = self._ids()
        running = [name for name in names if name in known and self.program(name).state not in SETTLED]
        if running:
            with ThreadPoolExecutor(len(running)) as pool:
                list(pool.map(lambda name: self._stop(known[name], timeout_s), running))
        return running

    def _stop(self, container: str, timeout_s: float) -> None:
        self._engine.post(f"/containers/{container}/stop", timeout_s=timeout_s)

    def shutdown(self) -> list[str]:
        """Remove containers, network and image; not by Compose, whose file may be gone or of another project by now."""
        ids = self._ids()
        for container in ids.values():
            self._engine.call("DELETE", f"/containers/{container}", {"force": 1, "v": 1}, timeout_s=STOP_TIMEOUT_S)
        for network in self._engine.get("/networks", {"filters": self._own()}):
            self._engine.call("DELETE", f"/networks/{network['Id']}")
        self._known = {}
        remove_images(self._engine)
        return [self.name] if ids else []

    def clean_up(self) -> None:
        """Remove what a start that failed has made, stop an engine of the lab's own, and take back its rule."""
        daemon = Daemon(self._lab)
        if daemon.is_there and self._engine.unreachable() is not None:
            # Its containers outlive it; only an engine can remove them.
            daemon.start()
            self._link(daemon.socket)
        if self._lab.engine_link.is_symlink():
            if reason := self._engine.unreachable():
                # Its containers would come back with it.
                raise LabError("the engine that has this lab's containers", reason, "start it, run lab-down again")
            self.shutdown()
        if daemon.is_there:
            let_through(bridge_of(self._lab), self._lab.lab_id, wanted=False)
            daemon.stop()
        self._lab.engine_link.unlink(missing_ok=True)

    def held_ports(self) -> set[int]:
        """Published ports of this lab's containers: the engine's proxy listens on them."""
        if self._engine.unreachable() is not None:
            return set()
        found = self._engine.get("/containers/json", {"filters": self._own()})
        return {int(port["PublicPort"]) for each in found for port in each["Ports"] if "PublicPort" in port}

    def log_tail(self, name: str) -> str:
        """See Keeper."""
        body = self._engine.call(
            "GET", f"/containers/{self._id(name)}/logs", {"stdout": 1, "stderr": 1, "tail": LOG_LINES}
        )
        return f"last lines of its log (docker -H unix://{self._lab.engine_link} logs):\n{_joined(body) or '(empty)'}"

    # ----------------------------------------------------------------------------------------------------------------

    def _own(self) -> str:
        """Filter of the engine's API for what is this lab's."""
        return json.dumps({"label": [f"{LAB_LABEL}={self._lab.lab_id}"]})

    def _ids(self) -> dict[str, str]:
        """Id of each container by its service, running or not."""
        found = self._engine.get("/containers/json", {"all": 1, "filters": self._own()})
        return {each["Labels"][SERVICE_LABEL]: each["Id"] for each in found}

    def _link(self, socket: Path) -> None:
        self._lab.engine_link.parent.mkdir(parents=True, exist_ok=True)
        self._lab.engine_link.unlink(missing_ok=True)
        self._lab.engine_link.symlink_to(socket)

    def _id(self, name: str) -> str:
        try:
            if name not in self._known:
                self._known = self._ids()
            return self._known[name]
        except KeyError as error:
            raise LabError(f"a container of {name}", "none in this lab", "run lab-down, then lab-up") from error

    def _program(self, name: str, container: str) -> Program:
        state = self._engine.get(f"/containers/{container}/json")["State"]
        return Program(
            name=name,
            state=STATES.get(state["Status"], State.UNKNOWN),
            pid=int(state["Pid"]),
            exit_status=int(state["ExitCode"]),
            stopped_at=_seconds(state["FinishedAt"]),
            spawn_error=str(state["Error"]),
        )

    def _make(self, stop_timeout_s: float) -> None:
        """Have network and containers as the compose file says, and no container of a service that is in it no more.

        Compose could do the latter too (--remove-orphans), and would remove what others have under the same project.
        """
        if self._plan is None:
            raise LabError(f"a lab of containers in {self._lab.directory}", "no run/lab.json of one", "run lab-up")
        image = HostImage.of()
        if image.tag != self._plan.image:
            raise LabError(
                f"the image {self._plan.image}", "this machine's /etc has changed meanwhile", "run lab-up again"
            )
        image.ensure(self._engine)
        gone = self._ids().keys() - set(self._services)
        self.stop(sorted(gone), timeout_s=stop_timeout_s)
        for name in gone:
            self._engine.call("DELETE", f"/containers/{self._id(name)}", {"force": 1, "v": 1})
        try:
            self._compose(self._plan.project, "up", "--no-start", "--timeout", str(round(stop_timeout_s)))
        finally:
            self._known = {}

    def _compose(self, project: str, *arguments: str) -> None:
        """Run Compose on the lab's file. Raises LabError with what it said."""
        tool = find_tool(Paths.discover(), "docker-compose")
        if tool.path is None:
            raise LabError("Compose", tool.reason, "make setup-docker, then run this again")
        command = [str(tool.path), "--project-name", project, "--file", str(self._lab.compose), *arguments]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("COMPOSE_", "DOCKER_"))}
        log = self._lab.log("compose")
        try:
            outcome = subprocess.run(
                command,
                env={**kept, "DOCKER_HOST": f"unix://{self._lab.engine_link.resolve()}", "NO_COLOR": "1"},
                cwd=self._lab.directory,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMPOSE_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LabError(f"to run {tool.path} {' '.join(arguments)}", str(error), "run it again") from error
        log.write_text(outcome.stdout + outcome.stderr)
        if outcome.returncode != 0:
            raise LabError(
                f"docker-compose {' '.join(arguments)} to succeed",
                f"exit code {outcome.returncode}: {(outcome.stderr or outcome.stdout).strip()[-1500:]}",
                f"correct the cause, run it again; all it said is in {log}",
            )


def _seconds(moment: str) -> int:
    """Whole seconds since the epoch of the engine's RFC 3339 time; 0 for never."""
    if moment.startswith("0001"):
        return 0
    whole = dt.datetime.fromisoformat(moment.partition(".")[0].rstrip("Z"))
    return round(whole.replace(tzinfo=dt.UTC).timestamp())


def _joined(body: bytes) -> str:
    """Text of a log that comes in frames of 8 bytes' header (the length in its last 4) and payload."""
    parts, position = [], 0
    while position + 8 <= len(body):
        length = int.from_bytes(body[position + 4 : position + 8], "big")
        parts.append(body[position + 8 : position + 8 + length])
        position += 8 + length
    return b"".join(parts).decode(errors="replace").strip()
