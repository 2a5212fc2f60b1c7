# SPDX-License-Identifier: Apache-2.0
"""What the placeholders of dashboards stand for on one platform: its metrics, thresholds, budgets and services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from ..profile.model import Profile, ServiceKind
from .alert import Catalogue, seconds
from .promql import is_metric_name
from .rules import RECORDED


@dataclass(frozen=True)
class Names:
    """``values`` by placeholder; ``absent`` says of those that the platform does not have why; ``services`` has what
    ``each: service`` gives, by service.
    """

    values: Mapping[str, str]
    absent: Mapping[str, str]
    services: Mapping[str, Mapping[str, str]]
    source_uid: str


def names_of(profile: Profile, catalogue: Catalogue, source_uid: str) -> Names:
    """All names; a metric for which the profile has an expression is what a recording rule makes of it."""
    values: dict[str, str] = {}
    absent: dict[str, str] = {}
    for name in catalogue.metrics:
        said = profile.metric_names.get(name)
        if said is None:
            absent[name] = f"k2_metric_names has no {name}: nothing on this platform tells it"
        else:
            values[name] = said if is_metric_name(said) else RECORDED + name
    values |= _thresholds(profile, catalogue)
    for name, value, why in _facts(profile):
        if value is None:
            absent[name] = why
        else:
            values[name] = value
    return Names(values, absent, _services(profile), source_uid)


def _thresholds(profile: Profile, catalogue: Catalogue) -> dict[str, str]:
    """``Alert.threshold``: the number that the alert's rule has on this platform, durations in seconds."""
    own = profile.alerting.thresholds if profile.alerting else {}
    return {
        f"{alert.name}.{name}": _number(value)
        for alert in catalogue.alerts.values()
        for name, value in {**alert.thresholds, **own.get(alert.name, {})}.items()
    }


def _number(text: str) -> str:
    try:
        float(text)
    except ValueError:
        return str(seconds(text))
    return text


def _facts(profile: Profile) -> list[tuple[str, Optional[str], str]]:
    """Name, value, and why there is none."""
    budget = profile.budget
    stores = [service for service in profile.services.values() if service.kind is ServiceKind.OBJECT_STORE]
    jobs = [service.metrics.job for service in stores if service.metrics is not None]
    targets = profile.load.targets if profile.load else {}
    slowest = profile.load.by_rate[0] if profile.load and profile.load.by_rate else None
    target_ms = targets.get(slowest) if slowest else None
    return [
        ("budget_cpus", None if budget is None else f"{budget.cpus:g}", "the profile has no k2_budget"),
        ("budget_memory_bytes", None if budget is None else str(budget.memory_bytes), "the profile has no k2_budget"),
        ("broker_service", _first(profile, ServiceKind.BROKER), "the profile has no service of kind broker"),
        ("database_service", _database(profile), "the profile has no database on the hot path"),
        ("object_store_job", jobs[0] if jobs else None, "the profile has no object store with metrics"),
        ("target_p99_s", None if target_ms is None else f"{target_ms / 1000:g}", "the profile has no k2_load.targets"),
    ]


def _first(profile: Profile, kind: ServiceKind) -> Optional[str]:
    return next((name for name, service in profile.services.items() if service.kind is kind), None)


def _database(profile: Profile) -> Optional[str]:
    names = [service.name for service in profile.services.values() if service.kind is ServiceKind.DATABASE]
    hot = [name for name in names if profile.services[name].tier == "hot"]
    return next(iter([*hot, *names]), None)


def _services(profile: Profile) -> dict[str, dict[str, str]]:
    return {
        name: {
            "service": name,
            **({} if service.budget.cpus is None else {"cpus": f"{service.budget.cpus:g}"}),
            **({} if service.budget.memory_bytes is None else {"memory_bytes": str(service.budget.memory_bytes)}),
        }
        for name, service in profile.services.items()
        if service.budget is not None and service.not_available is None
    }
