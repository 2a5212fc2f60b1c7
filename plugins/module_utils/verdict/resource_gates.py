# SPDX-License-Identifier: Apache-2.0
"""The gates of step S2: what each service, and all of them, may use, and for how long that was looked at."""

from __future__ import annotations

from typing import Optional

from ..profile.model import Lifecycle, Profile, Scale, Service
from .gate import GateSpec, Op

DAY_S = 86_400.0
HOLES_PERCENT = 1.0
MIB = 1024**2


def allowed_cpus(service: Service) -> Optional[float]:
    """The smaller of budget and limit in cores; None where neither is stated."""
    amounts = [each.cpus for each in (service.budget, service.limit) if each is not None and each.cpus is not None]
    return min(amounts) if amounts else None


def allowed_memory(service: Service) -> Optional[int]:
    """The smaller of budget and limit in bytes; None where neither is stated."""
    amounts = [
        each.memory_bytes
        for each in (service.budget, service.limit)
        if each is not None and each.memory_bytes is not None
    ]
    return min(amounts) if amounts else None


def lasting(profile: Profile) -> tuple[Service, ...]:
    """The services that run on, and so have gates of their own."""
    return tuple(each for each in profile.services.values() if each.lifecycle is Lifecycle.LONG_RUNNING)


def total_cpu_gate(profile: Profile) -> GateSpec:
    """S2: CPU of all services together."""
    target = profile.budget.cpus if profile.budget else None
    return GateSpec("S2.total.cpu", "p99 of the CPU of all services together", Op.LE, target, "cores")


def total_memory_gate(profile: Profile) -> GateSpec:
    """S2: memory of all services together."""
    target = round(profile.budget.memory_bytes / MIB, 3) if profile.budget else None
    return GateSpec("S2.total.memory", "Most memory of all services together", Op.LE, target, "MiB")


def cpu_gate(service: Service) -> GateSpec:
    """S2: CPU of one service."""
    return GateSpec(
        f"S2.{service.name}.cpu", f"p99 of the CPU of {service.name}", Op.LE, allowed_cpus(service), "cores"
    )


def memory_gate(service: Service) -> GateSpec:
    """S2: memory of one service."""
    allowed = allowed_memory(service)
    target = None if allowed is None else round(allowed / MIB, 3)
    return GateSpec(f"S2.{service.name}.memory", f"Most memory of {service.name}", Op.LE, target, "MiB")


def growth_gate(profile: Profile, service: Service) -> GateSpec:
    """S2: whether memory grows. It takes hours, so it blocks only a run of full scale."""
    title = f"Growth of the memory of {service.name} over the window, beside where it began"
    return GateSpec(f"S2.{service.name}.growth", title, Op.LE, 10.0, "%", blocking=_is_full(profile))


def restarts_gate() -> GateSpec:
    """S2: nothing ended or was started again."""
    return GateSpec("S2.restarts", "Ends and restarts of services that nobody planned", Op.EQ, 0, "restarts")


def oom_gate() -> GateSpec:
    """S2: the kernel killed nothing for want of memory."""
    return GateSpec("S2.oom_kills", "OOM kills that nobody planned", Op.EQ, 0, "kills")


def samples_gate() -> GateSpec:
    """S2: the window was looked at without a gap worth the name."""
    return GateSpec("S2.samples", "Part of the window without samples", Op.LE, HOLES_PERCENT, "%")


def burn_in_gate(profile: Profile) -> GateSpec:
    """S2: all of this for a day under load. Blocks only a run of full scale."""
    title = "Hours in a row within all budgets, under load"
    return GateSpec("S2.burn_in_24h", title, Op.GE, DAY_S / 3600, "h", blocking=_is_full(profile))


def resource_gates(profile: Profile) -> tuple[GateSpec, ...]:
    """The gates of step S2."""
    services = lasting(profile)
    return (
        total_cpu_gate(profile),
        total_memory_gate(profile),
        *(gate for each in services for gate in (cpu_gate(each), memory_gate(each))),
        restarts_gate(),
        oom_gate(),
        samples_gate(),
        burn_in_gate(profile),
        *(growth_gate(profile, each) for each in services),
    )


def absent_resources(profile: Profile) -> dict[str, str]:
    """The gates of step S2 that the platform cannot have, by id, and why."""
    absent: dict[str, str] = {}
    if profile.budget is None:
        none = "the profile has no k2_budget: nobody says what the whole may use"
        absent |= {"S2.total.cpu": none, "S2.total.memory": none}
    for service in lasting(profile):
        name = service.name
        if service.not_available is not None:
            gates = (cpu_gate(service), memory_gate(service), growth_gate(profile, service))
            absent |= {gate.id: f"{name} is not available: {service.not_available}" for gate in gates}
            continue
        if allowed_cpus(service) is None:
            absent[f"S2.{name}.cpu"] = f"the profile states neither budget nor limit of the CPU of {name}"
        if allowed_memory(service) is None:
            absent[f"S2.{name}.memory"] = f"the profile states neither budget nor limit of the memory of {name}"
    return absent


def _is_full(profile: Profile) -> bool:
    return profile.platform.scale is Scale.FULL
