# SPDX-License-Identifier: Apache-2.0
"""What faults on a unit of a runtime have in common: how it was before, who started its process, whether it is back."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Optional

from ...core.clock import NS_PER_S
from ...core.errors import K2Error
from ...platform.procfs import read_stat
from ...platform.runtime.base import Attachment, Runtime, State
from ...profile.model import FailureMode, Lifecycle, Profile, RuntimeKind, Service, ServiceKind
from .base import Fault, FaultNotPossible, Mechanism, Moment, Step
from .steps_of import START_TIMEOUT_S, StepsOf, steps_of

# How long an orderly stop may take. Of an engine's time half is grace, and ten seconds are what it gives unasked.
_STOP_TIMEOUT_S = {RuntimeKind.DOCKER: 20.0}
_STOP_TIMEOUT_OTHERS_S = 90.0


@dataclass(frozen=True)
class Process:
    """A process for good: pids are used again, a pid with its start time is not."""

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: Optional[int]) -> Optional[Process]:
        """The process that has this pid now."""
        stat = read_stat(pid) if pid else None
        return None if stat is None else cls(stat.pid, stat.start_ticks)

    @property
    def alive(self) -> bool:
        """Whether it still runs; one that ended and was not reaped does not."""
        stat = read_stat(self.pid)
        return stat is not None and stat.start_ticks == self.start_ticks and not stat.ended

    @property
    def forked_before_ns(self) -> int:
        """A reading of CLOCK_MONOTONIC at which it certainly had been started: the kernel keeps its start in ticks."""
        suspended_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
        return (self.start_ticks + 1) * NS_PER_S // os.sysconf("SC_CLK_TCK") - suspended_ns

    def __str__(self) -> str:
        return f"process {self.pid}"


@dataclass(frozen=True)
class Before:
    """A unit before a fault, and which units of ``others`` ran that go down with what holds it."""

    process: Process
    attachments: tuple[Attachment, ...]
    others: tuple[str, ...] = ()


class UnitFault(Fault):
    """A fault on a unit that runs."""

    def __init__(self, profile: Profile, mode: FailureMode, service: Service, runtime: Runtime) -> None:
        self.profile = profile
        self.mode = mode
        self.service = service
        self.runtime = runtime
        self.unit = service.unit
        self.steps: StepsOf = steps_of(runtime, profile.platform.runtimes[service.runtime.value])
        self._before: Optional[Before] = None
        self._started_by_tool: Optional[Process] = None

    @property
    def before(self) -> Before:
        """The unit as ``check`` found it."""
        assert self._before is not None, "check() comes first"
        return self._before

    def check(self) -> None:
        """See ``Fault``."""
        status = self.runtime.status(self.unit)
        if status.state is State.MISSING:
            raise self.runtime.missing(self.unit)
        if status.state is not State.RUNNING or status.pid is None:
            raise FaultNotPossible(
                f"{self.service.name} does not run, so nothing could be learnt from breaking it",
                expected="state running",
                seen=f"state {status.state.value}" + (f" ({status.detail})" if status.detail else ""),
                action=self.runtime.start_command(self.unit),
            )
        process = Process.of(status.pid)
        if process is None:
            raise FaultNotPossible(
                f"the processes of {self.service.name} are not on this host",
                expected=f"its main process {status.pid} among this host's processes",
                seen="no such process",
                action="run this on the host whose kernel runs the unit",
            )
        self._before = Before(process, self._attachments(), self._others_running())
        self._check(process)

    def _check(self, process: Process) -> None:
        """What else must be so for this fault; ``process`` is the unit's main process."""

    def _attachments(self) -> tuple[Attachment, ...]:
        return self.runtime.attachments(self.unit) if self.runtime.kind is RuntimeKind.DOCKER else ()

    def _others_running(self) -> tuple[str, ...]:
        """The platform's other units that an engine takes along when it dies: it does not start again all that ran.

        Processes outlive their supervisord, so there are none.
        """
        if self.runtime.kind is not RuntimeKind.DOCKER:
            return ()
        units = (
            service.unit
            for service in self.profile.services.values()
            if service.runtime is self.service.runtime and service.lifecycle is Lifecycle.LONG_RUNNING
        )
        return tuple(unit for unit in units if unit != self.unit and self.runtime.status(unit).state is State.RUNNING)

    def undo_steps(self) -> tuple[Step, ...]:
        """See ``Fault``; to have it run is the undo of whatever may end it, of a crash too: supervisors give up.

        So it is part of the undo of every fault: what holds the unit may itself die meanwhile.
        """
        return (*self.steps.start(self.unit), *(step for unit in self.before.others for step in self.steps.keep(unit)))

    def heal(self) -> Optional[Moment]:
        """See ``Fault``; one that is not held is over by itself."""
        return None

    def restored(self) -> tuple[str, ...]:
        """See ``Fault``."""
        try:
            return (*self._differences_of_unit(), *self._differences())
        except K2Error as error:
            return (f"it cannot be told whether {self.service.name} is as it was: {error}",)

    def _differences_of_unit(self) -> tuple[str, ...]:
        status = self.runtime.status(self.unit)
        if status.state is not State.RUNNING:
            return (f"{self.service.name} is {status.state.value}, was running",)
        now = {each.network: each for each in self._attachments()}
        return tuple(
            f"network {was.network} of {self.service.name} is {_told(now.get(was.network))}, was {_told(was)}"
            for was in self.before.attachments
            if now.get(was.network) != was
        )

    def _differences(self) -> tuple[str, ...]:
        """What else is not as it was."""
        return ()

    def mechanism(self) -> Optional[Mechanism]:
        """See ``Fault``; told by whose process runs now."""
        status = self.runtime.status(self.unit)
        now = Process.of(status.pid)
        if status.state is not State.RUNNING or now is None:
            return None
        if now == self.before.process:
            return Mechanism.HEALED_ITSELF
        return Mechanism.RESTARTED_BY_TOOL if now == self._started_by_tool else Mechanism.RESTARTED_BY_SUPERVISOR

    # -- acts that several faults share ------------------------------------------------------------------------------

    def _stop(self) -> None:
        self.runtime.stop(self.unit, _STOP_TIMEOUT_S.get(self.runtime.kind, _STOP_TIMEOUT_OTHERS_S))

    def _start(self) -> Optional[Process]:
        self.runtime.start(self.unit, START_TIMEOUT_S)
        self._started_by_tool = Process.of(self.runtime.status(self.unit).pid)
        return self._started_by_tool

    def _require_signal(self, process: Process) -> None:
        """Refuse where this user may not signal the process.

        :raises FaultNotPossible: it belongs to another user.
        """
        try:
            os.kill(process.pid, 0)
        except PermissionError as error:
            raise FaultNotPossible(
                f"{self.service.name} may not be signalled by this user",
                expected=f"to own {process} or be root",
                seen=str(error),
                action="run with become: true",
            ) from error
        except ProcessLookupError as error:
            raise FaultNotPossible(f"{self.service.name} ended while it was looked at", seen=str(error)) from error


def started(low_ns: int, high_ns: int, process: Optional[Process]) -> Moment:
    """When a start was made that was asked for at ``low_ns`` and reported at ``high_ns``.

    Runtimes report a start late, supervisord after a second or more; the kernel knows when the process was made.
    """
    if process is not None and low_ns < process.forked_before_ns < high_ns:
        return Moment(low_ns, process.forked_before_ns)
    return Moment(low_ns, high_ns)


def reach(profile: Profile, service: Service) -> str:
    """Whose work stops with this service, for a plan."""
    alone = f"{service.name}, and what waits for it"
    if service.exchange is not None:
        return f"{alone}; the flow of exchange {service.exchange}"
    if service.kind in (ServiceKind.BROKER, ServiceKind.DATABASE, ServiceKind.PROCESSOR) and service.tier == "hot":
        return f"{alone}; the flow of every exchange ({', '.join(profile.exchanges)})"
    return alone


def _told(attachment: Optional[Attachment]) -> str:
    if attachment is None:
        return "not connected"
    details = [attachment.ipv4 or "any address", *attachment.aliases]
    return f"connected ({', '.join(details)})"
