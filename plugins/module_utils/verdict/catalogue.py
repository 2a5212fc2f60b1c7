# SPDX-License-Identifier: Apache-2.0
"""The gates of a profile: which there are, their targets, and which of them block.

A run lists all of them from its first second. Thresholds come from the profile; a gate's id and wording have their
home here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..catalogue.dashboard_load import build_all
from ..measure.data_flow import UNDIVIDED, watched_exchanges, watched_tiers
from ..profile.failures import all_modes, crash_modes
from ..profile.model import FailureMode, LossAllowed, Profile, RecoveryFrom, RecoveryPoint, Segment
from ..profile.runbooks import runbook_modes
from .gate import GateResult, GateSpec, Op, Scale, Verdict
from .monitoring_gates import absent_alerts, drill_gates
from .resource_gates import absent_resources, resource_gates

STEPS = {
    "S0": "Preflight: is the platform healthy enough to test?",
    "S1": "Latency: how long does a trade take to its candles, under load?",
    "S2": "Resources: does each service stay within its budget, for as long as was looked?",
    "S3": "Failure modes: how soon is it back, and what is lost, when a part fails under load?",
    "S4": "Monitoring: does an alert tell of each failure, and reach whom it should?",
    "S5": "Runbooks and documents: can whoever reads them mend the platform?",
}
# The milestone over all failure modes: no recovery takes as long as this.
MTTR_S = 30.0
# Someone who has never seen the platform mends it in so long.
RUNBOOK_S = 900.0
_POINTS = {
    RecoveryPoint.SERVED: "is served again",
    RecoveryPoint.DRAINED: "is served again and its backlog drained",
    RecoveryPoint.NEXT_RUN: "is caught up by the next run",
}


def services_gate(profile: Profile) -> GateSpec:
    """S0.1: every service is up."""
    return GateSpec("S0.services", "Every service is up and ready", Op.EQ, len(profile.services), "services")


def data_flow_gate(profile: Profile) -> GateSpec:
    """S0.2: trades flow, per exchange, through every tier whose freshness the profile states."""
    paths = sum(len(watched_exchanges(profile, tier)) for tier in watched_tiers(profile))
    return GateSpec("S0.data_flow", "Trades of every exchange flow through every tier", Op.EQ, paths, "tier x exchange")


def watermarks_gate(profile: Profile) -> GateSpec:
    """S0.3: offload watermarks exist and advance.

    The target is not known before the measurement where the profile names no sources: then every row counts.
    """
    sources = len(profile.watermarks.sources) if profile.watermarks else 0
    return GateSpec("S0.watermarks", "Offload watermarks exist and advance", Op.EQ, sources or None, "watermarks")


def schedule_gate(profile: Profile) -> GateSpec:
    """S0.4: the orchestrator's schedule shows recent completed runs."""
    target = len(profile.orchestrator.deployments) if profile.orchestrator else None
    return GateSpec("S0.schedule", "The orchestrator's schedule completes its runs", Op.EQ, target, "deployments")


def clocks_gate(profile: Profile) -> GateSpec:
    """S0.5: clocks agree."""
    return GateSpec(
        "S0.clocks", "Clocks agree with the reference host", Op.LE, profile.platform.clock.max_skew_ms, "ms"
    )


def clean_start_gate() -> GateSpec:
    """S0.6: nothing of an earlier run is left open."""
    return GateSpec("S0.clean_start", "Nothing of an earlier run is left open", Op.EQ, 0, "open items")


def exchange_gate(profile: Profile, load: str, exchange: str) -> GateSpec:
    """S1: p99 from a trade of ``exchange`` to the last of its candles."""
    title = f"p99 of {exchange} from trade to its last candle at {load}"
    return GateSpec(f"S1.{load}.{exchange}.p99", title, Op.LT, _targets(profile)[load], "ms")


def candle_gate(profile: Profile, load: str, timeframe: str) -> GateSpec:
    """S1: p99 from a trade of any exchange to its candle of ``timeframe``."""
    title = f"p99 from trade to {timeframe} candle at {load}"
    return GateSpec(f"S1.{load}.candle_{timeframe}.p99", title, Op.LT, _targets(profile)[load], "ms")


