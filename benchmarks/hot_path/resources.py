# SPDX-License-Identifier: Apache-2.0
"""CPU and memory of each service over a stretch of time."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from k2lab.crash_test.target import Target


@dataclass(frozen=True)
class Usage:
    """CPU in cores (from counter differences) and proportional set size at the end."""

    cpu_cores: float
    memory_bytes: int


class Meter:
    """Counts from its making on."""

    def __init__(self, target: Target) -> None:
        pids = {service: target.running_pid(service) for service in target.services}
        self._processes = {service: psutil.Process(pid) for service, pid in pids.items() if pid is not None}
        self._before = {service: _cpu_s(process) for service, process in self._processes.items()}

    def usage(self, seconds: float) -> dict[str, Usage]:
        """Use of each service since the start, which was `seconds` ago."""
        return {
            service: Usage(
                round((_cpu_s(process) - self._before[service]) / seconds, 3), int(process.memory_full_info().pss)
            )
            for service, process in self._processes.items()
        }


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
