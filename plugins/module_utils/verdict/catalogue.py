# SPDX-License-Identifier: Apache-2.0
"""The gates of a profile: which there are, their targets, and which of them block.

A run lists all of them from its first second. Thresholds come from the profile; a gate's id and wording have their
home here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..measure.data_flow import watched_exchanges, watched_tiers
from ..profile.model import Profile
from ..verdict.gate import GateResult, GateSpec, Op, Scale, Verdict

STEPS = {"S0": "Preflight: is the platform healthy enough to test?"}


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


def all_gates(profile: Profile) -> tuple[GateSpec, ...]:
    """Every gate of ``profile``, in the order of the report."""
    return (
        services_gate(profile),
        data_flow_gate(profile),
        watermarks_gate(profile),
        schedule_gate(profile),
        clocks_gate(profile),
        clean_start_gate(),
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
