# SPDX-License-Identifier: Apache-2.0
"""Undo steps, as plain data, for each runtime: they must work when this process and its objects are long gone.

Nothing here acts. What a step may hold is told in ``fault/steps.py``, which carries them out.
"""

from __future__ import annotations

import abc
import json
import os
import signal
import xmlrpc.client
from collections.abc import Callable, Mapping
from typing import Any, Optional

from ...platform.procfs import process_tree
from ...platform.runtime.base import Attachment, Runtime
from ...platform.runtime.docker import DockerRuntime
from ...profile.model import RuntimeKind, RuntimeSettings
from .base import FaultNotPossible, Step

# A program may take a while until its supervisor calls it running; the answer comes only then.
START_TIMEOUT_S = 60.0


class StepsOf(abc.ABC):
    """Writes the undo steps of one runtime."""

    @abc.abstractmethod
    def start(self, unit: str) -> tuple[Step, ...]:
        """Have the unit running; nothing happens if it is."""

    def keep(self, unit: str) -> tuple[Step, ...]:
        """Have a unit running that is none of the fault's own; whether it stays up is its own affair."""
        return self.start(unit)

    def let_restart(self, unit: str, policy: Optional[str]) -> tuple[Step, ...]:  # noqa: ARG002
        """Have the runtime start the unit again by itself, as ``Runtime.hold_state`` has noted; to run it is enough
        where that is all there is to it.
        """
        return ()

    @abc.abstractmethod
    def resume(self, unit: str, pid: int) -> tuple[Step, ...]:
        """Have the unit moving, whose main process is ``pid``; nothing happens if it is."""

    @abc.abstractmethod
    def reconnect(self, unit: str, attachment: Attachment) -> tuple[Step, ...]:
        """Have the unit on the network again, with its address and aliases."""


class SupervisorSteps(StepsOf):
    """Steps against supervisord's XML-RPC interface."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    def _call(self, method: str, *arguments: Any, **success: Any) -> dict[str, Any]:
        return {
            "op": "unix_http",
            "socket": self._socket,
            "method": "POST",
            "path": "/RPC2",
            "body": xmlrpc.client.dumps(arguments, f"supervisor.{method}"),
            "content_type": "text/xml",
            "ok": [200],
            "timeout_s": START_TIMEOUT_S,
            **success,
        }

    def start(self, unit: str) -> tuple[Step, ...]:
        """See ``StepsOf``.

        It waits for the program to run: without that, supervisord reports success for one that is just being stopped
        and does not start it. And it looks: supervisord takes for started also what failed and waits for its next try.
        """
        runs = self._call("getProcessInfo", unit, shows="<string>RUNNING</string>")
        return ({**self._call("startProcess", unit, True, ok_contains=["ALREADY_STARTED"]), "verify": runs},)

    def resume(self, unit: str, pid: int) -> tuple[Step, ...]:  # noqa: ARG002
        """See ``StepsOf``: each process that there is, and the group for those that are born before the pause."""
        steps: list[Step] = []
        if pid > 1 and _leads_its_group(pid):
            # A child that is born after this was written is in no list, but in its parent's group.
            argv = ["/bin/sh", "-c", f"kill -s CONT -- -{pid}"]
            steps.append({"op": "exec", "argv": argv, "ok": [0, 1, 2], "timeout_s": 5.0})
        return (*steps, *go_on(pid))

    def reconnect(self, unit: str, attachment: Attachment) -> tuple[Step, ...]:
        """Never: processes share the host's network."""
        raise FaultNotPossible(
            f"{unit} has no network of its own to be put back on",
            expected="a container",
            seen=f"a process under supervisord, network {attachment.network!r}",
        )


class DockerSteps(StepsOf):
    """Steps against the Docker Engine's API; a unit is named by its container's id, which a restart keeps."""

    def __init__(self, socket: str, container_of: Callable[[str], str]) -> None:
        self._socket = socket
        self._container_of = container_of

    def _post(self, path: str, ok: list[int], body: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "op": "unix_http",
            "socket": self._socket,
            "method": "POST",
            "path": path,
            "body": json.dumps(body) if body else "",
            "content_type": "application/json",
            "ok": ok,
            "timeout_s": START_TIMEOUT_S,
        }

    def _holds(self, container: str, holds: Mapping[str, Any]) -> dict[str, Any]:
        """A look at the container, which has to find all of this."""
        return {
            "op": "unix_http",
            "socket": self._socket,
            "method": "GET",
            "path": f"/containers/{container}/json",
            "ok": [200],
            "holds": holds,
        }

    def start(self, unit: str) -> tuple[Step, ...]:
        """See ``StepsOf``; 304: it runs. It looks: an engine says so of what waits for its next restart, too."""
        container = self._container_of(unit)
        runs = self._holds(container, {"State": {"Status": "running"}})
        return ({**self._post(f"/containers/{container}/start", [204, 304], {}), "verify": runs},)

    def let_restart(self, unit: str, policy: Optional[str]) -> tuple[Step, ...]:
        """See ``StepsOf``."""
        if policy is None:
            return ()
        container, held = self._container_of(unit), json.loads(policy)
        as_before = self._holds(container, {"HostConfig": {"RestartPolicy": {"Name": held.get("Name")}}})
        return ({**self._post(f"/containers/{container}/update", [200], {"RestartPolicy": held}), "verify": as_before},)

    def keep(self, unit: str) -> tuple[Step, ...]:
        """See ``StepsOf``; 404: somebody has removed it since, which is no reason to leave anything open."""
        return (self._post(f"/containers/{self._container_of(unit)}/start", [204, 304, 404], {}),)

    def resume(self, unit: str, pid: int) -> tuple[Step, ...]:  # noqa: ARG002
        """See ``StepsOf``; 409, and 500 of older engines: it is not paused, which is looked at."""
        container = self._container_of(unit)
        moves = self._holds(container, {"State": {"Paused": False}})
        return ({**self._post(f"/containers/{container}/unpause", [204, 409, 500], {}), "verify": moves},)

    def reconnect(self, unit: str, attachment: Attachment) -> tuple[Step, ...]:
        """See ``StepsOf``; 403 and 409: it is connected, which is looked at together with address and aliases."""
        container = self._container_of(unit)
        endpoint = attachment.to_endpoint()
        connected = self._holds(container, {"NetworkSettings": {"Networks": {attachment.network: endpoint}}})
        body = {"Container": container, "EndpointConfig": endpoint}
        return ({**self._post(f"/networks/{attachment.network}/connect", [200, 403, 409], body), "verify": connected},)


def steps_of(runtime: Runtime, settings: RuntimeSettings) -> StepsOf:
    """The writer for this runtime.

    :raises FaultNotPossible: none knows how to undo something there.
    """
    if isinstance(runtime, DockerRuntime):
        return DockerSteps(settings.socket, runtime.container_id)
    if runtime.kind is RuntimeKind.SUPERVISOR:
        return SupervisorSteps(settings.socket)
    raise FaultNotPossible(
        f"nothing can be undone under runtime {runtime.kind.value}",
        expected="supervisor or docker",
        seen=runtime.kind.value,
    )


def go_on(root: int) -> tuple[Step, ...]:
    """Steps that let each process of a tree move on; children first, so that no parent finds them silent."""
    return tuple(
        {"op": "signal", "pid": each.pid, "start_ticks": each.start_ticks, "number": int(signal.SIGCONT)}
        for each in reversed(process_tree(root))
    )


def _leads_its_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False
