# SPDX-License-Identifier: Apache-2.0
"""CPU and memory of each service over a stretch of time."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from k2lab.control.plan import HOT
from k2lab.crash_test.target import Target


@dataclass(frozen=True)
class Usage:
    """CPU in cores (from counter differences) and proportional set size at the end, with all children."""

    on_hot_path: bool
    cpu_cores: float
    memory_bytes: int


class Meter:
    """Counts from its making on, for every service of the lab."""

    def __init__(self, target: Target) -> None:
        pids = {service: target.running_pid(service.name) for service in target.plan.services}
        self._processes = {service: psutil.Process(pid) for service, pid in pids.items() if pid is not None}
        self._before = {service: _cpu_s(process) for service, process in self._processes.items()}

    def usage(self, seconds: float) -> dict[str, Usage]:
        """Use of each service since the start, which was `seconds` ago.

        Raises psutil.NoSuchProcess when a service was restarted meanwhile: its counters began anew.
        """
        return {
            service.name: Usage(
                service.part == HOT,
                round((_cpu_s(process) - self._before[service]) / seconds, 3),
                _memory_bytes(process),
            )
            for service, process in self._processes.items()
        }


def _cpu_s(root: psutil.Process) -> float:
    """CPU seconds of a process, its live descendants, and of children that ended and were waited for."""
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            if process == root:
                raise
            continue  # it ended since the list was made: now counted with its parent's ended children
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _memory_bytes(root: psutil.Process) -> int:
    total = 0
    for process in [root, *root.children(recursive=True)]:
        try:
            total += int(process.memory_full_info().pss)
        except psutil.NoSuchProcess:
            if process == root:
                raise
    return total
