# SPDX-License-Identifier: Apache-2.0
"""S4.coverage: whether every failure mode of the platform has an alert, a panel and a runbook."""

from __future__ import annotations

from ..catalogue.coverage import alerts_without, coverage, covered_modes
from ..catalogue.dashboard_load import load_dashboards
from ..catalogue.rules import rules_of
from ..profile.model import Profile
from ..profile.runbooks import known_runbooks
from .gate import Decided, GateResult, Scale, Verdict, decide
from .monitoring_gates import coverage_gate, the_catalogue


def decide_coverage(profile: Profile, scale: Scale) -> Decided:
    """The gate, from the catalogue and the profile alone: what is deployed of it has gates of its own."""
    spec = coverage_gate()
    catalogue, dashboards = the_catalogue(), load_dashboards()
    modes, runbooks = covered_modes(profile), known_runbooks(profile)
    rows = coverage(catalogue, dashboards, modes, runbooks, rules_of(catalogue, profile).left_out)
    without = alerts_without(catalogue, dashboards, runbooks)
    detail = {"rows": [row.to_plain() for row in rows], "alerts_without": without}
    mechanism = "catalogue of alerts, dashboards and runbooks against the failure modes of the profile"
    if not rows:
        why = "the profile lists no failure mode and allows no fault on any service"
        return Decided(GateResult(spec, Verdict.INCONCLUSIVE, why, scale, None, n=0), detail, mechanism)
    holes = [row for row in rows if row.holes]
    reason = "; ".join(f"{row.mode}: {', '.join(row.holes)}" for row in holes)
    return Decided(decide(spec, scale, len(holes), len(rows), reason), detail, mechanism)
