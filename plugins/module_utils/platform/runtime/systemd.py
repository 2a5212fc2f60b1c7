# SPDX-License-Identifier: Apache-2.0
"""Units of systemd, observed through ``systemctl show`` and the files of their cgroups. Nothing is changed by it."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Mapping
from typing import NoReturn, Optional

from ...core.errors import UnsupportedOperation
from ...profile.model import Resources, RuntimeKind, RuntimeSettings
from . import cgroup
from .base import (
    Attachment,
    EventStream,
    NoAnswer,
    NotRunning,
    ResourceReading,
    RestartPolicy,
    Runtime,
    Setup,
    State,
    Status,
)

# systemd.unit(5) and systemd.service(5) call these by the same names.
_STATES = {
    "active": State.RUNNING,
    "reloading": State.RUNNING,
    "refreshing": State.RUNNING,
    "activating": State.STARTING,
    "deactivating": State.STOPPING,
    "inactive": State.STOPPED,
    "failed": State.FAILED,
}
_PROPERTIES = (
    "ActiveState",
    "ActiveEnterTimestampMonotonic",
    "CPUQuotaPerSecUSec",
    "ControlGroup",
    "ExecMainExitTimestampMonotonic",
    "ExecMainStatus",
    "LoadState",
    "MainPID",
    "MemoryMax",
    "NRestarts",
    "Restart",
    "Result",
    "SubState",
)
_UNLIMITED = ("infinity", "", "[not set]", str(2**64 - 1))
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(min|h|ms|us|s)")
_SECONDS = {"h": 3600.0, "min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
_SAID = 300


class SystemdRuntime(Runtime):
    """Units are systemd services. What acts on them, and their events, are left to others: see each method."""

    kind = RuntimeKind.SYSTEMD

    def __init__(self, settings: RuntimeSettings) -> None:
        self._timeout_s = settings.timeout_s

    def _show(self, unit: str) -> dict[str, str]:
        """Properties of the unit.

        :raises NoAnswer: systemctl is missing, systemd does not answer, or not in time.
        """
        command = ["systemctl", "show", "--no-pager", f"--property={','.join(_PROPERTIES)}", "--", unit]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=self._timeout_s, check=False)
        except FileNotFoundError as error:
            raise NoAnswer(
                "systemd cannot be asked", expected="systemctl on PATH", seen=str(error), action="correct the runtime"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise NoAnswer(
                f"systemd did not tell of {unit}", expected=f"an answer within {self._timeout_s:g} s", seen="none"
            ) from error
        if done.returncode:
            # Of a unit that is not there it tells that, and ends with 0.
            raise NoAnswer(
                f"systemd did not tell of {unit}",
                expected="systemctl show to end with 0",
                seen=f"{done.returncode}: {done.stderr.strip()[:_SAID]}",
                action=f"try: {shlex.join(command)}",
            )
        return dict(line.partition("=")[::2] for line in done.stdout.splitlines() if "=" in line)

    def status(self, unit: str) -> Status:
        """See ``Runtime``."""
        return _status(self._show(unit))

    def restart_policy(self, unit: str) -> RestartPolicy:
        """See ``Runtime``."""
        return _policy(self._show(unit))

    def setup(self, unit: str) -> Optional[Setup]:
        """See ``Runtime``."""
        shown = self._show(unit)
        status = _status(shown)
        if status.state is State.MISSING:
            return None
        logs = shlex.join(["journalctl", "-n", "50", "-u", unit])
        return Setup(unit, status, _policy(shown), limit=_limit(shown), logs=logs)

    def group(self, unit: str) -> cgroup.CgroupPaths:
        """Where the files of the unit's cgroup lie.

        :raises NotRunning: it has none. :raises UnsupportedOperation: its files are not visible here.
        """
        path = self._show(unit).get("ControlGroup", "")
        if not path:
            raise NotRunning(
                f"{unit} is not running",
                expected="a control group",
                seen=f"state {self.status(unit).state.value}",
                action=self.start_command(unit),
            )
        return cgroup.locate_group(path)

    def resources(self, unit: str) -> ResourceReading:
        """See ``Runtime``; from the files of the unit's cgroup."""
        return cgroup.read(self.group(unit))

    def start_command(self, unit: str) -> str:
        """See ``Runtime``."""
        return shlex.join(["systemctl", "start", unit])

    # -- not offered -------------------------------------------------------------------------------------------------

    def start(self, unit: str, timeout_s: float) -> None:  # noqa: ARG002
        """:raises UnsupportedOperation: always."""
        self._refuse(unit, "started")

    def stop(self, unit: str, timeout_s: float) -> None:  # noqa: ARG002
        """:raises UnsupportedOperation: always."""
        self._refuse(unit, "stopped")

    def pause(self, unit: str) -> None:
        """:raises UnsupportedOperation: always."""
        self._refuse(unit, "paused")

    def resume(self, unit: str) -> None:
        """:raises UnsupportedOperation: always."""
        self._refuse(unit, "resumed")

    def attachments(self, unit: str) -> tuple[Attachment, ...]:
        """:raises UnsupportedOperation: always."""
        self._refuse(unit, "cut off its network")

    def disconnect(self, unit: str, attachment: Attachment) -> None:  # noqa: ARG002
        """:raises UnsupportedOperation: always."""
        self._refuse(unit, "cut off its network")

    def reconnect(self, unit: str, attachment: Attachment) -> None:  # noqa: ARG002
        """:raises UnsupportedOperation: always."""
        self._refuse(unit, "cut off its network")

    def kill(self, unit: str) -> int:
        """:raises UnsupportedOperation: always: nothing could undo it here."""
        self._refuse(unit, "killed")

    def logs(self, unit: str, tail: int) -> list[str]:  # noqa: ARG002
        """:raises UnsupportedOperation: always."""
        self._refuse(unit, "asked for its log")

    def events(self, units: tuple[str, ...]) -> EventStream:
        """:raises UnsupportedOperation: always."""
        self._refuse(", ".join(units), "watched for events")

    def _refuse(self, unit: str, what: str) -> NoReturn:
        raise UnsupportedOperation(
            f"{unit} cannot be {what} through this tool",
            expected="a unit of supervisor or docker",
            seen="a unit of systemd, which is observed only",
            action="leave allow_faults out, and use systemctl by hand",
        )


