# SPDX-License-Identifier: Apache-2.0
"""Processes under supervisord, through its XML-RPC interface on a unix socket (standard library only)."""

from __future__ import annotations

import re
import signal
import time
import xmlrpc.client
from collections import deque
from dataclasses import dataclass
from typing import Any, Optional, Union

from ...core.clock import Deadline
from ...core.errors import K2Error, UnsupportedOperation
from ...profile.model import RuntimeKind, RuntimeSettings
from ..procfs import is_stopped, process_tree, pss_bytes, read_stat
from ..unix_http import UnixConnection
from .base import (
    POLL_S,
    Attachment,
    Event,
    EventKind,
    EventStream,
    NotRunning,
    ResourceReading,
    Runtime,
    RuntimeFailure,
    State,
    Status,
    send_signal,
    wait_until,
)

# supervisor.xmlrpc.Faults and supervisor.states.ProcessStates, which are part of its documented interface.
_BAD_NAME = 10
_NO_FILE = 20
_SPAWN_ERROR = 50
_NOT_RUNNING = 70
_ALREADY_STARTED = 60
_STATES = {
    0: State.STOPPED,
    10: State.STARTING,
    20: State.RUNNING,
    30: State.RESTARTING,
    40: State.STOPPING,
    100: State.EXITED,
    200: State.FAILED,
}
_LOG_TAIL_BYTES = 256 * 1024
_LINE = re.compile(
    r"^(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(?P<ms>\d{3}) \w+ "
    r"(?P<word>spawned|exited|stopped|gave up): '?(?P<unit>[^' ]+)'?(?P<rest>.*)$"
)
_EVENTS = {
    "spawned": EventKind.STARTED,
    "exited": EventKind.EXITED,
    "stopped": EventKind.STOPPED,
    "gave up": EventKind.FAILED,
}


