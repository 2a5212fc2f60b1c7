# SPDX-License-Identifier: Apache-2.0
"""The interface every runtime offers, and the values it speaks in.

A *unit* is the runtime's own name for a service: a supervisor program, a container, a systemd unit. All calls run on
the host where the processes are, and each is bounded by a timeout.
"""

from __future__ import annotations

import abc
import enum
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Optional

from ...core.clock import Deadline
from ...core.errors import DeadlineExceeded, K2Error, UnsupportedOperation
from ...profile.model import Resources, RuntimeKind
from ..procfs import read_stat

POLL_S = 0.05


class State(enum.Enum):
    """The state of a unit, in words common to all runtimes."""

    RUNNING = "running"
    STARTING = "starting"
    RESTARTING = "restarting"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    EXITED = "exited"
    FAILED = "failed"
    MISSING = "missing"
    UNKNOWN = "unknown"


class EventKind(enum.Enum):
    """What happened to a unit."""

    STARTED = "started"
    EXITED = "exited"
    STOPPED = "stopped"
    KILLED = "killed"
    OOM = "oom"
    PAUSED = "paused"
    RESUMED = "resumed"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    FAILED = "failed"


@dataclass(frozen=True)
class Status:
    """A unit at one moment. ``restarts`` counts those the runtime made by itself, as far back as it remembers."""

    state: State
    pid: Optional[int] = None
    uptime_s: Optional[float] = None
    restarts: Optional[int] = None
    exit_code: Optional[int] = None
    detail: str = ""


@dataclass(frozen=True)
class RestartPolicy:
    """What the runtime is told to do when a unit ends by itself, in its own words.

    ``after_crash`` says whether it starts a unit again that was killed, ``after_success`` one that exited with 0; None
    where the runtime does not tell.
    """

    text: str
    after_crash: Optional[bool]
    after_success: Optional[bool] = None


@dataclass(frozen=True)
class ResourceReading:
    """CPU used so far (a counter, seconds) and memory now (bytes), read together.

    ``memory_kind`` says which memory: ``pss`` of processes, or ``working_set`` of a cgroup (usage without inactive
    page cache). ``oom_kills`` is None where the runtime cannot know.
    """

    monotonic_ns: int
    cpu_seconds: float
    memory_bytes: int
    memory_kind: str
    oom_kills: Optional[int] = None


@dataclass(frozen=True)
class Event:
    """Something the runtime reports about a unit; ``time_us`` is the runtime's own clock, UTC microseconds."""

    unit: str
    kind: EventKind
    time_us: int
    detail: str = ""


@dataclass(frozen=True)
class Attachment:
    """One network of a unit with what is needed to restore it."""

    network: str
    ipv4: Optional[str]
    aliases: tuple[str, ...]
    ipv6: Optional[str] = None

    def to_endpoint(self) -> dict[str, Any]:
        """As the Docker Engine takes and shows it; an address that it chose itself is not asked for again."""
        static = {"IPv4Address": self.ipv4, "IPv6Address": self.ipv6}
        addresses = {key: address for key, address in static.items() if address is not None}
        return {"Aliases": list(self.aliases), **({"IPAMConfig": addresses} if addresses else {})}


@dataclass(frozen=True)
class Place:
    """A unit on a network: the address it was given for good, and the one it has now."""

    network: str
    fixed: Optional[str]
    current: Optional[str]


@dataclass(frozen=True)
class Network:
    """A network of the runtime and the address ranges it spans."""

    name: str
    subnets: tuple[str, ...]


@dataclass(frozen=True)
class Setup:
    """How a unit was set up, beside its status. What the runtime does not tell is None.

    ``name`` is the runtime's own name for it and ``project`` what it belongs to. A limit that is not set is None within
    ``limit``. ``recreate``, ``resume`` and ``logs`` are the commands that make it anew from its description, end a
    pause and show what it wrote last.
    """

    name: str
    status: Status
    restart: RestartPolicy
    project: Optional[str] = None
    limit: Optional[Resources] = None
    heap_bytes: Optional[int] = None
    places: Optional[tuple[Place, ...]] = None
    labels: Optional[Mapping[str, str]] = None
    recreate: Optional[str] = None
    resume: Optional[str] = None
    logs: Optional[str] = None


