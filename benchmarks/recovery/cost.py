# SPDX-License-Identifier: Apache-2.0
"""What sampling a whole platform costs: as many services as the lab has, each with a process and an HTTP lane."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from typing import cast

from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.lanes import lanes_for
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.samplers import Samplers
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import Runtime, State, Status
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import RuntimeKind
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from benchmarks.recovery.service import service


class OneProcess:
    """A runtime all of whose units are the same process."""

    kind = RuntimeKind.SUPERVISOR

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def status(self, unit: str) -> Status:  # noqa: ARG002 - as the interface has it
        return Status(State.RUNNING, self._pid)


@dataclass(frozen=True)
class Cost:
    """CPU used by the process that samples; the services' answers come on top."""

    services: int
    closely: int
    looks: int
    skipped: int
    seconds: float
    cpu_cores: float


def measure_cost(services: int, closely: int, seconds: float) -> Cost:
    """Sample ``services`` services, ``closely`` of them as often as can be and the others once a second."""
    with service() as target:
        names = [f"s{number}" for number in range(services)]
        probe = {"http": {"url": f"http://127.0.0.1:{target.port}/"}}
        profile = parse_profile(
            {
                "k2_platform": {
                    "name": "bench",
                    "scale": "lab",
                    "runtime": "supervisor",
                    "runtimes": {"supervisor": {"socket": "/nowhere", "timeout_s": 1}},
                },
                "k2_services": {name: {"kind": "service", "probe": probe} for name in names},
            }
        )
        runtime = cast("Runtime", OneProcess(target.process.pid))
        watches = lanes_for(profile, lambda _service: runtime, closely=set(names[:closely]))
        with Samplers(watches) as samplers:
            time.sleep(2.0)
            before, began, had = _cpu_s(), time.monotonic(), _looks(samplers)
            time.sleep(seconds)
            used_s, took_s = _cpu_s() - before, time.monotonic() - began
            looks = _looks(samplers) - had
            skipped = sum(lane.skipped for lane in samplers.lanes())
    return Cost(services, closely, looks, skipped, took_s, used_s / took_s)


def _looks(samplers: Samplers) -> int:
    return sum(len(lane.samples) for lane in samplers.lanes())


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
