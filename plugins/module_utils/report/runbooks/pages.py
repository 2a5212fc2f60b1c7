# SPDX-License-Identifier: Apache-2.0
"""What each page is about, as the templates take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ...catalogue.alert import Alert, Catalogue, DrillKind, duration
from ...catalogue.coverage import panels_of
from ...catalogue.dashboard import DashboardFile
from ...catalogue.dashboard_load import load_dashboards
from ...profile.failures import CRASH, affected_exchanges, crash_modes, on_hot_path
from ...profile.model import FailureMode, Lifecycle, Profile, RuntimeKind, Service, ServiceKind
from ...profile.runbooks import ANY_CRASH, OOM_KILL, known_runbooks, page_of, runbook_modes
from .commands import commands_for, overview
from .measured import Evidence, Measured
from .shell import probe_command, setup_lines
from .shown import Shown, Subject, subject_of
from .steps import diagnosis, resolution

ARCHITECTURE = "architecture"


@dataclass(frozen=True)
class Related:
    """An alert that tells of a failure: where it shows, and how it is proven.

    ``panels`` are those of ``dashboard``, by their titles; ``drill`` is Markdown, ``proven`` the newest drill.
    """

    name: str
    severity: str
    summary: str
    after: str
    dashboard: str
    dashboard_url: Optional[str]
    panels: tuple[str, ...]
    drill: str
    proven: Optional[Measured]


@dataclass(frozen=True)
class Sources:
    """What pages are made of."""

    profile: Profile
    catalogue: Catalogue
    evidence: Evidence
    dashboards: Mapping[str, DashboardFile]


@dataclass(frozen=True)
class RunbookPage:
    """One runbook."""

    name: str
    mode: FailureMode
    severity: str
    exchanges: tuple[str, ...]
    services: tuple[str, ...]
    subject: Optional[Subject]
    prepare: tuple[str, ...]
    diagnosis: tuple[Shown, ...]
    resolution: tuple[Shown, ...]
    alerts: tuple[Related, ...]
    recovery: tuple[tuple[str, Optional[Measured]], ...]
    noticed: Optional[tuple[float, float, str]]
    alerted: Optional[Measured]
    tested: Optional[Measured]


def runbook_page(sources: Sources, mode: FailureMode) -> RunbookPage:
    """The page of one failure mode."""
    profile, evidence = sources.profile, sources.evidence
    names = _services_of(profile, mode)
    subject = subject_of(profile, names)
    service = subject.service if subject is not None else None
    exchanges = affected_exchanges(profile, mode, service) if service is not None else ()
    if mode.name == ANY_CRASH:
        gates = [f"S3.{each.name}.recovery" for each in crash_modes(profile)]
        recovery = tuple(
            (gate[len("S3." + CRASH) :].removesuffix(".recovery"), evidence.newest(gate)) for gate in gates
        )
    else:
        recovery = ((mode.name, evidence.newest(f"S3.{mode.name}.recovery")),)
    shown = (*diagnosis(profile, mode, subject), *resolution(profile, mode, subject))
    used = " ".join((*(step.command for step in shown), *(subject.choose if subject is not None else ())))
    return RunbookPage(
        name=mode.name,
        mode=mode,
        severity=severity(profile, service, exchanges),
        exchanges=exchanges,
        services=names,
        subject=subject,
        prepare=(*setup_lines(profile, used), *(subject.choose if subject is not None else ())),
        diagnosis=diagnosis(profile, mode, subject),
        resolution=resolution(profile, mode, subject),
        alerts=tuple(related(sources, each) for each in _alerts_of(sources.catalogue, mode.name)),
        recovery=recovery,
        noticed=evidence.health(mode.name),
        alerted=evidence.newest(f"S3.{mode.name}.detection"),
        tested=evidence.newest(f"S5.runbook.{mode.name}"),
    )


def severity(profile: Profile, service: Optional[Service], exchanges: tuple[str, ...]) -> str:
    """SEV1 to SEV4, as the on-call guide has them."""
    if service is None or len(exchanges) > 1:
        return "SEV1"
    if exchanges or on_hot_path(profile, service):
        return "SEV2"
    return "SEV4" if service.kind in (ServiceKind.MONITORING, ServiceKind.DASHBOARD, ServiceKind.CONSOLE) else "SEV3"


def related(sources: Sources, alert: Alert) -> Related:
    """What a page says of an alert."""
    profile, file = sources.profile, sources.dashboards.get(alert.dashboard)
    grafana = profile.alerting.grafana_url if profile.alerting is not None else None
    title = file.title if file is not None else alert.dashboard
    shown = panels_of(alert, sources.catalogue, sources.dashboards)
    mode = f"`{alert.drill.mode}`"
    if alert.drill.mode in known_runbooks(profile):
        mode = f"[{alert.drill.mode}]({alert.drill.mode}.md)"
    drill = {
        # Without a mode it fires always.
        DrillKind.LIVE: f"failure mode {mode}" if alert.drill.mode else "its absence is noticed",
        DrillKind.HELD: f"failure mode {mode}, held for {alert.drill.hold_s or 0:g} s",
        DrillKind.SCALED: f"failure mode {mode}, with shorter times in the rule",
        DrillKind.SYNTHETIC: f"none by a fault: {alert.drill.reason}",
    }[alert.drill.kind]
    return Related(
        name=alert.name,
        severity=alert.severity.value,
        summary=_plain(alert, alert.summary),
        after=duration(alert.for_s),
        dashboard=title,
        dashboard_url=None if grafana is None else f"{grafana.rstrip('/')}/d/{alert.dashboard}",
        panels=tuple(each.removeprefix(f"{title}: ") for each in shown),
        drill=drill,
        proven=sources.evidence.newest(f"S4.alert.{alert.name}"),
    )


def context(profile: Profile, catalogue: Catalogue, evidence: Evidence) -> Mapping[str, Any]:
    """What all pages share, and the on-call guide and the architecture page are made of."""
    sources = Sources(profile, catalogue, evidence, {each.uid: each for each in load_dashboards()})
    pages = tuple(runbook_page(sources, mode) for mode in runbook_modes(profile))
    alerts = [(related(sources, alert), page_of(profile, alert.runbook)) for alert in catalogue.alerts.values()]
    services: list[dict[str, Any]] = [
        {
            "service": service,
            "commands": commands_for(profile.platform, service.runtime, service.unit),
            "probe": probe_command(profile, service),
        }
        for service in profile.services.values()
        if service.lifecycle is Lifecycle.LONG_RUNNING and service.not_available is None
    ]
    units: dict[RuntimeKind, list[str]] = {}
    for each in services:
        units.setdefault(each["service"].runtime, []).append(each["service"].unit)
    return {
        "overview": overview(profile.platform, units),
        "profile": profile,
        "platform": profile.platform.name,
        "prepare": setup_lines(profile),
        "pages": pages,
        "alerts": alerts,
        "services": services,
        "runs": evidence.runs,
        "segments": _measured(evidence, "S1.", ".segment_"),
        "latencies": _measured(evidence, "S1.", ".p99"),
        "resources": _measured(evidence, "S2.", ""),
        "recoveries": _measured(evidence, "S3.", ".recovery"),
    }


def _measured(evidence: Evidence, prefix: str, part: str) -> list[Measured]:
    found = [evidence.newest(gate) for gate in evidence.gates(prefix) if part in gate]
    return [each for each in found if each is not None]


def _services_of(profile: Profile, mode: FailureMode) -> tuple[str, ...]:
    """Whom the runbook may be about: for a crash of whatever else, every service that has no mode of its own."""
    if mode.name == ANY_CRASH:
        return (*mode.services, *(n for each in crash_modes(profile) for n in each.services if n not in mode.services))
    if mode.name == OOM_KILL:
        others = (
            service.name
            for service in profile.services.values()
            if service.lifecycle is Lifecycle.LONG_RUNNING
            and service.not_available is None
            and service.name not in mode.services
            and service.kind is not ServiceKind.SOURCE
            and service.runtime is profile.platform.runtime
        )
        return (*mode.services, *others)
    return mode.services


def _alerts_of(catalogue: Catalogue, name: str) -> list[Alert]:
    return [alert for alert in catalogue.alerts.values() if name in alert.failure_modes or alert.runbook == name]


def _plain(alert: Alert, text: str) -> str:
    """A text without what only an alert that fires can fill in."""
    for name, value in alert.thresholds.items():
        text = text.replace(f"[[{name}]]", value)
    text = text.replace("{{ $labels.", "{").replace("{{ $value | ", "{value, ").replace(" }}", "}")
    return text.replace("[[", "{").replace("]]", "}")
