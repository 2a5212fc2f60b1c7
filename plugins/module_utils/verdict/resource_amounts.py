# SPDX-License-Identifier: Apache-2.0
"""Whether CPU and memory stayed within what is allowed, over a window. Needs numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Optional

from ..core.clock import rfc3339
from ..profile.amounts import amounts_at_odds
from ..profile.model import Profile
from . import resource_gates as gates
from .gate import Decided, GateResult, GateSpec, Scale, Verdict
from .resource_series import ServiceSeries, Window

_P99 = 0.99
_LISTED = 20
_CPU = "every sample of the window: differences of CPU counters; p99 is the order statistic, without interpolation"
_MEMORY = "every sample of the window, of {kind}"


@dataclass(frozen=True)
class Case:
    """A window with what is known besides. ``unloaded`` says why nothing follows from it of a platform under load."""

    profile: Profile
    collected: Mapping[str, Any]
    window: Window
    scale: Scale
    unloaded: str

    @property
    def length(self) -> str:
        """How long the window is, for people."""
        return length_text(self.window.seconds)

    def context(self, series: Optional[ServiceSeries] = None) -> dict[str, Any]:
        """What every evidence of the step begins with."""
        window = self.window
        return {
            "window": {
                "started": rfc3339(int(self.collected["window"]["start"]["utc_us"])),
                "seconds": window.seconds,
                "planned_seconds": window.plan.seconds,
                "interval_s": window.plan.interval_s,
                "state": window.state,
                "ticks": len(window.axis.at_s),
            },
            "memory_kind": series.memory_kind if series is not None else None,
        }

    def not_measured(self, spec: GateSpec, verdict: Verdict, reason: str) -> Decided:
        """A gate that nothing can be said about."""
        return Decided(GateResult(spec, verdict, reason, self.scale), self.context(), "not measured")

    def when(self, tick: int) -> str:
        """The wall clock at a tick."""
        return rfc3339(int(self.window.wall_us[tick]))


def decide_cpu(case: Case, spec: GateSpec, cores: Any, series: Optional[ServiceSeries]) -> Decided:
    """The p99 of all samples against the target; spikes above it are listed, and bounded by ``brief_factor``."""
    import numpy as np

    assert spec.target is not None
    target = float(spec.target)
    counted = ~case.window.planned
    # The first look has nothing before it to take a difference from.
    counted[:1] = False
    known = counted & np.isfinite(cores)
    values = cores[known]
    n, due = len(values), int(counted.sum())
    factor = case.profile.budget.brief_factor if case.profile.budget else 1.0
    spikes = [_spike(case, int(place), float(cores[place])) for place in np.flatnonzero(known & (cores > target))]
    detail = case.context(series) | {
        "spikes": sorted(spikes, key=lambda spike: -spike["cores"])[:_LISTED],
        "spikes_in_all": len(spikes),
        "brief_factor": factor,
        "mean": float(values.mean()) if n else None,
        "max": float(values.max()) if n else None,
        "median": float(np.median(values)) if n else None,
    }
    if not n:
        return Decided(_nothing(case, spec, series), detail, _CPU)
    p99 = float(np.sort(values)[math.ceil(_P99 * n) - 1])
    result = GateResult(spec, Verdict.INCONCLUSIVE, "-", case.scale, p99, n=n)
    tolerated = math.floor((1 - _P99) * n + 1e-9)
    if len(spikes) > max(1, tolerated):
        why = f"p99 {p99:.3g} cores of {n} samples in {case.length}, expected {spec.op} {target:g}"
        result = replace(result, verdict=Verdict.FAIL, reason=f"{why}; {_explained(spikes)}")
    elif float(values.max()) >= factor * target:
        why = f"a spike of {values.max():.3g} cores, where even a brief one has to stay below {factor:g} x {target:g}"
        result = replace(result, verdict=Verdict.FAIL, reason=f"{why}; {_explained(spikes)}")
    elif len(spikes) > tolerated:
        why = f"one of {n} samples lies above {target:g} cores: it takes 100 to tell a brief spike from a p99"
        result = replace(result, reason=why)
    else:
        result = passed_unless(case, result, due - n, due, series, _explained(spikes) if spikes else "")
    return Decided(result, detail, _CPU)


def decide_memory(case: Case, spec: GateSpec, memory: Any, series: Optional[ServiceSeries]) -> Decided:
    """The most of all samples against the target."""
    import numpy as np

    assert spec.target is not None
    counted = ~case.window.planned
    values = memory[counted & np.isfinite(memory)] / gates.MIB
    n, due = len(values), int(counted.sum())
    detail = case.context(series) | {
        "median": float(np.median(values)) if n else None,
        "first": float(values[0]) if n else None,
        "last": float(values[-1]) if n else None,
        "contradictions": [asdict(each) for each in amounts_at_odds(case.profile)] if series is None else [],
    }
    mechanism = _MEMORY.format(kind=series.memory_kind if series else "all services at the same moment")
    if not n:
        return Decided(_nothing(case, spec, series), detail, mechanism)
    most = float(values.max())
    result = GateResult(spec, Verdict.INCONCLUSIVE, "-", case.scale, most, n=n)
    if most > spec.target:
        why = f"{most:.4g} MiB at most in {case.length}, expected {spec.op} {spec.target:g}"
        return Decided(replace(result, verdict=Verdict.FAIL, reason=why), detail, mechanism)
    return Decided(passed_unless(case, result, due - n, due, series, ""), detail, mechanism)


def passed_unless(
    case: Case, result: GateResult, missing: int, due: int, series: Optional[ServiceSeries], told: str
) -> GateResult:
    """PASS, unless too much is missing or nothing was asked of the platform."""
    why = case.unloaded
    # Once after an end there is nothing to take a difference from; that is no gap in what is known.
    if missing > max(1, math.floor(gates.HOLES_PERCENT / 100 * due)):
        share = f"{missing} of {due} samples are missing"
        why = f"{share}: {series.why}" if series is not None and series.why else share
    if due < len(case.window.axis.at_s) / 2:
        why = "most of the window was planned faults"
    if why:
        return replace(result, verdict=Verdict.INCONCLUSIVE, reason=why)
    return replace(result, verdict=Verdict.PASS, reason="; ".join(filter(None, (f"over {case.length}", told))))


def _nothing(case: Case, spec: GateSpec, series: Optional[ServiceSeries]) -> GateResult:
    reason = (series.why if series is not None else "") or "no sample that counts"
    return GateResult(spec, Verdict.INCONCLUSIVE, reason, case.scale, n=0)


def _spike(case: Case, place: int, cores: float) -> dict[str, Any]:
    """A sample above its target, with the scheduled runs that were at work."""
    wall_us, before_us = (int(case.window.wall_us[at]) for at in (place, max(0, place - 1)))
    runs = [
        f"{run['deployment']} {run['name']}"
        for run in case.collected["runs"]
        if run["started_us"] <= wall_us and (run["ended_us"] is None or run["ended_us"] >= before_us)
    ]
    return {"time": rfc3339(wall_us), "at_s": case.window.axis.at_s[place], "cores": cores, "runs": runs}


def _explained(spikes: Sequence[Mapping[str, Any]]) -> str:
    during = sum(bool(spike["runs"]) for spike in spikes)
    what = f"samples above it: {len(spikes)}"
    return f"{what}, of which {during} while a scheduled run was at work" if during else what


def length_text(seconds: float) -> str:
    """How long a window is, for people."""
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