def delivered_gate(load: str) -> GateSpec:
    """S1: the load was what it should be; otherwise nothing measured under it says anything about it."""
    return GateSpec(f"S1.{load}.delivered", f"The load {load} was delivered, all of it and in time", Op.GE, 100, "%")


def no_loss_gate(load: str) -> GateSpec:
    """S1: at the highest load no record is lost, doubled or changed, and no view stalls."""
    title = f"Every record of the load {load} is in every tier once, and in its candles"
    return GateSpec(f"S1.{load}.no_loss", title, Op.EQ, 0, "records")


def segment_gate(load: str, segment: Segment) -> GateSpec:
    """S1: the p99 of one part of the path; told, not blocking."""
    title = f"p99 of {segment.name.replace('_', ' ')} at {load}"
    return GateSpec(f"S1.{load}.segment_{segment.name}", title, Op.LT, segment.target_ms, "ms", blocking=False)


def total_gate(load: str, target_ms: float) -> GateSpec:
    """S1: the stretch goal of the whole path; told, not blocking."""
    title = f"p99 of the whole path at {load}, of the slowest exchange"
    return GateSpec(f"S1.{load}.total_{target_ms:g}ms", title, Op.LT, target_ms, "ms", blocking=False)


def load_gates(profile: Profile, load: str) -> tuple[GateSpec, ...]:
    """The gates of step S1 at one load of ``profile.load``."""
    assert profile.load is not None
    stretch = profile.load.stretch.get(load)
    return (
        *(exchange_gate(profile, load, exchange) for exchange in measured_exchanges(profile)),
        *(candle_gate(profile, load, timeframe) for timeframe in timeframes(profile)),
        delivered_gate(load),
        *((no_loss_gate(load),) if load == profile.load.by_rate[-1] else ()),
        *(segment_gate(load, segment) for segment in profile.load.segments),
        *((total_gate(load, stretch),) if stretch is not None else ()),
    )


def measured_exchanges(profile: Profile) -> tuple[str, ...]:
    """The exchanges that have a latency of their own; a platform without exchanges is measured undivided."""
    return profile.exchanges or (UNDIVIDED,)


def timeframes(profile: Profile) -> tuple[str, ...]:
    """The timeframes of the candle tiers, in the order of the data path."""
    return tuple(dict.fromkeys(tier.timeframe for tier in profile.tiers if tier.timeframe))


def recovery_gate(mode: FailureMode) -> GateSpec:
    """S3: the time from the fault, or from its heal, until the platform is back; decided by its upper bound."""
    since = "the heal of" if mode.recovery_from is RecoveryFrom.HEAL else "the fault of"
    title = f"Time from {since} {mode.name} until all {_POINTS[mode.recovery_at]}"
    return GateSpec(f"S3.{mode.name}.recovery", title, Op.LT, mode.max_recovery_s, "s")


def loss_gate(mode: FailureMode) -> GateSpec:
    """S3: what the fault cost in records; an outage may cost as many as arrive in a stated time."""
    name = f"S3.{mode.name}.loss"
    if mode.loss is LossAllowed.OUTAGE:
        return GateSpec(name, f"Time whose records {mode.name} lost, and none beyond", Op.LT, mode.max_loss_s, "s")
    return GateSpec(name, f"Records that {mode.name} lost, doubled or changed", Op.EQ, 0, "records")


def isolation_gate(mode: FailureMode) -> GateSpec:
    """S3: services and flows that the fault may not touch went on."""
    title = f"Services and flows beyond the reach of {mode.name} that it disturbed"
    return GateSpec(f"S3.{mode.name}.isolation", title, Op.EQ, 0, "services and flows")


def detection_gate(mode: FailureMode) -> GateSpec:
    """S3: the time until an alert tells of the fault, decided by its upper bound; told, not blocking."""
    title = f"Time until an alert tells of {mode.name}"
    return GateSpec(f"S3.{mode.name}.detection", title, Op.LT, mode.max_detection_s, "s", blocking=False)


def restored_gate(mode: FailureMode) -> GateSpec:
    """S3: all is as it was before the fault."""
    return GateSpec(f"S3.{mode.name}.restored", f"Differences that {mode.name} left behind", Op.EQ, 0, "differences")


