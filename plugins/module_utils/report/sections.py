# SPDX-License-Identifier: Apache-2.0
"""What the report shows of each step beyond the table of its gates.

A step adds to the report by an entry in ``SECTIONS`` and two templates, ``sections/<name>.html.j2`` and
``sections/<name>.md.j2``, which see the facts as ``section`` and by that name. Facts come from the recorded run alone;
``None`` or something empty where the run has nothing to show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from .alerts import alert_section
from .dashboards import dashboard_rows
from .failure import failure_section
from .latency import latency_sections
from .resources import resource_section
from .runbook import runbook_rows
from .source import RecordedRun


@dataclass(frozen=True)
class Section:
    """One part of the report: the step it belongs to, its templates' name, and how its facts come about."""

    step: str
    name: str
    facts: Callable[[RecordedRun], Optional[object]]


def preflight_section(run: RecordedRun) -> Optional[Mapping[str, Any]]:
    """The detail of each gate of step S0 that was looked at, by the gate's name without its step."""
    return {gate[3:]: entry["detail"] for gate, entry in run.evidence.items() if gate.startswith("S0.")} or None


SECTIONS: tuple[Section, ...] = (
    Section("S0", "preflight", preflight_section),
    Section("S1", "latency", lambda run: latency_sections(run.gates, run.evidence)),
    Section("S2", "resources", lambda run: resource_section(run.gates, run.evidence, run.path)),
    Section("S3", "failures", lambda run: failure_section(run.gates, run.evidence, run.path)),
    Section("S4", "alerts", lambda run: alert_section(run.gates, run.evidence)),
    Section("S4", "dashboards", lambda run: dashboard_rows(run.gates, run.evidence)),
    Section("S5", "runbooks", lambda run: runbook_rows(run.gates, run.evidence)),
)
