# SPDX-License-Identifier: Apache-2.0
"""Containers of a Docker Engine on this host.

What real engines do shapes this file: a kill through the engine counts as a manual stop, so a crash is a SIGKILL from
the host; a network disconnect drops the static address and the aliases, so they are saved first; events are
subscribed to before anything is broken.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import struct
import time
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Optional

from ...core.clock import Deadline, utc_us
from ...core.errors import K2Error, UnsupportedOperation
from ...profile.model import RuntimeKind, RuntimeSettings
from . import cgroup
from .base import (
    Attachment,
    EventStream,
    Network,
    NetworkMissing,
    NotRunning,
    ResourceReading,
    RestartPolicy,
    Runtime,
    Setup,
    State,
    Status,
    UnitAmbiguous,
    wait_until,
)
from .engine_api import EngineApi, EngineError
from .engine_events import EngineEvents
from .engine_setup import (
    NETWORK_LABEL,
    PROJECT_LABEL,
    SERVICE_LABEL,
    is_one_off,
    network_of,
    restart_policy_of,
    setup_of,
)

_STATES = {
    "created": State.STOPPED,
    "running": State.RUNNING,
    "paused": State.PAUSED,
    "restarting": State.RESTARTING,
    "removing": State.STOPPING,
    "exited": State.EXITED,
    "dead": State.FAILED,
}
_NEVER = "0001-01-01T00:00:00Z"
_HTTP_CONFLICT = (403, 409)
_HTTP_NOT_FOUND = 404


class DockerRuntime(Runtime):
    """Units are containers, by container name or by their service name in Compose.

    ``services`` are the names that the profile has for units: what a Compose file calls them where no container and no
    Compose service goes by the unit's own name.
    """

    kind = RuntimeKind.DOCKER

    def __init__(self, settings: RuntimeSettings, services: Optional[Mapping[str, str]] = None) -> None:
        self._api = EngineApi(settings.socket, settings.timeout_s)
        self._project = settings.project
        self._start_command = settings.start_command
        self._services = dict(services or {})

    # -- finding and inspecting --------------------------------------------------------------------------------------

    def _find(self, unit: str) -> Optional[str]:
        """The id of the unit's container, as ``_entry``."""
        entry = self._entry(unit)
        return None if entry is None else str(entry["Id"])

    def _entry(self, unit: str) -> Optional[dict[str, Any]]:
        """The unit's container in the engine's list; by name first, then by Compose label.

        :raises UnitAmbiguous: several containers carry the label.
        """
        by_name = self._list({"name": [f"^/?{re.escape(unit)}$"]})
        if by_name:
            return by_name[0]
        for service in dict.fromkeys((unit, self._services.get(unit, unit))):
            labels = [f"{SERVICE_LABEL}={service}"]
            if self._project is not None:
                labels.append(f"{PROJECT_LABEL}={self._project}")
            # `docker compose run` makes a container beside the service's own, which is not it.
            found = [entry for entry in self._list({"label": labels}) if not is_one_off(entry)]
            if len(found) > 1:
                raise UnitAmbiguous(
                    f"several containers are service {service!r}",
                    expected="exactly one",
                    seen=", ".join(sorted(_name(entry) for entry in found)),
                    action="name the container as unit, or set k2_platform.runtimes.docker.project",
                )
            if found:
                return found[0]
        return None

    def _list(self, filters: dict[str, list[str]]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._api.get("/containers/json", {"all": 1, "filters": json.dumps(filters)})
        return found

    def container_id(self, unit: str) -> str:
        """The full id of the unit's container, which stays the same over its restarts.

        :raises UnitMissing: there is none. :raises UnitAmbiguous: several answer to the name.
        """
        found = self._find(unit)
        if found is None:
            raise self.missing(unit)
        return found

    def _inspect(self, unit: str) -> Optional[dict[str, Any]]:
        container = self._find(unit)
        if container is None:
            return None
        try:
            info: dict[str, Any] = self._api.get(f"/containers/{container}/json")
        except EngineError as error:
            if error.status == _HTTP_NOT_FOUND:  # removed between the two calls
                return None
            raise
        return info

    def status(self, unit: str) -> Status:
        """See ``Runtime``. ``detail`` carries the container's health where it has a check."""
        info = self._inspect(unit)
        return Status(State.MISSING) if info is None else _status(info)

    def setup(self, unit: str) -> Optional[Setup]:
        """See ``Runtime``."""
        info = self._inspect(unit)
        return None if info is None else setup_of(info, _status(info))

    def network(self, names: tuple[str, ...], project: Optional[str]) -> Network:
        """See ``Runtime``. A network goes by its own name, or by its key in the Compose file that made it."""
        entries: list[dict[str, Any]] = self._api.get("/networks")
        for name in names:
            found = [entry for entry in entries if entry["Name"] == name]
            if not found:
                found = [entry for entry in entries if (entry.get("Labels") or {}).get(NETWORK_LABEL) == name]
                if project is not None:
                    found = [entry for entry in found if entry["Labels"].get(PROJECT_LABEL) == project]
            if len(found) > 1:
                raise UnitAmbiguous(
                    f"several networks are {name!r}",
                    expected="exactly one",
                    seen=", ".join(sorted(f"{entry['Name']} ({str(entry['Id'])[:12]})" for entry in found)),
                    action="give its full name under k2_platform.runtimes.docker.networks, or set project there",
                )
            if found:
                return network_of(found[0])
        raise NetworkMissing(
            "the network is missing",
            expected=" or ".join(names) + (f" of project {project}" if project is not None else ""),
            seen=", ".join(sorted(str(entry["Name"]) for entry in entries)) or "no network",
            action="start the platform, or correct k2_platform.runtimes.docker.networks",
        )

    def restart_policy(self, unit: str) -> RestartPolicy:
        """See ``Runtime``."""
        info = self._inspect(unit)
        if info is None:
            raise self.missing(unit)
        return restart_policy_of(info)

    # -- acting ------------------------------------------------------------------------------------------------------

    def start(self, unit: str, timeout_s: float) -> None:
        """See ``Runtime``."""
        deadline = Deadline.after(timeout_s)
        container = self.container_id(unit)
        self._api.post(f"/containers/{container}/start")
        wait_until(
            lambda: self.status(unit).state is State.RUNNING,
            deadline,
            f"{unit} running",
            lambda: f"state {self.status(unit).state.value}",
        )

    def stop(self, unit: str, timeout_s: float) -> None:
        """See ``Runtime``. The engine sends SIGKILL itself when the grace period, half of the time, is over."""
        container = self.container_id(unit)
        self.resume(unit)
        grace = max(1, math.floor(timeout_s / 2))
        self._api.raw("POST", f"/containers/{container}/stop", {"t": grace}, extra_s=timeout_s)

    def hold_state(self, unit: str) -> Optional[str]:
        """See ``Runtime``: the restart policy as the engine has it."""
        info = self._inspect(unit)
        if info is None:
            raise self.missing(unit)
        return json.dumps(info["HostConfig"]["RestartPolicy"], sort_keys=True)

    def kill_and_hold(self, unit: str) -> int:
        """See ``Runtime``."""
        self._api.post(f"/containers/{self.container_id(unit)}/update", body={"RestartPolicy": {"Name": "no"}})
        return self.kill(unit)

    def pause(self, unit: str) -> None:
        """See ``Runtime``; the cgroup freezer, which the processes cannot notice."""
        self.pid(unit)
        if self.status(unit).state is not State.PAUSED:
            self._api.post(f"/containers/{self.container_id(unit)}/pause")

    def resume(self, unit: str) -> None:
        """See ``Runtime``."""
        status = self.status(unit)
        if status.state is State.MISSING:
            raise self.missing(unit)
        if status.state is State.PAUSED:
            self._api.post(f"/containers/{self.container_id(unit)}/unpause")

    def _check_killable(self, unit: str, pid: int) -> None:
        """Refuse a pid that is not the container's on this host, and a frozen one: it would die only when thawed."""
        super()._check_killable(unit, pid)
        container = self.container_id(unit)
        if container not in cgroup.membership(pid):
            raise UnsupportedOperation(
                f"{unit} cannot be killed from here",
                expected=f"process {pid} to be in the cgroup of container {container[:12]}",
                seen="another cgroup: the engine runs on another host or in a virtual machine",
                action="run this on the engine's host",
            )
        if self.status(unit).state is State.PAUSED:
            raise NotRunning(
                f"{unit} is paused: a SIGKILL would wait until it is resumed",
                expected="state running",
                seen="state paused",
                action=f"docker unpause {shlex.quote(unit)}",
            )

    # -- network -----------------------------------------------------------------------------------------------------

    def attachments(self, unit: str) -> tuple[Attachment, ...]:
        """See ``Runtime``. The alias that the engine adds by itself, the short id, is left out."""
        info = self._inspect(unit)
        if info is None:
            raise self.missing(unit)
        short_id = str(info["Id"])[:12]
        return tuple(
            Attachment(
                network=name,
                ipv4=(endpoint.get("IPAMConfig") or {}).get("IPv4Address") or None,
                aliases=tuple(alias for alias in endpoint.get("Aliases") or () if alias != short_id),
                ipv6=(endpoint.get("IPAMConfig") or {}).get("IPv6Address") or None,
            )
            for name, endpoint in sorted(info["NetworkSettings"]["Networks"].items())
        )

    def disconnect(self, unit: str, attachment: Attachment) -> None:
        """See ``Runtime``; nothing to do if it is cut off already."""
        if any(current.network == attachment.network for current in self.attachments(unit)):
            body = {"Container": self.container_id(unit), "Force": False}
            self._api.post(f"/networks/{attachment.network}/disconnect", body=body)

    def reconnect(self, unit: str, attachment: Attachment) -> None:
        """See ``Runtime``."""
        if any(current.network == attachment.network for current in self.attachments(unit)):
            return
        body = {"Container": self.container_id(unit), "EndpointConfig": attachment.to_endpoint()}
        try:
            self._api.post(f"/networks/{attachment.network}/connect", body=body)
        except EngineError as error:
            # Another undo of the same fault (the watchdog's) may have been first: that is the state asked for.
            now = self.attachments(unit)
            if error.status not in _HTTP_CONFLICT or all(a.network != attachment.network for a in now):
                raise

    # -- observing ---------------------------------------------------------------------------------------------------

    def resources(self, unit: str) -> ResourceReading:
        """See ``Runtime``; from the files of the container's cgroup."""
        return cgroup.read(self.group(unit, self.pid(unit)))

    def group(self, unit: str, pid: int) -> cgroup.CgroupPaths:
        """Where the files of the cgroup of the unit's main process ``pid`` lie.

        :raises NotRunning: it ended. :raises UnsupportedOperation: its files are not visible here.
        """
        membership = cgroup.membership(pid)
        if not membership:
            raise NotRunning(f"{unit} ended while it was measured", seen=f"process {pid} gone")
        return cgroup.locate(membership)

    def logs(self, unit: str, tail: int) -> list[str]:
        """See ``Runtime``; stdout and stderr together."""
        info = self._inspect(unit)
        if info is None:
            raise self.missing(unit)
        query = {"stdout": 1, "stderr": 1, "tail": tail}
        body = self._api.raw("GET", f"/containers/{info['Id']}/logs", query)
        text = (body if info["Config"]["Tty"] else _demultiplex(body)).decode("utf-8", "replace")
        return list(deque(text.splitlines(), maxlen=tail))

    def events(self, units: tuple[str, ...]) -> EventStream:
        """See ``Runtime``. The engine replays what it saw since just before the request, so nothing falls between."""
        return self.events_since(units, utc_us())

    def events_since(self, units: tuple[str, ...], since_us: int) -> EventStream:
        """As ``events``, beginning at ``since_us`` of the engine's clock, as far as the engine remembers."""
        return EngineEvents(self._api, {self.container_id(unit): unit for unit in units}, since_us)

    def start_command(self, unit: str) -> str:
        """See ``Runtime``; a container that is not there has to be made, which is a matter of its Compose file."""
        try:
            entry = self._entry(unit)
        except K2Error:
            # Why nobody can tell is said by whatever asks for the unit itself.
            return f"docker start {shlex.quote(unit)}"
        if entry is not None:
            return f"docker start {shlex.quote(_name(entry))}"
        return self._start_command or f"docker compose up -d {shlex.quote(self._services.get(unit, unit))}"


def _name(entry: Mapping[str, Any]) -> str:
    """The name of a container in the engine's list."""
    return str(entry["Names"][0]).lstrip("/")


def _status(info: Mapping[str, Any]) -> Status:
    state = info["State"]
    pid = int(state["Pid"]) or None
    health = state.get("Health", {}).get("Status", "")
    details = [f"health {health}" if health and health != "none" else "", str(state.get("Error", ""))]
    return Status(
        state=_STATES.get(state["Status"], State.UNKNOWN),
        pid=pid,
        uptime_s=_age_s(state["StartedAt"]) if pid is not None else None,
        restarts=int(info["RestartCount"]),
        exit_code=int(state["ExitCode"]) if pid is None and state["FinishedAt"] != _NEVER else None,
        detail=", ".join(part for part in details if part),
    )


def _age_s(started: str) -> float:
    """Seconds since the engine's RFC 3339 time, which may have nanoseconds that ``datetime`` cannot read."""
    whole, _, fraction = started.rstrip("Z").partition(".")
    moment = datetime.fromisoformat(whole).replace(tzinfo=timezone.utc)
    return max(0.0, time.time() - moment.timestamp() - float(f"0.{fraction or 0}"))


def _demultiplex(body: bytes) -> bytes:
    """Join the frames (stream number, 3 zeros, big-endian length, payload) that carry logs without a terminal."""
    parts = []
    position = 0
    while position + 8 <= len(body):
        (length,) = struct.unpack_from(">I", body, position + 4)
        parts.append(body[position + 8 : position + 8 + length])
        position += 8 + length
    return b"".join(parts)
