# SPDX-License-Identifier: Apache-2.0
"""How the gates of step S2 are decided, from the samples of a window and what else was known of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Optional

from ..core.clock import rfc3339
from ..core.errors import K2Error
from ..core.text import grouped
from ..measure.load.result import LoadResult, merge_loads
from ..profile.amounts import amounts_at_odds
from ..profile.model import Profile, Service
from . import resource_gates as gates
from .gate import Decided, GateResult, GateSpec, Scale, Verdict, decide
from .growth import NEEDED, STRETCH_S, WARM_UP_S, bound_growth, minima, needed_s
from .resource_display import display
from .resource_series import ServiceSeries, Window, read_window

SERIES = "samples/S2.series.json"
# Of what should have been read, per cent that may be missing before a number says nothing of the whole.
MISSING_PERCENT = gates.HOLES_PERCENT
# Below this share of the rate it is not that load, and a stretch below the second counts as idle.
LOAD_SHARE, IDLE_SHARE, IDLE_PART = 0.8, 0.5, 0.1
_P99 = 0.99
_LISTED = 20
_CPU = "every sample of the window: differences of CPU counters; p99 is the order statistic, without interpolation"
_MEMORY = "every sample of the window, of {kind}"
_GROWTH = f"least value of each {STRETCH_S:g} s after {WARM_UP_S:g} s; median of pairwise slopes, moving-block bootstrap at 95 %"


def decide_resources(profile: Profile, facts: Mapping[str, Any], scale: Scale) -> list[Decided]:
    """All gates of step S2.

    ``facts["skipped"]`` is the reason where nothing was sampled, ``facts["failed"]`` what went wrong. Otherwise
    ``facts["collected"]`` is what ``k2_resources`` collected, ``facts["files"]`` its files on the controller by kind, and
    ``facts["loads"]`` what ``k2_load`` sent meanwhile (empty: natural traffic). Raises K2Error when these are something
    else.
    """
    absent = gates.absent_resources(profile)
    specs = [spec for spec in gates.resource_gates(profile) if spec.id not in absent]
    for key, verdict in (("skipped", Verdict.NOT_RUN), ("failed", Verdict.INCONCLUSIVE)):
        if facts.get(key):
            return [Decided(GateResult(spec, verdict, str(facts[key]), scale), {}, "not sampled") for spec in specs]
    try:
        collected, files = facts["collected"], facts["files"]
        shares = [LoadResult.from_plain(share) for share in facts.get("loads") or []]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise K2Error(
            "cannot decide step S2",
            expected="facts.collected from k2_resources, facts.files, and facts.loads from k2_load",
            seen=f"{type(error).__name__}: {error}",
        ) from error
    window = read_window(collected, files)
    return _Judge(profile, collected, window, scale, why_not_loaded(profile, collected["traffic"], shares)).decide(
        specs
    )


def why_not_loaded(profile: Profile, traffic: Mapping[str, Any], shares: Sequence[LoadResult]) -> str:
    """Why the window says nothing of the platform under its load; empty where it does, or where the profile has no load."""
    if profile.load is None or not profile.load.by_rate:
        return ""
    name = profile.load.by_rate[0]
    rate = profile.load.rates[name]
    load = merge_loads(shares) if shares else None
    if load is not None and (load.interrupted or load.unsent or load.errors):
        return (
            f"the load {name} was not what it should be: {load.interrupted or f'{load.unsent} messages were not sent'}"
        )
    if traffic["error"]:
        return f"nobody can tell how many records came in meanwhile: {traffic['error']}"
    seen = traffic["records"] / traffic["seconds"] if traffic["seconds"] else 0.0
    if seen < LOAD_SHARE * rate:
        return f"{seen:.4g} records/s came in, where the load {name} is {rate:g}: a platform at rest fits any budget"
    whole = traffic["per_stretch"][:-1]
    idle = sum(count < IDLE_SHARE * rate * traffic["stretch_s"] for count in whole)
    if whole and idle > IDLE_PART * len(whole):
        return f"{idle} of {len(whole)} stretches of {traffic['stretch_s']} s had less than half of the load {name}"
    return ""


class _Judge:
    """Decides the gates of one window."""

    def __init__(
        self, profile: Profile, collected: Mapping[str, Any], window: Window, scale: Scale, unloaded: str
    ) -> None:
        self._profile = profile
        self._collected = collected
        self._window = window
        self._scale = scale
        self._unloaded = unloaded
        self._length = length_text(window.seconds)

    def decide(self, specs: Sequence[GateSpec]) -> list[Decided]:
        """Every gate, the burn-in last since it rests on the others."""
        profile, window = self._profile, self._window
        decided: list[Decided] = []
        if profile.budget is not None:
            decided.append(self._cpu(gates.total_cpu_gate(profile), window.total("cores"), None))
            decided.append(self._memory(gates.total_memory_gate(profile), window.total("memory"), None))
        for service in gates.lasting(profile):
            if service.not_available is None:
                decided += self._service(service)
        decided += [self._restarts(), self._oom_kills(), self._samples()]
        by_id = {one.result.spec.id: one for one in decided}
        by_id["S2.burn_in_24h"] = self._burn_in(decided)
        return [by_id[spec.id] for spec in specs]

    def _service(self, service: Service) -> list[Decided]:
        series = self._window.services.get(service.name)
        specs = (gates.cpu_gate(service), gates.memory_gate(service), gates.growth_gate(self._profile, service))
        if series is None:
            return [
                self._not(spec, Verdict.INCONCLUSIVE, f"the window did not look at {service.name}") for spec in specs
            ]
        cpu, memory, growth = specs
        limits = self._window.snapshot["services"].get(service.name, {})
        found = []
        if cpu.target is not None:
            found.append(self._cpu(_tightened(cpu, limits.get("limit_cpus")), series.cores, series))
        if memory.target is not None:
            limit = limits.get("limit_memory_bytes")
            spec = _tightened(memory, None if limit is None else limit / gates.MIB)
            found.append(self._memory(spec, series.memory, series))
        return [*found, self._growth(growth, series)]

    # -- amounts -----------------------------------------------------------------------------------------------------

    def _cpu(self, spec: GateSpec, cores: Any, series: Optional[ServiceSeries]) -> Decided:
        import numpy as np

        assert spec.target is not None
        counted = ~self._window.planned
        # The first look has nothing before it to take a difference from.
        counted[:1] = False
        values = cores[counted & np.isfinite(cores)]
        n, due = len(values), int(counted.sum())
        factor = self._profile.budget.brief_factor if self._profile.budget else 1.0
        at = np.flatnonzero(counted & np.isfinite(cores) & (cores > spec.target))
        spikes = [self._spike(place, float(cores[place])) for place in at]
        detail = self._context(series) | {
            "spikes": sorted(spikes, key=lambda spike: -spike["cores"])[:_LISTED],
            "spikes_in_all": len(spikes),
            "brief_factor": factor,
            "mean": float(values.mean()) if n else None,
            "max": float(values.max()) if n else None,
            "median": float(np.median(values)) if n else None,
        }
        if not n:
            return Decided(self._inconclusive(spec, self._why_absent(series), 0), detail, _CPU)
        p99 = float(np.sort(values)[math.ceil(_P99 * n) - 1])
        result = GateResult(spec, Verdict.INCONCLUSIVE, "-", self._scale, p99, None, None, n)
        highest = float(values.max())
        tolerated = math.floor((1 - _P99) * n + 1e-9)
        if len(spikes) > max(1, tolerated) or (len(spikes) > tolerated and tolerated):
            why = f"p99 {p99:.3g} cores of {n} samples in {self._length}, expected {spec.op} {spec.target:g}"
            return Decided(
                replace(result, verdict=Verdict.FAIL, reason=f"{why}; {self._explained(spikes)}"), detail, _CPU
            )
        if highest >= factor * spec.target:
            why = f"a spike of {highest:.3g} cores, and even a brief one may be no more than {factor:g} times {spec.target:g}"
            return Decided(
                replace(result, verdict=Verdict.FAIL, reason=f"{why}; {self._explained(spikes)}"), detail, _CPU
            )
        if len(spikes) > tolerated:
            why = f"one of {n} samples lies above {spec.target:g} cores: it takes 100 to tell a brief spike from a p99"
            return Decided(replace(result, reason=why), detail, _CPU)
        return Decided(self._unless(result, due - n, due, series, spikes), detail, _CPU)

    def _memory(self, spec: GateSpec, memory: Any, series: Optional[ServiceSeries]) -> Decided:
        import numpy as np

        assert spec.target is not None
        counted = ~self._window.planned
        values = memory[counted & np.isfinite(memory)] / gates.MIB
        n, due = len(values), int(counted.sum())
        detail = self._context(series) | {
            "median": float(np.median(values)) if n else None,
            "first": float(values[0]) if n else None,
            "last": float(values[-1]) if n else None,
            "contradictions": [asdict(each) for each in amounts_at_odds(self._profile)] if series is None else [],
        }
        mechanism = _MEMORY.format(kind=series.memory_kind if series else "services at the same moment")
        if not n:
            return Decided(self._inconclusive(spec, self._why_absent(series), 0), detail, mechanism)
        highest = float(values.max())
        result = GateResult(spec, Verdict.INCONCLUSIVE, "-", self._scale, highest, None, None, n)
        if highest > spec.target:
            why = f"{highest:.4g} MiB at most in {self._length}, expected {spec.op} {spec.target:g}"
            return Decided(replace(result, verdict=Verdict.FAIL, reason=why), detail, mechanism)
        return Decided(self._unless(result, due - n, due, series, []), detail, mechanism)

    def _unless(
        self,
        result: GateResult,
        missing: int,
        due: int,
        series: Optional[ServiceSeries],
        spikes: Sequence[Mapping[str, Any]],
    ) -> GateResult:
        """PASS, unless too much is missing or nothing was asked of the platform."""
        # After an end there is no difference to take once; that is no gap in what is known.
        whole = missing <= max(1, math.floor(MISSING_PERCENT / 100 * due))
        why = self._unloaded
        if not whole:
            share = f"{missing} of {due} samples are missing"
            why = f"{share}: {series.why}" if series is not None and series.why else share
        if due < len(self._window.axis.at_s) / 2:
            why = "most of the window was planned faults"
        if why:
            return replace(result, reason=why)
        told = f"over {self._length}" + (f"; {self._explained(spikes)}" if spikes else "")
        return replace(result, verdict=Verdict.PASS, reason=told)

    def _spike(self, place: int, cores: float) -> dict[str, Any]:
        """A sample above its target, with the scheduled runs that were at work."""
        wall_us = int(self._window.wall_us[place])
        before_us = int(self._window.wall_us[max(0, place - 1)])
        runs = [
            f"{run['deployment']} {run['name']}"
            for run in self._collected["runs"]
            if run["started_us"] <= wall_us and (run["ended_us"] is None or run["ended_us"] >= before_us)
        ]
        return {"time": rfc3339(wall_us), "at_s": self._window.axis.at_s[place], "cores": cores, "runs": runs}

    @staticmethod
    def _explained(spikes: Sequence[Mapping[str, Any]]) -> str:
        during = sum(bool(spike["runs"]) for spike in spikes)
        what = f"{len(spikes)} of the samples lie above it"
        return f"{what}, {during} of them while a scheduled run was at work" if during else what

    # -- growth ------------------------------------------------------------------------------------------------------

    def _growth(self, spec: GateSpec, series: ServiceSeries) -> Decided:
        import numpy as np

        values = np.where(self._window.planned, np.nan, series.memory)
        at_s, least = minima(self._window.axis.at_s, values)
        if len(least) < NEEDED:
            why = (
                f"a window of {self._length}: growth takes {needed_s() / 3600:g} h at least, the first of which warms up"
                if self._window.seconds < needed_s()
                else f"{len(least)} stretches of {STRETCH_S:g} s are known, and {NEEDED} are needed"
            )
            verdict = Verdict.NOT_RUN if self._window.seconds < needed_s() else Verdict.INCONCLUSIVE
            return self._not(spec, verdict, why)
        span_s = float(at_s[-1] - at_s[0])
        growth = bound_growth(at_s, least, span_s)
        measured, low, high = (100 * growth.share(each) for each in (growth.slope, growth.low, growth.high))
        result = decide(spec, self._scale, measured, growth.n, "", low, high)
        if result.verdict is Verdict.INCONCLUSIVE:
            result = replace(result, reason=f"between {low:.3g} and {high:.3g} % over {length_text(span_s)}")
        elif result.verdict is Verdict.FAIL:
            what = f"{growth.slope * 3600 / gates.MIB:.3g} MiB per hour"
            result = replace(result, reason=f"it grows by {what}: at least {low:.3g} % over {length_text(span_s)}")
        else:
            result = self._unless(result, 0, len(least), series, [])
        ends = [each for each in self._window.ends if each.service == series.name]
        if result.verdict is Verdict.PASS and ends:
            why = "it was started again within the window, which sets memory back"
            result = replace(result, verdict=Verdict.INCONCLUSIVE, reason=why)
        detail = self._context(series) | {
            "growth": asdict(growth),
            "at_s": at_s.tolist(),
            "minima_bytes": least.tolist(),
        }
        return Decided(result, detail, _GROWTH)

    # -- events ------------------------------------------------------------------------------------------------------

    def _restarts(self) -> Decided:
        window = self._window
        unplanned = [each for each in window.ends if each.planned is None]
        count = sum(each.times for each in unplanned) + len(window.reboots)
        reasons = [(each.service, f"ended at {self._when(each.tick)}") for each in unplanned]
        reasons += [("the host", "was rebooted") for _ in window.reboots]
        return self._events(gates.restarts_gate(), count, grouped(reasons), window.ends)

    def _oom_kills(self) -> Decided:
        unplanned = [each for each in self._window.ooms if each.planned is None]
        reasons = [(each.service, f"{each.times} by {self._when(each.tick)}") for each in unplanned]
        count = sum(each.times for each in unplanned)
        return self._events(gates.oom_gate(), count, grouped(reasons), self._window.ooms)

    def _events(self, spec: GateSpec, count: int, reason: str, events: Sequence[Any]) -> Decided:
        detail = self._context(None) | {
            "events": [asdict(each) | {"time": self._when(each.tick)} for each in events],
            "planned_windows": [asdict(each) for each in self._window.planned_windows],
            "planned_error": self._collected["planned_error"],
        }
        excused = sum(each.planned is not None for each in events)
        n = len(self._window.axis.at_s)
        result = decide(spec, self._scale, count, n, "")
        if result.verdict is Verdict.FAIL:
            journal = self._collected["planned_error"]
            result = replace(result, reason=reason + (f"; nothing is excused: {journal}" if journal else ""))
        elif self._share_missing() > MISSING_PERCENT:
            result = replace(result, verdict=Verdict.INCONCLUSIVE, reason="nobody looked for part of the window")
        else:
            told = f"over {self._length}" + (f"; {excused} in planned faults" if excused else "")
            result = replace(result, reason=told)
        return Decided(
            result, detail, "identity of each main process at every sample, and what its runtime or cgroup counts"
        )

    def _when(self, tick: int) -> str:
        return rfc3339(int(self._window.wall_us[tick]))

    # -- the window --------------------------------------------------------------------------------------------------

    def _share_missing(self) -> float:
        return 100 * self._window.missing_s / self._window.seconds if self._window.seconds else 100.0

    def _samples(self) -> Decided:
        """S2.samples: holes beyond the target prove nothing, and fail nothing: nobody looked."""
        window = self._window
        spec = gates.samples_gate()
        n = len(window.axis.at_s)
        counted = max(1, int((~window.planned).sum()))
        missing = {each.name: 100 * each.missing / counted for each in window.services.values() if each.missing}
        worst = max([self._share_missing(), *missing.values()])
        steps = [f"the wall clock went by {step.by_s:+.3f} s" for step in window.axis.steps]
        detail = self._context(None) | {
            "axis": {
                "holes": [asdict(each) for each in window.axis.holes],
                "steps": [asdict(s) for s in window.axis.steps],
            },
            "missing_percent_by_service": missing,
            "sampler": {"cpu_cores": window.sampler_cores, "memory_bytes": window.sampler_memory_bytes},
            "disks": disk_growth(self._profile, window),
            "runs": list(self._collected["runs"]),
            "runs_error": self._collected["runs_error"],
            "traffic": dict(self._collected["traffic"]),
            "unloaded": self._unloaded,
            "snapshot": dict(window.snapshot),
            "planned_windows": [asdict(each) for each in window.planned_windows],
            "planned_ticks": int(window.planned.sum()),
        }
        reasons = [f"{self._share_missing():.2f} % of {self._length} is without samples"] if window.missing_s else []
        reasons += [f"{name} could not be read for {share:.2f} %" for name, share in missing.items() if share > 0.005]
        result = GateResult(spec, Verdict.INCONCLUSIVE, "; ".join([*reasons, *steps]) or "-", self._scale, worst, n=n)
        if worst <= MISSING_PERCENT and n > 1:
            told = "; ".join([f"{n} samples over {self._length}", *reasons, *steps])
            result = replace(result, verdict=Verdict.PASS, reason=told)
        samples = {SERIES: display(window)}
        return Decided(result, detail, "both clocks of the target at every sample", samples)

    def _burn_in(self, others: Sequence[Decided]) -> Decided:
        """S2.burn_in_24h: a day at least, and nothing else of this step wanting."""
        spec = gates.burn_in_gate(self._profile)
        hours = self._window.seconds / 3600
        detail = self._context(None)
        mechanism = "length of the window, and every other gate of this step over it"
        # A look may come a moment early; no window is a day for being rounded up to one.
        if self._window.seconds < gates.DAY_S - 1:
            why = f"the window is {self._length}; playbooks/burn_in.yml samples a day"
            return Decided(
                GateResult(spec, Verdict.NOT_RUN, why, self._scale, hours, n=len(self._window.axis.at_s)),
                detail,
                mechanism,
            )
        hours = max(hours, gates.DAY_S / 3600)
        n = len(self._window.axis.at_s)
        for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NOT_RUN):
            wrong = [one.result.spec.id for one in others if one.result.verdict is verdict]
            if wrong:
                final = Verdict.FAIL if verdict is Verdict.FAIL else Verdict.INCONCLUSIVE
                why = f"over {self._length}: {verdict} of {', '.join(wrong[:6])}" + (
                    " and more" if len(wrong) > 6 else ""
                )
                return Decided(GateResult(spec, final, why, self._scale, hours, n=n), detail, mechanism)
        why = self._unloaded
        if why:
            return Decided(GateResult(spec, Verdict.INCONCLUSIVE, why, self._scale, hours, n=n), detail, mechanism)
        return Decided(decide(spec, self._scale, hours, n, f"over {self._length}"), detail, mechanism)

    # -- words -------------------------------------------------------------------------------------------------------

    def _context(self, series: Optional[ServiceSeries]) -> dict[str, Any]:
        window = self._window
        return {
            "window": {
                "started": rfc3339(int(self._collected["window"]["start"]["utc_us"])),
                "seconds": window.seconds,
                "planned_seconds": window.plan.seconds,
                "interval_s": window.plan.interval_s,
                "state": window.state,
                "ticks": len(window.axis.at_s),
            },
            "memory_kind": series.memory_kind if series is not None else None,
        }

    def _why_absent(self, series: Optional[ServiceSeries]) -> str:
        return (series.why if series is not None else "") or "no sample that counts"

    def _inconclusive(self, spec: GateSpec, reason: str, n: int) -> GateResult:
        return GateResult(spec, Verdict.INCONCLUSIVE, reason, self._scale, n=n)

    def _not(self, spec: GateSpec, verdict: Verdict, reason: str) -> Decided:
        return Decided(GateResult(spec, verdict, reason, self._scale), self._context(None), "not measured")


def _tightened(spec: GateSpec, enforced: Optional[float]) -> GateSpec:
    """The gate with the limit that the runtime enforces, where that is the smaller one."""
    if enforced is None or spec.target is None or enforced >= spec.target:
        return spec
    return replace(
        spec, target=round(enforced, 3), title=f"{spec.title} (its runtime's limit lies below the profile's)"
    )


def disk_growth(profile: Profile, window: Window) -> list[dict[str, Any]]:
    """How fast each watched directory grows, beside the profile's projection; told, no gate. Bytes per day."""
    import numpy as np

    found = []
    for name, disk in profile.budget.disks.items() if profile.budget else ():
        own = window.disks.get(name, {"at_s": [], "used": [], "free": None, "why": "it was not looked at"})
        at_s, used = np.asarray(own["at_s"], dtype=float), np.asarray(own["used"], dtype=float)
        rate = None
        if len(used) > 1:
            left, right = np.triu_indices(len(used[-1000:]), 1)
            rate = float(
                np.median((used[-1000:][right] - used[-1000:][left]) / (at_s[-1000:][right] - at_s[-1000:][left]))
            )
        found.append(
            {
                "disk": name,
                "path": disk.path,
                "used_bytes": int(used[-1]) if len(used) else None,
                "free_bytes": own["free"],
                "per_day_bytes": None if rate is None else rate * gates.DAY_S,
                "projected_per_day_bytes": disk.growth_per_day,
                "beyond": rate is not None and rate * gates.DAY_S > disk.growth_per_day,
                "full_in_days": own["free"] / (rate * gates.DAY_S)
                if rate is not None and rate > 0 and own["free"]
                else None,
                "seconds": float(at_s[-1] - at_s[0]) if len(at_s) else 0.0,
                "why": own["why"],
            }
        )
    return found


def length_text(seconds: float) -> str:
    """How long a window is, for people."""
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
