# SPDX-License-Identifier: Apache-2.0
"""What is watched, shown and written up of each failure mode: alerts, panels and runbooks, and the holes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..profile.failures import crash_modes
from ..profile.model import Profile
from ..profile.runbooks import ANY_CRASH
from .alert import Alert, Catalogue
from .dashboard import DashboardFile, PanelSpec

# Metrics that need no map: those of the servers that watch, and whether a target answers.
_OWN = re.compile(r"\b(?:up|prometheus_\w+|alertmanager_\w+)\b")


@dataclass(frozen=True)
class CoverageRow:
    """One failure mode. ``holes`` says what is missing; empty where it has an alert, a panel and a runbook."""

    mode: str
    alerts: tuple[str, ...]
    panels: tuple[str, ...]
    runbooks: tuple[str, ...]
    holes: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """As evidence has it."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in self.__dict__.items()}


def covered_modes(profile: Profile) -> tuple[str, ...]:
    """The failure modes that a platform can have; ``crash`` stands for those of all other services."""
    own = [mode.name for mode in profile.failure_modes.values() if mode.not_applicable is None]
    return (*own, *((ANY_CRASH,) if crash_modes(profile) else ()))


def coverage(
    catalogue: Catalogue,
    dashboards: Sequence[DashboardFile],
    modes: Sequence[str],
    runbooks: Collection[str],
    left_out: Mapping[str, str],
) -> tuple[CoverageRow, ...]:
    """A row for each of ``modes``. Alerts in ``left_out`` are not deployed, and cover nothing; the reasons are told."""
    files = {each.uid: each for each in dashboards}
    rows = []
    for mode in modes:
        named = [alert for alert in catalogue.alerts.values() if mode in alert.failure_modes]
        there = [alert for alert in named if alert.name not in left_out]
        panels = tuple(dict.fromkeys(title for alert in there for title in panels_of(alert, catalogue, files)))
        written = tuple(dict.fromkeys(name for name in (mode, *(alert.runbook for alert in there)) if name in runbooks))
        holes = [f"{alert.name} is not deployed: {left_out[alert.name]}" for alert in named if alert.name in left_out]
        rows.append(
            CoverageRow(
                mode,
                tuple(alert.name for alert in there),
                panels,
                written,
                (
                    *(("no alert", *holes) if not there else ()),
                    *(("no panel shows what its alerts read",) if not panels else ()),
                    *(("no runbook",) if not written else ()),
                ),
            )
        )
    return tuple(rows)


def panels_of(alert: Alert, catalogue: Catalogue, files: Mapping[str, DashboardFile]) -> tuple[str, ...]:
    """The panels of the alert's dashboard that show a metric which it reads, or its threshold."""
    file = files.get(alert.dashboard)
    if file is None:
        return ()
    words = {f"[[{name}]]" for name in alert.metrics(catalogue.metrics)} | set(_OWN.findall(alert.expr))
    words |= {f"[[{alert.name}.{name}]]" for name in alert.thresholds}
    return tuple(f"{file.title}: {panel.title}" for panel in file.panels() if _shows(panel, words))


def _shows(panel: PanelSpec, words: Collection[str]) -> bool:
    texts = [query.expr for query in panel.queries] + [str(step.start) for step in panel.steps]
    return any(_has(text, word) for text in texts for word in words)


def _has(text: str, word: str) -> bool:
    return word in text if word.startswith("[[") else bool(re.search(rf"(?<![\w:]){re.escape(word)}(?![\w:])", text))


def alerts_without(catalogue: Catalogue, dashboards: Sequence[DashboardFile], runbooks: Collection[str]) -> list[str]:
    """Alerts whose dashboard shows nothing of what they read, or whose runbook nobody wrote, in words."""
    files = {each.uid: each for each in dashboards}
    found = []
    for alert in catalogue.alerts.values():
        if alert.runbook not in runbooks:
            found.append(f"{alert.name}: no runbook {alert.runbook}")
        if alert.dashboard not in files:
            found.append(f"{alert.name}: no dashboard {alert.dashboard}")
    return found