def step_audit_gate() -> GateSpec:
    """S3: the ledger over the whole step, crashes included."""
    return GateSpec("S3.audit", "Records of the whole step that a tier lacks, doubles or changes", Op.EQ, 0, "records")


def mttr_gate() -> GateSpec:
    """S3: the milestone over all failure modes."""
    title = f"Longest recovery of all failure modes, by upper bound (milestone {MTTR_S:g} s)"
    return GateSpec(f"S3.mttr_{MTTR_S:g}s", title, Op.LT, MTTR_S, "s")


def rules_gate() -> GateSpec:
    """S4: the rules that Prometheus evaluates are those of the catalogue."""
    return GateSpec(
        "S4.rules", "Alerting rules and targets that Prometheus does not run as rendered", Op.EQ, 0, "rules"
    )


def rule_tests_gate() -> GateSpec:
    """S4: the rules' tests hold, and would not if a threshold were another."""
    return GateSpec("S4.rule_tests", "Rule tests that fail, or do not notice a moved threshold", Op.EQ, 0, "tests")


def metrics_gate() -> GateSpec:
    """S4: what the rules read is there."""
    return GateSpec("S4.metrics_exist", "Metrics that a rule reads and nothing exports", Op.EQ, 0, "metrics")


def alertmanager_gate() -> GateSpec:
    """S4: alerts find their way."""
    title = "Problems of Alertmanager's configuration and of the way of each alert"
    return GateSpec("S4.alertmanager", title, Op.EQ, 0, "problems")


def grafana_gate() -> GateSpec:
    """S4: what Grafana shows is what was deployed."""
    title = "Dashboards and data sources of Grafana that are not as deployed"
    return GateSpec("S4.grafana", title, Op.EQ, 0, "problems")


def dashboard_gate(uid: str, title: str) -> GateSpec:
    """S4: every panel of a dashboard shows data."""
    return GateSpec(f"S4.dashboard.{uid}", f"Panels of {title} that show no data", Op.EQ, 0, "panels")


def monitoring_gates(profile: Profile) -> tuple[GateSpec, ...]:
    """The gates of step S4."""
    return (
        rules_gate(),
        rule_tests_gate(),
        metrics_gate(),
        alertmanager_gate(),
        grafana_gate(),
        *(dashboard_gate(each.uid, each.title) for each in build_all(profile)),
    )


def runbook_gate(mode: FailureMode) -> GateSpec:
    """S5: the runbook's own commands show the failure, and mend it."""
    title = f"Time until the commands of runbook {mode.name} have mended what they had shown to be broken"
    return GateSpec(f"S5.runbook.{mode.name}", title, Op.LT, RUNBOOK_S, "s")


def unblocked(spec: GateSpec) -> GateSpec:
    """The same gate, blocking nothing: what nobody chose for a run."""
    return replace(spec, blocking=False)


def failure_gates(profile: Profile, mode: FailureMode) -> tuple[GateSpec, ...]:
    """The gates of step S3 of one failure mode; a crash that the profile does not list has its recovery alone."""
    if is_implied_crash(profile, mode):
        return (recovery_gate(mode),)
    return (recovery_gate(mode), loss_gate(mode), isolation_gate(mode), detection_gate(mode), restored_gate(mode))


def is_implied_crash(profile: Profile, mode: FailureMode) -> bool:
    """Whether the mode follows from ``k2_services`` and is not written down."""
    return mode.name not in profile.failure_modes and mode in crash_modes(profile)


def documents_gate() -> GateSpec:
    """S5: every document of the run is there and of this run, and no link in it leads nowhere."""
    return GateSpec("S5.documents", "Problems with the documents of this run", Op.EQ, 0, "problems")


def signoff_gate(profile: Profile) -> GateSpec:
    """S5: nothing keeps the run from being signed off; only a full-scale one can be, so others are not blocked."""
    full = profile.platform.scale.value == Scale.FULL.value
    return GateSpec("S5.signoff", "What keeps this run from being signed off", Op.EQ, 0, "missing", blocking=full)


def _targets(profile: Profile) -> Mapping[str, float]:
    return profile.load.targets if profile.load else {}


