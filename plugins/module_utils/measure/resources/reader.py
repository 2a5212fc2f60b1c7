# SPDX-License-Identifier: Apache-2.0
"""One look at what every service uses, cheap enough for every five seconds of a day.

A main process is asked for once: as long as /proc has the process that started then, no runtime is asked again, except
each minute for its own count of restarts. /proc is listed once for all services.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Optional

from ...core.clock import NS_PER_S, utc_us
from ...core.errors import K2Error
from ...platform import procfs
from ...platform.kernel_log import KernelLog
from ...platform.procfs import ProcessStat, ProcessTable, is_stopped
from ...platform.runtime import cgroup
from ...platform.runtime.base import EventKind, EventStream, Runtime, State
from ...platform.runtime.docker import DockerRuntime
from ...platform.runtime.factory import open_runtime
from ...platform.runtime.systemd import SystemdRuntime
from ...profile.model import RuntimeKind
from .plan import Plan, Target
from .samples import ServiceRow

ASK_AGAIN_S = 60.0
# How many processes the kernel of this host killed since the last look, and which; None where its log may not be read.
_HostOoms = tuple[int, Optional[frozenset[int]]]


@dataclass(frozen=True)
class _Main:
    """The main process of a service as last seen; ``group`` is None where its process tree counts instead."""

    pid: int
    started: int
    group: Optional[cgroup.CgroupPaths]
    restarts: Optional[int]
    asked_ns: int
    members: frozenset[int] = frozenset()
    group_ooms: Optional[int] = None


class Reader:
    """Looks at the services of a plan again and again; ``oom_kills`` goes on from what is given."""

    def __init__(
        self, plan: Plan, oom_kills: Optional[Mapping[str, int]] = None, since_us: Optional[int] = None
    ) -> None:
        names = {
            kind: {target.unit: target.service for target in plan.targets if target.runtime is kind}
            for kind in plan.runtimes
        }
        self._targets = plan.targets
        self._runtimes: dict[RuntimeKind, Runtime] = {
            kind: open_runtime(kind, settings, names[kind]) for kind, settings in plan.runtimes.items()
        }
        self._mains: dict[str, _Main] = {}
        self._ooms = {target.service: (oom_kills or {}).get(target.service, 0) for target in plan.targets}
        self._host_ooms: Optional[int] = None
        self._log = KernelLog()
        self._events: Optional[EventStream] = None
        self._heard_us = utc_us() if since_us is None else since_us
        self._resubscribe = True

    @property
    def host_oom_kills(self) -> Optional[int]:
        """The host's own count at the last look."""
        return self._host_ooms

    def look(self, tick: int, now: str) -> list[ServiceRow]:
        """A row for each service, in the order of the plan. Never raises for a service that cannot be read."""
        table = ProcessTable.read()
        before, self._host_ooms = self._host_ooms, procfs.oom_kills()
        host = (self._host_ooms or 0) - before if before is not None else 0
        # The log is long, so it is read at the start and when there is something to be found in it.
        killed = self._log.killed() if host or before is None else frozenset()
        heard = self._heard()
        return [
            self._row(ServiceRow(tick, now, target.service, "unknown"), target, table, (host, killed), heard)
            for target in self._targets
        ]

    def close(self) -> None:
        """Hold nothing open."""
        if self._events is not None:
            self._events.close()
            self._events = None

    # -- one service -------------------------------------------------------------------------------------------------

    def _row(
        self, row: ServiceRow, target: Target, table: ProcessTable, host: _HostOoms, heard: Mapping[str, int]
    ) -> ServiceRow:
        name = target.service
        last = self._mains.get(name)
        group_ooms = 0
        try:
            stat, state, why = self._main(target, table)
            main = self._mains.get(name)
            if main is None or stat is None:
                row = replace(row, state=state, why=why)
            else:
                row, group_ooms = self._measured(replace(row, state=state), main, stat, table)
        except (K2Error, OSError) as error:
            row = replace(row, why=str(error))
        # Its own group's count, the engine's word, or the kernel's of a process of its tree: several may tell of one.
        of_tree = _ooms_of(last, host, table) if last is not None and last.group is None else 0
        self._ooms[name] += max(group_ooms, heard.get(name, 0), of_tree)
        return replace(row, oom_kills=self._ooms[name])

    def _main(self, target: Target, table: ProcessTable) -> tuple[Optional[ProcessStat], str, str]:
        """The main process, the state of the service, and why there is no process."""
        known = self._mains.get(target.service)
        stat = table.get(known.pid) if known else None
        alive = known is not None and stat is not None and stat.start_ticks == known.started and not stat.ended
        now_ns = time.monotonic_ns()
        if alive and known and stat and now_ns - known.asked_ns < ASK_AGAIN_S * NS_PER_S:
            return stat, State.PAUSED.value if is_stopped(stat) else State.RUNNING.value, ""
        if not alive:
            # Also where the runtime does not answer: what is gone is seen to go once.
            self._mains.pop(target.service, None)
        runtime = self._runtimes[target.runtime]
        status = runtime.status(target.unit)
        # It may have begun after /proc was listed.
        stat = (table.get(status.pid) or procfs.read_stat(status.pid)) if status.pid is not None else None
        if stat is None or stat.ended:
            if status.pid is not None:
                why = f"process {status.pid} is not among this host's: run this on the host that runs {target.unit}"
            else:
                why = "" if target.one_shot and status.state is State.EXITED else status.detail or "it does not run"
            return None, status.state.value, why
        if known is None or not alive or known.pid != stat.pid or known.started != stat.start_ticks:
            self._resubscribe = True
            group = _group(runtime, target.unit, stat.pid)
            self._mains[target.service] = _Main(stat.pid, stat.start_ticks, group, status.restarts, now_ns)
        else:
            self._mains[target.service] = replace(known, restarts=status.restarts, asked_ns=now_ns)
        return stat, status.state.value, ""

    def _measured(self, row: ServiceRow, main: _Main, stat: ProcessStat, table: ProcessTable) -> tuple[ServiceRow, int]:
        tree = [each for each in table.tree(main.pid) if not each.ended] or [stat]
        new_ooms = 0
        if main.group is not None:
            reading = cgroup.read(main.group)
            cpu_s, memory, kind = reading.cpu_seconds, reading.memory_bytes, reading.memory_kind
            if reading.oom_kills is not None:
                new_ooms = reading.oom_kills - main.group_ooms if main.group_ooms is not None else 0
                main = replace(main, group_ooms=reading.oom_kills)
        else:
            cpu_s, kind = sum(each.cpu_seconds for each in table.tree(main.pid) or [stat]), "pss"
            memory = sum(procfs.pss_bytes(each.pid) or 0 for each in tree)
        self._mains[row.service] = replace(main, members=frozenset(each.pid for each in tree))
        return (
            replace(
                row,
                pid=main.pid,
                started=main.started,
                cpu_s=round(cpu_s, 6),
                memory_bytes=memory,
                memory_kind=kind,
                processes=len(tree),
                threads=sum(each.threads for each in tree),
                fds=sum(procfs.open_files(each.pid) or 0 for each in tree),
                restarts=main.restarts,
            ),
            new_ooms,
        )

    # -- what an engine tells ----------------------------------------------------------------------------------------

    def _heard(self) -> dict[str, int]:
        """OOM kills by service that the Docker Engine told of since the last look: a container's group dies with it."""
        docker = self._runtimes.get(RuntimeKind.DOCKER)
        if not isinstance(docker, DockerRuntime):
            return {}
        services = {target.unit: target.service for target in self._targets if target.runtime is RuntimeKind.DOCKER}
        found: dict[str, int] = {}
        try:
            if self._resubscribe or self._events is None:
                self.close()
                there = tuple(unit for unit in services if docker.status(unit).state is not State.MISSING)
                self._events = docker.events_since(there, self._heard_us)
                self._resubscribe = False
            for event in self._events.poll(0.02):
                if event.time_us <= self._heard_us:
                    continue
                self._heard_us = event.time_us
                if event.kind is EventKind.OOM:
                    found[services[event.unit]] = found.get(services[event.unit], 0) + 1
        except K2Error:
            # The engine is away: its services tell why by themselves, and what it remembers is asked for later.
            self._resubscribe = True
        return found


def _ooms_of(last: _Main, host: _HostOoms, table: ProcessTable) -> int:
    """How many processes of a tree the kernel killed; where nobody knows which, all of them if the tree lost one."""
    count, killed = host
    members = last.members | {last.pid}
    if killed is not None:
        return len(members & killed)
    lost = any((stat := table.get(pid)) is None or stat.ended for pid in members)
    return count if lost else 0


def _group(runtime: Runtime, unit: str, pid: int) -> Optional[cgroup.CgroupPaths]:
    if isinstance(runtime, DockerRuntime):
        return runtime.group(unit, pid)
    return runtime.group(unit) if isinstance(runtime, SystemdRuntime) else None
