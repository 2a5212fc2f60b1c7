# SPDX-License-Identifier: Apache-2.0
"""What services use at this moment, beside what their runtime lets them have: the state before a window."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Optional

from ...core.clock import now_rfc3339
from ...core.errors import K2Error
from ...platform.runtime.factory import open_runtime
from .home import WindowError
from .plan import Plan, Target
from .reader import Reader
from .samples import ServiceRow

APART_S = 1.0


@dataclass(frozen=True)
class Reading:
    """One service now. ``limit_cpus`` and ``limit_memory_bytes`` are what its runtime enforces, None for no limit."""

    service: str
    state: str
    cpu_cores: Optional[float]
    memory_bytes: Optional[int]
    memory_kind: Optional[str]
    processes: Optional[int]
    threads: Optional[int]
    fds: Optional[int]
    restarts: Optional[int]
    limit_cpus: Optional[float]
    limit_memory_bytes: Optional[int]
    why: str


@dataclass(frozen=True)
class Snapshot:
    """All services at one moment."""

    time: str
    services: tuple[Reading, ...]

    def to_plain(self) -> dict[str, Any]:
        """As data, by service."""
        return {"time": self.time, "services": {each.service: asdict(each) for each in self.services}}

    @property
    def unreadable(self) -> tuple[Reading, ...]:
        """Services that run, or may run, and cannot be read."""
        return tuple(
            each for each in self.services if each.memory_bytes is None and each.state in ("running", "unknown")
        )


def take_snapshot(plan: Plan, apart_s: float = APART_S) -> Snapshot:
    """Look twice, ``apart_s`` apart, since CPU is a difference."""
    reader = Reader(plan)
    try:
        now, first_ns = now_rfc3339(), time.monotonic_ns()
        first = {row.service: row for row in reader.look(0, now)}
        time.sleep(apart_s)
        second_ns = time.monotonic_ns()
        second = reader.look(1, now)
    finally:
        reader.close()
    limits = {target.service: _limit(plan, target) for target in plan.targets}
    seconds = (second_ns - first_ns) / 1e9
    return Snapshot(now, tuple(_reading(first[row.service], row, seconds, limits[row.service]) for row in second))


def _reading(
    first: ServiceRow, last: ServiceRow, seconds: float, limit: tuple[Optional[float], Optional[int]]
) -> Reading:
    same = first.pid == last.pid and first.started == last.started
    known = same and first.cpu_s is not None and last.cpu_s is not None and last.cpu_s >= first.cpu_s
    return Reading(
        last.service,
        last.state,
        round(((last.cpu_s or 0.0) - (first.cpu_s or 0.0)) / seconds, 4) if known else None,
        last.memory_bytes,
        last.memory_kind,
        last.processes,
        last.threads,
        last.fds,
        last.restarts,
        *limit,
        last.why,
    )


def _limit(plan: Plan, target: Target) -> tuple[Optional[float], Optional[int]]:
    """What the runtime enforces; nothing where it cannot be asked, which the readings tell."""
    names = {each.unit: each.service for each in plan.targets if each.runtime is target.runtime}
    try:
        setup = open_runtime(target.runtime, plan.runtimes[target.runtime], names).setup(target.unit)
    except K2Error:
        return None, None
    if setup is None or setup.limit is None:
        return None, None
    return setup.limit.cpus, setup.limit.memory_bytes


def refuse_unreadable(snapshot: Snapshot) -> None:
    """Raise WindowError where a service that runs cannot be read: a window of it would be empty."""
    wrong: Mapping[str, str] = {each.service: each.why for each in snapshot.unreadable}
    if wrong:
        raise WindowError(
            f"{len(wrong)} services cannot be read",
            expected="CPU and memory of every service that runs",
            seen="; ".join(f"{name}: {why}" for name, why in wrong.items()),
            action="run with become: true on the host that runs them, or correct the profile",
        )
