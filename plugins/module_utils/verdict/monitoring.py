# SPDX-License-Identifier: Apache-2.0
"""How the gates of step S4 on rules and Alertmanager are decided, from what k2_monitoring_info brought back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.errors import K2Error
from ..core.text import grouped
from ..profile.model import Profile
from . import catalogue
from .dashboards import decide_dashboards
from .gate import Decided, GateResult, GateSpec, Scale, Verdict, decide

SKIPPED = "monitoring_skipped"
_TOLD = 6


def decide_monitoring(profile: Profile, facts: Mapping[str, Any], scale: Scale) -> list[Decided]:
    """S4.rules, S4.rule_tests and S4.metrics_exist from ``facts["prometheus"]``, S4.alertmanager from its namesake,
    S4.grafana and the dashboards' gates from ``facts["grafana"]``.

    Instead of these, ``facts["monitoring_skipped"]`` is the reason why nothing was deployed.

    Raises K2Error when neither is what k2_monitoring_info returns.
    """
    if facts.get(SKIPPED):
        return _not_deployed(profile, str(facts[SKIPPED]), scale)
    decided = []
    try:
        if "prometheus" in facts:
            seen = facts["prometheus"]
            decided += [
                decide_rules(seen["rules"], seen["left_out"], scale),
                decide_tests(seen["tests"], scale),
                decide_metrics(seen["metrics"], scale),
            ]
        if "alertmanager" in facts:
            decided.append(decide_alertmanager(facts["alertmanager"]["alertmanager"], scale))
        if "grafana" in facts:
            decided += decide_dashboards(facts, scale)
    except (KeyError, TypeError, AttributeError) as error:
        raise K2Error(
            "cannot decide step S4",
            expected="facts.prometheus and facts.alertmanager from k2_monitoring_info",
            seen=f"{type(error).__name__}: {error}",
        ) from error
    return decided


def _not_deployed(profile: Profile, why: str, scale: Scale) -> list[Decided]:
    absent = catalogue.absent_monitoring(profile)
    return [
        Decided(GateResult(spec, Verdict.NOT_RUN, why, scale), {}, "not deployed")
        for spec in catalogue.monitoring_gates(profile)
        if spec.id not in absent
    ]


def decide_rules(seen: Mapping[str, Any], left_out: Mapping[str, str], scale: Scale) -> Decided:
    """S4.rules: Prometheus runs every rule of the catalogue as rendered, all healthy, and knows an Alertmanager."""
    problems = list(seen["differences"])
    if seen["error"] is None and not seen["alertmanagers"]:
        problems.append("Prometheus notifies no Alertmanager")
    return _counted(
        catalogue.rules_gate(),
        problems,
        n=seen["expected"],
        error=seen["error"],
        scale=scale,
        detail={**seen, "left_out": dict(left_out)},
        mechanism="/api/v1/rules, /api/v1/targets and /api/v1/alertmanagers against what the catalogue renders",
    )


def decide_tests(seen: Mapping[str, Any], scale: Scale) -> Decided:
    """S4.rule_tests: all tests hold, and each fails when a threshold of its alert is moved."""
    problems = [f"{name}: no test fails" for name in seen["survivors"]]
    if seen["failure"] is not None:
        problems.insert(0, f"promtool: {seen['failure']}")
    # Without mutants nothing tells that the tests could fail at all.
    error = seen["error"] or (None if seen["mutants"] or problems else "no threshold was moved to try the tests")
    return _counted(
        catalogue.rule_tests_gate(),
        problems,
        n=seen["cases"],
        error=error,
        scale=scale,
        detail=dict(seen),
        mechanism="promtool test rules, on the rules and on copies with one threshold moved",
    )


def decide_metrics(seen: Mapping[str, Any], scale: Scale) -> Decided:
    """S4.metrics_exist: every metric that a rule reads has series on this platform."""
    missing = [
        f"{name} (read by {', '.join(seen['readers'][name])}) has no series"
        for name, count in seen["series"].items()
        if not count
    ]
    return _counted(
        catalogue.metrics_gate(),
        missing,
        n=len(seen["series"]),
        error=seen["error"],
        scale=scale,
        detail=dict(seen),
        mechanism="count of each metric's series through /api/v1/query",
    )


def decide_alertmanager(seen: Mapping[str, Any], scale: Scale) -> Decided:
    """S4.alertmanager: it runs the configuration that is on disk, and by it every alert reaches whom it should."""
    return _counted(
        catalogue.alertmanager_gate(),
        list(seen["problems"]),
        n=seen["routes"],
        error=seen["error"],
        scale=scale,
        detail=dict(seen),
        mechanism="amtool check-config and config routes test; the hash of the configuration that Alertmanager tells",
    )


def _counted(
    spec: GateSpec,
    problems: list[str],
    *,
    n: int,
    error: str | None,
    scale: Scale,
    detail: Mapping[str, Any],
    mechanism: str,
) -> Decided:
    """A gate on a count of problems; what could not be asked in full cannot pass."""
    told = problems[:_TOLD] + ([f"and {len(problems) - _TOLD} more"] if len(problems) > _TOLD else [])
    reason = grouped(("", text) for text in (*told, *([error] if error else [])))
    if error is not None and not problems:
        return Decided(decide(spec, scale, None, n, reason), detail, mechanism)
    return Decided(decide(spec, scale, len(problems), n, reason), detail, mechanism)