class _Transport(xmlrpc.client.Transport):
    """Carries XML-RPC over a unix socket; a connection per call, so that threads do not share one."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__()
        self._path = path
        self._timeout_s = timeout_s

    def make_connection(self, host: Union[tuple[str, dict[str, str]], str]) -> UnixConnection:  # noqa: ARG002
        """See the base class."""
        return UnixConnection(self._path, self._timeout_s)


@dataclass(frozen=True)
class _LogLine:
    unit: str
    kind: EventKind
    time_us: int
    detail: str


class SupervisorRuntime(Runtime):
    """Units are supervisor programs (``group:program`` where the group has another name)."""

    kind = RuntimeKind.SUPERVISOR

    def __init__(self, settings: RuntimeSettings) -> None:
        self._socket = settings.socket
        self._timeout_s = settings.timeout_s

    # -- talking to supervisord --------------------------------------------------------------------------------------

    def _call(self, method: str, *arguments: Any) -> Any:
        proxy = xmlrpc.client.ServerProxy(
            "http://localhost/RPC2", transport=_Transport(self._socket, self._timeout_s), allow_none=True
        )
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except (OSError, xmlrpc.client.ProtocolError) as error:
            raise RuntimeFailure(
                f"supervisord did not answer {method}",
                expected=f"an answer within {self._timeout_s:g} s",
                seen=f"{type(error).__name__}: {error}",
                action=f"check supervisord's log and its socket {self._socket}",
            ) from error

    def _act(self, method: str, unit: str, *arguments: Any, harmless: tuple[int, ...]) -> None:
        """Ask for a change of state; the faults ``harmless`` mean that it is so already, or that it is seen later."""
        try:
            self._call(method, unit, *arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in harmless:
                return
            raise self._explain(unit, method, fault) from fault

    def _explain(self, unit: str, method: str, fault: xmlrpc.client.Fault) -> K2Error:
        if fault.faultCode == _BAD_NAME:
            return self.missing(unit)
        return RuntimeFailure(
            f"supervisord refused {method} of {unit}",
            expected="the call to succeed",
            seen=fault.faultString,
            action=f"look at its log: {self._control()} tail {unit} stderr",
        )

    def _control(self) -> str:
        return f"supervisorctl -s unix://{self._socket}"

    def log_tail(self) -> list[str]:
        """The last lines of supervisord's own log.

        :raises UnsupportedOperation: it keeps none.
        """
        try:
            text = self._call("readLog", -_LOG_TAIL_BYTES, 0)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _NO_FILE:
                raise UnsupportedOperation(
                    "supervisord keeps no log, so its events cannot be told",
                    expected="logfile in [supervisord] to name a file",
                    seen=fault.faultString,
                    action="set logfile and restart supervisord",
                ) from fault
            raise RuntimeFailure("supervisord's log cannot be read", seen=fault.faultString) from fault
        lines = str(text).splitlines(keepends=True)
        return [line.rstrip("\n") for line in lines if line.endswith("\n")]

    # -- the interface -----------------------------------------------------------------------------------------------

    def status(self, unit: str) -> Status:
        """See ``Runtime``. A process stopped by a signal is PAUSED, whatever supervisord believes."""
        info = self._info(unit)
        if info is None:
            return Status(State.MISSING)
        state = _STATES.get(int(info["state"]), State.UNKNOWN)
        pid = int(info["pid"]) or None
        if pid is not None and state in (State.RUNNING, State.STARTING):
            stat = read_stat(pid)
            if stat is not None and is_stopped(stat):
                state = State.PAUSED
        alive = pid is not None
        return Status(
            state=state,
            pid=pid,
            uptime_s=float(int(info["now"]) - int(info["start"])) if alive else None,
            restarts=self._restarts(unit),
            # supervisord keeps no exit status of a program that it gave up: its 0 would be a lie.
            exit_code=int(info["exitstatus"]) if state is State.EXITED else None,
            detail=str(info["spawnerr"]) or ("" if alive else str(info["description"])),
        )

    def _info(self, unit: str) -> Optional[dict[str, Any]]:
        try:
            info: dict[str, Any] = self._call("getProcessInfo", unit)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _BAD_NAME:
                return None
            raise self._explain(unit, "getProcessInfo", fault) from fault
        return info

    def _restarts(self, unit: str) -> Optional[int]:
        try:
            entries = [e for e in map(_parse_line, self.log_tail()) if e is not None and e.unit == _program(unit)]
        except UnsupportedOperation:
            return None
        return sum(
            1
            for before, after in zip(entries, entries[1:])
            if before.kind is EventKind.EXITED and after.kind is EventKind.STARTED
        )

    def _state(self, unit: str) -> State:
        """The state alone, without the price of counting restarts."""
        info = self._info(unit)
        if info is None:
            raise self.missing(unit)
        return _STATES.get(int(info["state"]), State.UNKNOWN)

    def start(self, unit: str, timeout_s: float) -> None:
        """See ``Runtime``."""
        deadline = Deadline.after(timeout_s)
        # A program that died before the answer is found below, as one that dies a moment later, with its last words.
        self._act("startProcess", unit, False, harmless=(_ALREADY_STARTED, _SPAWN_ERROR))
        last = State.UNKNOWN

        def running() -> bool:
            nonlocal last
            last = self._state(unit)
            if last is State.FAILED:
                lines = " | ".join(self.logs(unit, 3))
                raise RuntimeFailure(
                    f"{unit} does not stay up",
                    expected="state running",
                    seen=f"supervisord gave up starting it; last log lines: {lines or 'none'}",
                    action=f"{self._control()} tail {unit}",
                )
            return last is State.RUNNING

        wait_until(running, deadline, f"{unit} running", lambda: f"state {last.value}")

    def stop(self, unit: str, timeout_s: float) -> None:
        """See ``Runtime``."""
        deadline = Deadline.after(timeout_s)
        self.resume(unit)  # a stopped process does not hear SIGTERM
        self._act("stopProcess", unit, False, harmless=(_NOT_RUNNING,))
        down = (State.STOPPED, State.EXITED, State.FAILED)
        wait_until(
            lambda: self._state(unit) in down, deadline, f"{unit} stopped", lambda: f"state {self._state(unit).value}"
        )

    def kill_and_hold(self, unit: str) -> int:
        """See ``Runtime``.

        A program that was told to stop is not started again, and the frozen process hears nothing of it: it ends by
        SIGKILL, with all that it had not written, as in a crash. ``autorestart`` itself could only be turned off by
        another configuration, which takes a restart.
        """
        pid = self.pid(unit)
        self._check_killable(unit, pid)
        self.pause(unit)
        self._act("stopProcess", unit, False, harmless=(_NOT_RUNNING,))
        for process in process_tree(pid):
            _signal_if_alive(process.pid, signal.SIGKILL)
        return pid

    def pause(self, unit: str) -> None:
        """SIGSTOP to the whole process tree, the main process first so that it starts no further children.

        Done when the kernel shows all of them stopped: a child born meanwhile gets its signal in the next turn.
        """
        pid = self.pid(unit)

        def stopped() -> bool:
            moving = [process for process in process_tree(pid) if not process.ended and not is_stopped(process)]
            for process in moving:
                _signal_if_alive(process.pid, signal.SIGSTOP)
            return not moving

        wait_until(
            stopped, Deadline.after(self._timeout_s), f"{unit} stopped moving", lambda: "processes that still run"
        )

    def resume(self, unit: str) -> None:
        """SIGCONT to the whole process tree; children first, so that no parent finds them silent."""
        info = self._info(unit)
        if info is None:
            raise self.missing(unit)
        pid = int(info["pid"])
        if not pid:
            return

        def moving() -> bool:
            stopped = [process for process in process_tree(pid) if is_stopped(process)]
            for process in reversed(stopped):
                _signal_if_alive(process.pid, signal.SIGCONT)
            return not stopped

        wait_until(moving, Deadline.after(self._timeout_s), f"{unit} moving again", lambda: "processes still stopped")

    def attachments(self, unit: str) -> tuple[Attachment, ...]:
        """See ``Runtime``.

        :raises UnsupportedOperation: always: processes share the host's network.
        """
        raise UnsupportedOperation(
            f"{unit} cannot be cut off its network",
            expected="a unit with a network of its own",
            seen="a process under supervisord, which shares the host's network with every other",
            action="use the docker runtime for partitions, or cut at the peer",
        )

    def disconnect(self, unit: str, attachment: Attachment) -> None:  # noqa: ARG002
        """See ``attachments``."""
        self.attachments(unit)

    def reconnect(self, unit: str, attachment: Attachment) -> None:  # noqa: ARG002
        """See ``attachments``."""
        self.attachments(unit)

    def resources(self, unit: str) -> ResourceReading:
        """CPU counter and PSS over the process tree."""
        pid = self.pid(unit)
        tree = process_tree(pid)
        if not tree:
            raise NotRunning(f"{unit} ended while it was measured", seen=f"process {pid} gone")
        taken_ns = time.monotonic_ns()
        try:
            memory = sum(pss_bytes(process.pid) or 0 for process in tree)
        except PermissionError as error:
            raise RuntimeFailure(
                f"the memory of {unit} may not be read",
                expected="to own its processes or be root",
                seen=str(error),
                action="run with become: true",
            ) from error
        return ResourceReading(taken_ns, sum(process.cpu_seconds for process in tree), memory, "pss")

    def logs(self, unit: str, tail: int) -> list[str]:
        """The end of the unit's stdout log; supervisor programs of ours redirect stderr there."""
        try:
            text = self._call("readProcessStdoutLog", unit, -_LOG_TAIL_BYTES, 0)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _NO_FILE:
                return []
            raise self._explain(unit, "readProcessStdoutLog", fault) from fault
        return list(deque(str(text).splitlines(), maxlen=tail))

    def events(self, units: tuple[str, ...]) -> EventStream:
        """Follows supervisord's log, which holds every spawn and exit with milliseconds."""
        return _LogEvents(self, units)

    def start_command(self, unit: str) -> str:
        """See ``Runtime``."""
        return f"{self._control()} start {unit}"


