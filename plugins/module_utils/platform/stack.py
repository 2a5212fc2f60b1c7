# SPDX-License-Identifier: Apache-2.0
"""The state of a whole platform at one moment: what ``k2_stack_info`` returns and ``k2h status`` prints."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from typing import Any, Optional

from ..core.clock import NS_PER_S, ClockReading, Deadline, read_clock, rfc3339
from ..core.errors import K2Error
from ..profile.model import Lifecycle, Profile, Service
from .probe import ProbeResult, describe_probe, run_probe
from .runtime.base import ResourceReading, State, Status
from .runtime.factory import Runtimes

_POLL_S = 0.5
# Stands for the state of a service that the profile says cannot be had; no runtime is asked for it.
NOT_AVAILABLE = "not available"


@dataclass(frozen=True)
class ServiceInfo:
    """One service. Figures that could not be had are None and ``problem`` says why; ``ready`` is the verdict-free sum:
    it runs (a one-shot has exited 0) and its probe, if it has one, succeeds.

    ``not_available`` is the profile's reason why the service cannot be had; such a one is not looked at, nor ready.
    """

    name: str
    kind: str
    runtime: str
    unit: str
    state: str
    ready: bool
    pid: Optional[int]
    uptime_s: Optional[float]
    restarts: Optional[int]
    exit_code: Optional[int]
    port: Optional[int]
    cpu_cores: Optional[float]
    memory_bytes: Optional[int]
    memory_kind: Optional[str]
    oom_kills: Optional[int]
    probe: Optional[ProbeResult]
    probe_what: Optional[str]
    start_command: str
    problem: str
    not_available: Optional[str] = None


@dataclass(frozen=True)
class StackInfo:
    """All services with the target's clocks at the first and the last moment of the inspection.

    A controller that notes its own time before and after the call bounds the skew: the target's readings were taken
    between the two.
    """

    services: tuple[ServiceInfo, ...]
    clock_start: ClockReading
    clock_end: ClockReading
    attempts: int

    @property
    def all_ready(self) -> bool:
        """Whether every service is ready; one that is not available is not."""
        return all(service.ready for service in self.services)

    @property
    def not_ready(self) -> tuple[ServiceInfo, ...]:
        """The services that could be ready and are not."""
        return tuple(service for service in self.services if _awaited(service))

    @property
    def not_available(self) -> tuple[ServiceInfo, ...]:
        """The services that this installation cannot have."""
        return tuple(service for service in self.services if service.not_available is not None)

    def as_dict(self) -> dict[str, Any]:
        """As plain data; times of the clocks also as RFC 3339."""
        return {
            "services": {service.name: asdict(service) for service in self.services},
            "all_ready": self.all_ready,
            "not_ready": [service.name for service in self.not_ready],
            "not_available": {service.name: service.not_available for service in self.not_available},
            "attempts": self.attempts,
            "clock": {
                "start": {**asdict(self.clock_start), "utc": rfc3339(self.clock_start.utc_us)},
                "end": {**asdict(self.clock_end), "utc": rfc3339(self.clock_end.utc_us)},
            },
        }


def inspect_stack(
    profile: Profile,
    *,
    sample_s: float = 1.0,
    timeout_s: float = 30.0,
    wait_for_ready_s: float = 0.0,
    on_wait: Optional[Callable[[tuple[ServiceInfo, ...]], None]] = None,
) -> StackInfo:
    """Look at every service of the profile at the same time; nothing is changed.

    :arg sample_s: CPU is the mean over this window; 0 leaves CPU out.
    :arg timeout_s: one inspection ends after this, with what is known by then.
    :arg wait_for_ready_s: repeat until all that can be had are ready or this is over; the last answer is returned
        either way.
    :arg on_wait: called with each unready round, for progress.
    """
    start = read_clock()
    runtimes = Runtimes(profile)
    patience = Deadline.after(wait_for_ready_s)
    attempts = 0
    while wait_for_ready_s > 0:
        attempts += 1
        services = _round(profile, runtimes, 0.0, min(timeout_s, max(patience.remaining(), _POLL_S)))
        if not any(_awaited(service) for service in services) or patience.passed:
            break
        if on_wait is not None:
            on_wait(services)
        time.sleep(min(_POLL_S, patience.remaining()))
    services = _round(profile, runtimes, sample_s, timeout_s)
    return StackInfo(services, start, read_clock(), attempts + 1)


def _awaited(service: ServiceInfo) -> bool:
    return not service.ready and service.not_available is None


def _round(profile: Profile, runtimes: Runtimes, sample_s: float, timeout_s: float) -> tuple[ServiceInfo, ...]:
    services = list(profile.services.values())
    if not services:
        return ()
    deadline = Deadline.after(timeout_s)
    pool = ThreadPoolExecutor(max_workers=len(services), thread_name_prefix="inspect")
    try:
        tasks = [pool.submit(_inspect, profile, runtimes, service, sample_s) for service in services]
        wait(tasks, timeout=deadline.remaining())
        return tuple(
            task.result() if task.done() else _unknown(profile, service, f"no answer within {timeout_s:g} s", None)
            for service, task in zip(services, tasks)
        )
    finally:
        # Every call in a worker has its own timeout, so the stragglers end by themselves.
        pool.shutdown(wait=False, cancel_futures=True)


def _inspect(profile: Profile, runtimes: Runtimes, service: Service, sample_s: float) -> ServiceInfo:
    if service.not_available is not None:
        return _not_available(service, service.not_available)
    try:
        status = runtimes.of(service).status(service.unit)
    except K2Error as error:
        return _unknown(profile, service, str(error), _probe(profile, service))
    first, problem = _resources(runtimes, service, status)
    sampled_from = Deadline.after(sample_s)
    probe = _probe(profile, service)
    cores: Optional[float] = None
    last = first
    if first is not None and sample_s > 0:
        time.sleep(sampled_from.remaining())
        last, problem = _resources(runtimes, service, status)
        if last is not None and last.cpu_seconds < first.cpu_seconds:
            problem = "restarted while it was measured"
        elif last is not None:
            cores = (last.cpu_seconds - first.cpu_seconds) / ((last.monotonic_ns - first.monotonic_ns) / NS_PER_S)
    return ServiceInfo(
        name=service.name,
        kind=service.kind.value,
        runtime=service.runtime.value,
        unit=service.unit,
        state=status.state.value,
        ready=_runs(service, status) and (probe is None or probe.ok),
        pid=status.pid,
        uptime_s=status.uptime_s,
        restarts=status.restarts,
        exit_code=status.exit_code,
        port=service.port,
        cpu_cores=cores,
        memory_bytes=None if last is None else last.memory_bytes,
        memory_kind=None if last is None else last.memory_kind,
        oom_kills=None if last is None else last.oom_kills,
        probe=probe,
        probe_what=None if service.probe is None else describe_probe(service.probe),
        start_command=runtimes.of(service).start_command(service.unit),
        problem=problem or ("" if _runs(service, status) else status.detail),
    )


def _resources(runtimes: Runtimes, service: Service, status: Status) -> tuple[Optional[ResourceReading], str]:
    """A reading, or why there is none; a service without a process has none and needs no reason."""
    if status.pid is None:
        return None, ""
    try:
        return runtimes.of(service).resources(service.unit), ""
    except K2Error as error:
        return None, str(error)


def _runs(service: Service, status: Status) -> bool:
    if service.lifecycle is Lifecycle.ONE_SHOT:
        return status.state is State.RUNNING or (status.state is State.EXITED and status.exit_code == 0)
    return status.state is State.RUNNING


def _probe(profile: Profile, service: Service) -> Optional[ProbeResult]:
    return None if service.probe is None else run_probe(service.probe, profile.clickhouse)


def _unknown(profile: Profile, service: Service, problem: str, probe: Optional[ProbeResult]) -> ServiceInfo:
    """A service whose runtime does not tell its state; what would help is what brings up the runtime itself."""
    settings = profile.platform.runtimes.get(service.runtime.value)
    return replace(
        _without_figures(service),
        probe=probe,
        start_command=(settings.start_command or "") if settings else "",
        problem=problem,
    )


def _not_available(service: Service, reason: str) -> ServiceInfo:
    """A service that the profile says cannot be had; neither its runtime nor its probe is asked."""
    return replace(
        _without_figures(service),
        state=NOT_AVAILABLE,
        problem=f"{NOT_AVAILABLE}: {reason}",
        not_available=reason,
    )


def _without_figures(service: Service) -> ServiceInfo:
    return ServiceInfo(
        name=service.name,
        kind=service.kind.value,
        runtime=service.runtime.value,
        unit=service.unit,
        state=State.UNKNOWN.value,
        ready=False,
        pid=None,
        uptime_s=None,
        restarts=None,
        exit_code=None,
        port=service.port,
        cpu_cores=None,
        memory_bytes=None,
        memory_kind=None,
        oom_kills=None,
        probe=None,
        probe_what=None if service.probe is None else describe_probe(service.probe),
        start_command="",
        problem="",
    )