class RuntimeFailure(K2Error):  # noqa: N818 - see core.errors
    """The runtime refused or failed a call."""


class NoAnswer(RuntimeFailure):
    """The runtime is there but does not answer in time."""


class UnitMissing(RuntimeFailure):
    """The runtime knows no such unit."""


class UnitAmbiguous(RuntimeFailure):
    """Several units answer to the name."""


class NetworkMissing(RuntimeFailure):
    """The runtime has no such network."""


class NotRunning(RuntimeFailure):
    """The unit has no process to act on."""


class EventStream(abc.ABC):
    """Events of units from the moment of subscription; use as a context manager."""

    @abc.abstractmethod
    def poll(self, timeout_s: float) -> list[Event]:
        """New events; waits up to ``timeout_s`` for the first.

        :raises RuntimeFailure: when the stream broke: no events is not the same as none seen.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """End the subscription; may be called twice."""

    def __enter__(self) -> EventStream:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()


class Runtime(abc.ABC):
    """Observe and act on units. Errors: ``UnitMissing``, ``NotRunning``, ``UnsupportedOperation``, ``RuntimeFailure``,
    ``SocketUnavailable``, ``DeadlineExceeded``.
    """

    kind: RuntimeKind

    @abc.abstractmethod
    def status(self, unit: str) -> Status:
        """The unit's state; a unit the runtime does not know is ``State.MISSING``, not an error."""

    @abc.abstractmethod
    def start(self, unit: str, timeout_s: float) -> None:
        """Start the unit and wait until the runtime calls it running; nothing to do if it runs."""

    @abc.abstractmethod
    def stop(self, unit: str, timeout_s: float) -> None:
        """Stop the unit for good (its supervisor does not start it again) and wait until it is down."""

    @abc.abstractmethod
    def pause(self, unit: str) -> None:
        """Freeze the unit's processes without ending them."""

    @abc.abstractmethod
    def resume(self, unit: str) -> None:
        """Undo ``pause``; nothing to do if it is not paused."""

    @abc.abstractmethod
    def attachments(self, unit: str) -> tuple[Attachment, ...]:
        """The unit's networks, to be written to the undo journal before ``disconnect``."""

    @abc.abstractmethod
    def disconnect(self, unit: str, attachment: Attachment) -> None:
        """Cut the unit off one of its networks."""

    @abc.abstractmethod
    def reconnect(self, unit: str, attachment: Attachment) -> None:
        """Restore a network with its address and aliases; nothing to do if it is connected."""

    @abc.abstractmethod
    def resources(self, unit: str) -> ResourceReading:
        """CPU and memory of the unit with all its child processes."""

    @abc.abstractmethod
    def logs(self, unit: str, tail: int) -> list[str]:
        """The last ``tail`` lines the unit wrote, oldest first."""

    @abc.abstractmethod
    def events(self, units: tuple[str, ...]) -> EventStream:
        """Subscribe to events of ``units``; complete when this returns, so subscribe before injecting a fault."""

    @abc.abstractmethod
    def start_command(self, unit: str) -> str:
        """The shell command a person would type to start the unit."""

    def restart_policy(self, unit: str) -> RestartPolicy:  # noqa: ARG002
        """Whether the runtime restarts the unit after a crash; not every runtime tells."""
        return RestartPolicy("not told by the runtime", after_crash=None)

    def setup(self, unit: str) -> Optional[Setup]:
        """How the unit was set up; None where the runtime knows no such unit."""
        status = self.status(unit)
        if status.state is State.MISSING:
            return None
        return Setup(unit, status, self.restart_policy(unit))

    def network(self, names: tuple[str, ...], project: Optional[str]) -> Network:  # noqa: ARG002
        """The first of ``names`` that is a network of this runtime, looked for within ``project`` if that is given.

        :raises NetworkMissing: none of them is. :raises UnitAmbiguous: several networks answer to the name.
        """
        raise UnsupportedOperation(
            f"{self.kind.value} has no networks of its own",
            expected="no networks in the profile, or a runtime that has some",
            seen=", ".join(names),
            action=f"remove networks under k2_platform.runtimes.{self.kind.value}",
        )

    def pid(self, unit: str) -> int:
        """The host's pid of the unit's main process.

        :raises UnitMissing: :raises NotRunning: there is no such unit, or it has no process.
        """
        status = self.status(unit)
        if status.state is State.MISSING:
            raise self.missing(unit)
        if status.pid is None:
            raise NotRunning(
                f"{unit} is not running",
                expected="a main process",
                seen=f"state {status.state.value}" + (f" ({status.detail})" if status.detail else ""),
                action=self.start_command(unit),
            )
        return status.pid

    def kill(self, unit: str) -> int:
        """SIGKILL the main process from the host, as a crash would, so that restart policies act. Returns its pid.

        Not through the runtime: a kill asked of Docker or supervisord counts as a stop and nothing restarts it.
        """
        pid = self.pid(unit)
        self._check_killable(unit, pid)
        send_signal(pid, signal.SIGKILL)
        return pid

    def hold_state(self, unit: str) -> Optional[str]:  # noqa: ARG002
        """What ``kill_and_hold`` will change beside the process, for the undo journal; None where that is nothing."""
        return None

    def kill_and_hold(self, unit: str) -> int:
        """Kill the main process as ``kill`` does, and have nothing start the unit again. Returns its pid.

        :raises UnsupportedOperation: the runtime cannot be kept from it.
        """
        raise UnsupportedOperation(
            f"{self.kind.value} cannot be kept from starting {unit} again",
            expected="a runtime that can be told to leave a unit down",
            seen=self.kind.value,
        )

    def missing(self, unit: str) -> UnitMissing:
        """The error for a unit that is not there."""
        return UnitMissing(
            f"{self.kind.value} knows no {unit!r}",
            expected="a unit of that name",
            seen="none",
            action="correct unit under k2_services, or create it: " + self.start_command(unit),
        )

    def _check_killable(self, unit: str, pid: int) -> None:
        """Refuse to signal a process that is not surely the unit's own."""
        if pid <= 1 or read_stat(pid) is None:
            raise UnsupportedOperation(
                f"{unit} cannot be killed from here",
                expected=f"its main process {pid} among this host's processes",
                seen="no such process",
                action="run this on the host whose kernel runs the unit",
            )


def send_signal(pid: int, number: signal.Signals) -> None:
    """Signal one process of this host.

    :raises NotRunning: it ended first. :raises RuntimeFailure: not permitted.
    """
    try:
        os.kill(pid, number)
    except ProcessLookupError as error:
        raise NotRunning(f"process {pid} ended before {number.name} reached it") from error
    except PermissionError as error:
        raise RuntimeFailure(
            f"{number.name} to process {pid} is not permitted",
            expected="to own the process or be root",
            seen="permission denied",
            action="run with become: true",
        ) from error


def wait_until(condition: Callable[[], bool], deadline: Deadline, what: str, seen: Callable[[], str]) -> None:
    """Poll ``condition`` until it holds.

    :raises DeadlineExceeded: naming ``what`` was awaited and what ``seen`` tells at the end.
    """
    while not condition():
        if deadline.passed:
            raise DeadlineExceeded(
                f"{what} did not happen in time", expected=what, seen=seen(), action="look at the unit's log"
            )
        time.sleep(min(POLL_S, deadline.remaining() or POLL_S))