def all_gates(profile: Profile) -> tuple[GateSpec, ...]:
    """Every gate of ``profile``, in the order of the report."""
    return (
        services_gate(profile),
        data_flow_gate(profile),
        watermarks_gate(profile),
        schedule_gate(profile),
        clocks_gate(profile),
        clean_start_gate(),
        *(gate for load in (profile.load.by_rate if profile.load else ()) for gate in load_gates(profile, load)),
        *resource_gates(profile),
        *(gate for mode in all_modes(profile) for gate in failure_gates(profile, mode)),
        step_audit_gate(),
        mttr_gate(),
        *monitoring_gates(profile),
        *drill_gates(profile),
        *(runbook_gate(mode) for mode in runbook_modes(profile)),
        documents_gate(),
        signoff_gate(profile),
    )


def not_run(profile: Profile, selected_steps: Iterable[str]) -> tuple[GateResult, ...]:
    """All gates as a run begins: NOT_RUN; those of steps that the run does not select do not block it.

    Where the profile has no such part at all, the gate is NOT_APPLICABLE from the start.
    """
    selected = set(selected_steps)
    scale = Scale(profile.platform.scale.value)
    absent = {}
    if profile.watermarks is None:
        absent["S0.watermarks"] = "the profile has no k2_watermarks: this platform offloads nothing to a cold tier"
    if profile.orchestrator is None:
        absent["S0.schedule"] = "the profile has no k2_orchestrator: this platform schedules nothing"
    absent |= absent_resources(profile) | _absent_failures(profile)
    absent |= {runbook_gate(m).id: m.not_applicable for m in runbook_modes(profile) if m.not_applicable is not None}
    absent |= absent_monitoring(profile)
    absent |= absent_alerts(profile)
    results = []
    for spec in all_gates(profile):
        if spec.id in absent:
            results.append(GateResult(spec, Verdict.NOT_APPLICABLE, absent[spec.id], scale))
        elif spec.step in selected:
            results.append(GateResult(spec, Verdict.NOT_RUN, "the run has not come to this gate", scale))
        else:
            reason = f"step {spec.step} was not selected by tags"
            results.append(GateResult(replace(spec, blocking=False), Verdict.NOT_RUN, reason, scale))
    return tuple(results)


def _absent_failures(profile: Profile) -> dict[str, str]:
    """The gates of step S3 that the platform cannot have, by id, and why."""
    absent: dict[str, str] = {}
    modes = all_modes(profile)
    for mode in modes:
        if mode.not_applicable is not None:
            absent |= {spec.id: mode.not_applicable for spec in failure_gates(profile, mode)}
        elif profile.broker is None:
            absent[loss_gate(mode).id] = "the profile has no k2_broker: there is no ledger of records"
    if all(mode.not_applicable is not None for mode in modes):
        none = "the profile lists no failure mode and allows no fault on any service"
        absent |= {step_audit_gate().id: none, mttr_gate().id: none}
    elif profile.broker is None:
        absent[step_audit_gate().id] = "the profile has no k2_broker: there is no ledger of records"
    return absent


def absent_monitoring(profile: Profile) -> dict[str, str]:
    """The gates of step S4 that the platform cannot have, by id, and why."""
    absent: dict[str, str] = {}
    alerting = profile.alerting
    if alerting is None or alerting.prometheus_url is None or alerting.prometheus is None:
        reason = "k2_alerting does not say where Prometheus is and where its configuration lies"
        absent |= {spec.id: reason for spec in (rules_gate(), rule_tests_gate(), metrics_gate())}
    if alerting is None or alerting.alertmanager_url is None or alerting.alertmanager is None:
        absent[alertmanager_gate().id] = (
            "k2_alerting does not say where Alertmanager is and where its configuration lies"
        )
    dashboards = build_all(profile)
    if alerting is None or alerting.grafana_url is None:
        reason = "k2_alerting does not say where Grafana is"
        absent |= {grafana_gate().id: reason} | {dashboard_gate(each.uid, "").id: reason for each in dashboards}
    else:
        none = "the platform has none of the metrics that its panels show (k2_metric_names)"
        absent |= {dashboard_gate(each.uid, "").id: none for each in dashboards if not each.panels}
    return absent