def _status(shown: Mapping[str, str]) -> Status:
    if shown.get("LoadState") in ("not-found", "error", "bad-setting"):
        return Status(State.MISSING)
    active, sub = shown.get("ActiveState", ""), shown.get("SubState", "")
    state = _STATES.get(active, State.UNKNOWN)
    if sub == "auto-restart":
        state = State.RESTARTING
    elif sub == "exited":
        state = State.EXITED
    pid = int(shown.get("MainPID") or 0) or None
    since_us = int(shown.get("ActiveEnterTimestampMonotonic") or 0)
    ended = int(shown.get("ExecMainExitTimestampMonotonic") or 0) > 0
    result = shown.get("Result", "")
    return Status(
        state=state,
        pid=pid,
        uptime_s=time.monotonic() - since_us / 1e6 if pid is not None and since_us else None,
        restarts=int(shown["NRestarts"]) if shown.get("NRestarts", "").isdigit() else None,
        exit_code=int(shown.get("ExecMainStatus") or 0) if pid is None and ended else None,
        detail=f"{active} ({sub})" + (f", {result}" if result not in ("", "success") else ""),
    )


def _policy(shown: Mapping[str, str]) -> RestartPolicy:
    text = shown.get("Restart", "")
    if not text:
        return RestartPolicy("not told by systemd", after_crash=None)
    return RestartPolicy(
        text,
        after_crash=text in ("always", "on-failure", "on-abnormal", "on-abort"),
        after_success=text in ("always", "on-success"),
    )


def _limit(shown: Mapping[str, str]) -> Resources:
    quota, memory = shown.get("CPUQuotaPerSecUSec", ""), shown.get("MemoryMax", "")
    cpus = None if quota in _UNLIMITED else sum(float(n) * _SECONDS[unit] for n, unit in _SPAN.findall(quota))
    return Resources(cpus, None if memory in _UNLIMITED else int(memory))