class _LogEvents(EventStream):
    """New lines of supervisord's log. The last line seen is the bookmark: it survives rotation, an offset does not."""

    def __init__(self, runtime: SupervisorRuntime, units: tuple[str, ...]) -> None:
        self._runtime = runtime
        self._units = {_program(unit): unit for unit in units}
        self._seen = runtime.log_tail()

    def _fresh(self) -> list[str]:
        lines = self._runtime.log_tail()
        fresh = lines
        if self._seen:
            last = self._seen[-1]
            for index in range(len(lines) - 1, -1, -1):
                if lines[index] == last:
                    fresh = lines[index + 1 :]
                    break
        if lines:
            self._seen = lines[-1:]
        return fresh

    def poll(self, timeout_s: float) -> list[Event]:
        """See ``EventStream``."""
        deadline = Deadline.after(timeout_s)
        while True:
            found = [
                Event(self._units[entry.unit], entry.kind, entry.time_us, entry.detail)
                for entry in map(_parse_line, self._fresh())
                if entry is not None and entry.unit in self._units
            ]
            if found or deadline.passed:
                return found
            time.sleep(min(POLL_S, deadline.remaining() or POLL_S))

    def close(self) -> None:
        """Nothing is held open."""


def _program(unit: str) -> str:
    """The program's name as the log has it, without its group."""
    return unit.rpartition(":")[2]


def _parse_line(line: str) -> Optional[_LogLine]:
    match = _LINE.match(line)
    if match is None:
        return None
    # supervisord logs local time; this runs on the same host, so the same zone applies.
    local = time.strptime(match["time"], "%Y-%m-%d %H:%M:%S")
    time_us = int(time.mktime(local)) * 1_000_000 + int(match["ms"]) * 1000
    return _LogLine(match["unit"], _EVENTS[match["word"]], time_us, match["rest"].strip())


def _signal_if_alive(pid: int, number: signal.Signals) -> None:
    """Signal a member of a tree; one that ended meanwhile needs no signal."""
    try:
        send_signal(pid, number)
    except NotRunning:
        if read_stat(pid) is not None:
            raise
