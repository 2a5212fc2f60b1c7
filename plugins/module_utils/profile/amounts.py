# SPDX-License-Identifier: Apache-2.0
"""Where a profile's amounts of CPU and memory contradict each other: within a service, and against the whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Optional

from .model import Budget, Finding, Profile, Service

_MIB = 1024**2
_GIB = 1024**3
_SAME_CPUS = 1e-6


def memory_text(amount: int) -> str:
    """An amount of memory for people, in the unit that fits."""
    return f"{amount / _GIB:.2f} GiB" if amount >= _GIB else f"{amount / _MIB:.0f} MiB"


def cpus_text(amount: float) -> str:
    """A number of cores for people."""
    return f"{amount:g} cores"


def amounts_at_odds(profile: Profile) -> list[Finding]:
    """Budgets above limits, heaps above either, and totals that do not add up."""
    services = profile.services.values()
    findings = [finding for service in services for finding in _within(service)]
    if profile.budget is not None:
        findings += _totals(profile.budget, services)
        findings += _elsewhere(profile.budget)
    return findings


def _within(service: Service) -> list[Finding]:
    path = f"k2_services.{service.name}"
    findings = []
    budget, limit, heap = service.budget, service.limit, service.heap_bytes
    if budget is not None and limit is not None:
        if budget.cpus is not None and limit.cpus is not None and budget.cpus > limit.cpus:
            text = f"{cpus_text(budget.cpus)} exceed the limit of {limit.cpus:g}: the limit decides"
            findings.append(Finding(f"{path}.budget.cpus", text))
        if _exceeds(budget.memory_bytes, limit.memory_bytes):
            text = f"{_memory(budget.memory_bytes)} exceed the limit of {_memory(limit.memory_bytes)}"
            findings.append(Finding(f"{path}.budget.memory", f"{text}: the limit decides"))
    if budget is not None and _exceeds(heap, budget.memory_bytes):
        text = f"{_memory(budget.memory_bytes)} lie below the Java heap of {_memory(heap)}"
        findings.append(Finding(f"{path}.budget.memory", f"{text}: it may outgrow its budget while nothing is wrong"))
    if limit is not None and _exceeds(heap, limit.memory_bytes):
        text = f"{_memory(limit.memory_bytes)} lie below the Java heap of {_memory(heap)}"
        findings.append(Finding(f"{path}.limit.memory", f"{text}: the kernel will kill it before the heap is full"))
    return findings


def _exceeds(amount: Optional[int], bound: Optional[int]) -> bool:
    return amount is not None and bound is not None and amount > bound


def _memory(amount: Optional[int]) -> str:
    return "none" if amount is None else memory_text(amount)


def _totals(budget: Budget, services: Iterable[Service]) -> list[Finding]:
    budgets = [service.budget for service in services if service.budget is not None]
    if not budgets:
        return []
    findings = []
    cpus = sum(each.cpus or 0.0 for each in budgets)
    memory = sum(each.memory_bytes or 0 for each in budgets)
    if abs(cpus - budget.cpus) > _SAME_CPUS:
        text = f"{cpus_text(budget.cpus)}, but the services' budgets sum to {cpus:g}"
        findings.append(Finding("k2_budget.cpus", text))
    if memory != budget.memory_bytes:
        text = f"{memory_text(budget.memory_bytes)}, but the services' budgets sum to {memory_text(memory)}"
        findings.append(Finding("k2_budget.memory", text))
    return findings


def _elsewhere(budget: Budget) -> list[Finding]:
    findings = []
    for name, stated in budget.elsewhere.items():
        path = f"k2_budget.elsewhere.{name}"
        if stated.cpus is not None and abs(stated.cpus - budget.cpus) > _SAME_CPUS:
            findings.append(Finding(f"{path}.cpus", f"{cpus_text(stated.cpus)}, but k2_budget has {budget.cpus:g}"))
        if stated.memory_bytes is not None and stated.memory_bytes != budget.memory_bytes:
            text = f"{memory_text(stated.memory_bytes)}, but k2_budget has {memory_text(budget.memory_bytes)}"
            findings.append(Finding(f"{path}.memory", text))
    return findings
