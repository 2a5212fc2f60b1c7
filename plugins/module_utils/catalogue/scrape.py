# SPDX-License-Identifier: Apache-2.0
"""Prometheus' own configuration: every service of the profile that has metrics, the rules, and Alertmanager."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..profile.alerting import Alerting
from ..profile.model import Metrics, Profile, Service
from .rule_files import text_of

RULES = "rules/*.yml"


@dataclass(frozen=True)
class Target:
    """What is scraped: the address as Prometheus has it, and the job it is part of."""

    job: str
    url: str
    service: str


def targets(profile: Profile) -> tuple[Target, ...]:
    """Every service with metrics that this installation has."""
    return tuple(Target(metrics.job, _address(metrics), service.name) for service, metrics in _scraped(profile))


def config_text(profile: Profile, alerting: Alerting) -> str:
    """``prometheus.yml``. Rules are named relative to it, so that a staged copy finds its own."""
    document: dict[str, Any] = {
        "global": {"scrape_interval": alerting.scrape_interval, "evaluation_interval": alerting.evaluation_interval},
        "rule_files": [RULES],
    }
    alertmanager = alerting.alertmanager_reached_at or alerting.alertmanager_url
    if alertmanager is not None:
        parts = urlsplit(alertmanager)
        entry: dict[str, Any] = {"static_configs": [{"targets": [parts.netloc]}]}
        if parts.scheme != "http":
            entry["scheme"] = parts.scheme
        if parts.path.strip("/"):
            entry["path_prefix"] = parts.path
        document["alerting"] = {"alertmanagers": [entry]}
    document["scrape_configs"] = list(_jobs(profile))
    return text_of(document)


def _scraped(profile: Profile) -> Iterable[tuple[Service, Metrics]]:
    return (
        (service, service.metrics)
        for service in profile.services.values()
        if service.metrics is not None and service.not_available is None
    )


def _address(metrics: Metrics) -> str:
    return metrics.scraped_at or metrics.url


def _jobs(profile: Profile) -> Iterable[dict[str, Any]]:
    jobs: dict[str, list[tuple[Service, Metrics]]] = {}
    for service, metrics in _scraped(profile):
        jobs.setdefault(metrics.job, []).append((service, metrics))
    for name, members in jobs.items():
        job: dict[str, Any] = {"job_name": name}
        intervals = [metrics.interval for _, metrics in members if metrics.interval is not None]
        if intervals:
            job["scrape_interval"] = intervals[0]
        if any(service.exchange for service, _ in members):
            # The exchange stands on the target, so that `up` has it, and in the metrics: one label, not two.
            job["honor_labels"] = True
        job["static_configs"] = [
            {"targets": [urlsplit(_address(metrics)).netloc], "labels": _labels(service, metrics)}
            for service, metrics in members
        ]
        yield job


def _labels(service: Service, metrics: Metrics) -> dict[str, str]:
    parts = urlsplit(_address(metrics))
    labels = {"service": service.name, "component": service.kind.value}
    if service.exchange:
        labels["exchange"] = service.exchange
    if parts.path not in {"", "/metrics"}:
        labels["__metrics_path__"] = parts.path
    if parts.scheme != "http":
        labels["__scheme__"] = parts.scheme
    return labels
