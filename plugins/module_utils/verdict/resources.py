# SPDX-License-Identifier: Apache-2.0
"""How the gates of step S2 are decided, from the samples of a window and what else was known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Optional

from ..core.errors import K2Error
from ..core.text import grouped
from ..measure.load.result import LoadResult, merge_loads
from ..profile.model import Profile, Service
from . import resource_gates as gates
from .gate import Decided, GateResult, GateSpec, Scale, Verdict, decide
from .growth import NEEDED, STRETCH_S, WARM_UP_S, bound_growth, minima, needed_s
from .resource_amounts import Case, decide_cpu, decide_memory, length_text, passed_unless
from .resource_display import display
from .resource_series import ServiceSeries, read_window

SERIES = "samples/S2.series.json"
# Below the first share of its rate a load is not that load; a stretch below the second is idle, and so many may be.
LOAD_SHARE, IDLE_SHARE, IDLE_PART = 0.8, 0.5, 0.1
_GROWTH = (
    f"least value of each {STRETCH_S:g} s after {WARM_UP_S:g} s; median of pairwise slopes; "
    "moving-block bootstrap at 95 %"
)


def decide_resources(profile: Profile, facts: Mapping[str, Any], scale: Scale) -> list[Decided]:
    """All gates of step S2.

    ``facts["skipped"]`` is the reason where nothing was sampled, ``facts["failed"]`` what went wrong. Otherwise
    ``facts["collected"]`` is what ``k2_resources`` collected, ``facts["files"]`` its files on the controller by kind,
    and ``facts["loads"]`` what ``k2_load`` sent meanwhile (empty: natural traffic). Raises K2Error when these are
    something else.
    """
    absent = gates.absent_resources(profile)
    specs = [spec for spec in gates.resource_gates(profile) if spec.id not in absent]
    for key, verdict in (("skipped", Verdict.NOT_RUN), ("failed", Verdict.INCONCLUSIVE)):
        if facts.get(key):
            return [Decided(GateResult(spec, verdict, str(facts[key]), scale), {}, "not sampled") for spec in specs]
    try:
        collected, files = facts["collected"], facts["files"]
        shares = [LoadResult.from_plain(share) for share in facts.get("loads") or []]
        unloaded = why_not_loaded(profile, collected["traffic"], shares)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise K2Error(
            "cannot decide step S2",
            expected="facts.collected from k2_resources, facts.files, and facts.loads from k2_load",
            seen=f"{type(error).__name__}: {error}",
        ) from error
    case = Case(profile, collected, read_window(collected, files), scale, unloaded)
    decided: list[Decided] = []
    if profile.budget is not None:
        decided.append(decide_cpu(case, gates.total_cpu_gate(profile), case.window.total("cores"), None))
        decided.append(decide_memory(case, gates.total_memory_gate(profile), case.window.total("memory"), None))
    for service in gates.lasting(profile):
        if service.not_available is None:
            decided += _service(case, service)
    decided += [_restarts(case), _oom_kills(case), _samples(case)]
    decided.append(_burn_in(case, decided))
    by_id = {one.result.spec.id: one for one in decided}
    return [by_id[spec.id] for spec in specs]


def why_not_loaded(profile: Profile, traffic: Mapping[str, Any], shares: Sequence[LoadResult]) -> str:
    """Why the window says nothing of the platform under load; empty where it does, or where the profile has no load."""
    if profile.load is None or not profile.load.by_rate:
        return ""
    name = profile.load.by_rate[0]
    rate = profile.load.rates[name]
    load = merge_loads(shares) if shares else None
    if load is not None and (load.interrupted or load.errors):
        return f"the load {name} was not what it should be: {load.interrupted or ', '.join(load.errors)}"
    if traffic["error"]:
        return f"nobody can tell how many records came in meanwhile: {traffic['error']}"
    seen = traffic["records"] / traffic["seconds"] if traffic["seconds"] else 0.0
    if seen < LOAD_SHARE * rate:
        return f"{seen:.4g} records/s came in, where the load {name} is {rate:g}: a platform at rest fits any budget"
    # The last stretch is not whole.
    whole = traffic["per_stretch"][:-1]
    idle = sum(count < IDLE_SHARE * rate * traffic["stretch_s"] for count in whole)
    if idle > IDLE_PART * len(whole):
        return f"{idle} of {len(whole)} stretches of {traffic['stretch_s']} s had less than half of the load {name}"
    return ""


def _service(case: Case, service: Service) -> list[Decided]:
    series = case.window.services.get(service.name)
    cpu, memory, growth = (
        gates.cpu_gate(service),
        gates.memory_gate(service),
        gates.growth_gate(case.profile, service),
    )
    wanted = [spec for spec in (cpu, memory) if spec.target is not None]
    if series is None:
        why = f"the window did not look at {service.name}"
        return [case.not_measured(spec, Verdict.INCONCLUSIVE, why) for spec in (*wanted, growth)]
    found = []
    limits = case.window.snapshot["services"].get(service.name, {})
    if cpu.target is not None:
        found.append(decide_cpu(case, _tightened(cpu, limits.get("limit_cpus")), series.cores, series))
    if memory.target is not None:
        limit = limits.get("limit_memory_bytes")
        spec = _tightened(memory, None if limit is None else limit / gates.MIB)
        found.append(decide_memory(case, spec, series.memory, series))
    return [*found, _growth(case, growth, series)]


def _tightened(spec: GateSpec, enforced: Optional[float]) -> GateSpec:
    """The gate with the limit that the runtime enforces, where that is smaller than what the profile says."""
    if enforced is None or spec.target is None or enforced >= spec.target:
        return spec
    return replace(spec, target=round(enforced, 3), title=f"{spec.title}, by the limit that its runtime enforces")


def _growth(case: Case, spec: GateSpec, series: ServiceSeries) -> Decided:
    import numpy as np

    window = case.window
    at_s, least = minima(window.axis.at_s, np.where(window.planned, np.nan, series.memory))
    if window.seconds < needed_s() - 1:
        why = f"the window is {case.length}: growth takes {needed_s() / 3600:g} h, of which the first warms up"
        return case.not_measured(spec, Verdict.NOT_RUN, why)
    if len(least) < NEEDED:
        why = f"{len(least)} stretches of {STRETCH_S:g} s are known, and {NEEDED} are needed"
        return case.not_measured(spec, Verdict.INCONCLUSIVE, why)
    span_s = float(at_s[-1] - at_s[0])
    growth = bound_growth(at_s, least, span_s)
    measured, low, high = (100 * growth.share(each) for each in (growth.slope, growth.low, growth.high))
    result = decide(spec, case.scale, measured, growth.n, "", low, high)
    span = length_text(span_s)
    if result.verdict is Verdict.INCONCLUSIVE:
        result = replace(result, reason=f"between {low:.3g} and {high:.3g} % over {span}")
    elif result.verdict is Verdict.FAIL:
        speed = f"{growth.slope * 3600 / gates.MIB:.3g} MiB per hour"
        result = replace(result, reason=f"it grows by {speed}: at least {low:.3g} % over {span}")
    elif any(each.service == series.name for each in window.ends):
        why = "it was started again within the window, which sets memory back"
        result = replace(result, verdict=Verdict.INCONCLUSIVE, reason=why)
    else:
        result = passed_unless(case, result, 0, len(window.axis.at_s), series, f"at most {high:.3g} %")
    detail = {"growth": asdict(growth), "at_s": at_s.tolist(), "minima_bytes": least.tolist()}
    return Decided(result, case.context(series) | detail, _GROWTH)


# -- events ----------------------------------------------------------------------------------------------------------


def _restarts(case: Case) -> Decided:
    unplanned = [each for each in case.window.ends if each.planned is None]
    reasons = [(each.service, f"ended by {case.when(each.tick)}") for each in unplanned]
    reasons += [("the host", "was rebooted") for _ in case.window.reboots]
    count = sum(each.times for each in unplanned) + len(case.window.reboots)
    return _events(case, gates.restarts_gate(), count, grouped(reasons), case.window.ends)


def _oom_kills(case: Case) -> Decided:
    unplanned = [each for each in case.window.ooms if each.planned is None]
    reasons = [(each.service, f"{each.times} by {case.when(each.tick)}") for each in unplanned]
    return _events(case, gates.oom_gate(), sum(e.times for e in unplanned), grouped(reasons), case.window.ooms)


def _events(case: Case, spec: GateSpec, count: int, reason: str, events: Sequence[Any]) -> Decided:
    journal = case.collected["planned_error"]
    detail = case.context() | {
        "events": [asdict(each) | {"time": case.when(each.tick)} for each in events],
        "planned_windows": [asdict(each) for each in case.window.planned_windows],
        "planned_error": journal,
    }
    result = decide(spec, case.scale, count, len(case.window.axis.at_s), "")
    excused = sum(each.planned is not None for each in events)
    if result.verdict is Verdict.FAIL:
        result = replace(result, reason=reason + (f"; nothing is excused: {journal}" if journal else ""))
    elif _share_missing(case) > gates.HOLES_PERCENT:
        result = replace(result, verdict=Verdict.INCONCLUSIVE, reason="nobody looked for part of the window")
    else:
        result = replace(result, reason=f"over {case.length}" + (f"; {excused} in planned faults" if excused else ""))
    return Decided(result, detail, "identity of each main process at every sample; counts of its runtime or cgroup")


# -- the window ------------------------------------------------------------------------------------------------------


def _share_missing(case: Case) -> float:
    return 100 * case.window.missing_s / case.window.seconds if case.window.seconds else 100.0


def _samples(case: Case) -> Decided:
    """S2.samples. What nobody looked at proves nothing, and fails nothing."""
    window, spec = case.window, gates.samples_gate()
    n = len(window.axis.at_s)
    counted = max(1, int((~window.planned).sum()))
    missing = {each.name: 100 * each.missing / counted for each in window.services.values() if each.missing}
    detail = case.context() | {
        "holes": [asdict(each) for each in window.axis.holes],
        "clock_steps": [asdict(each) for each in window.axis.steps],
        "missing_percent_by_service": missing,
        "sampler": {"cpu_cores": window.sampler_cores, "memory_bytes": window.sampler_memory_bytes},
        "disks": disk_growth(case),
        "runs": list(case.collected["runs"]),
        "runs_error": case.collected["runs_error"],
        "traffic": dict(case.collected["traffic"]),
        "unloaded": case.unloaded,
        "snapshot": dict(window.snapshot),
        "planned_windows": [asdict(each) for each in window.planned_windows],
        "planned_ticks": int(window.planned.sum()),
    }
    worst = max([_share_missing(case), *missing.values()])
    reasons = [f"{_share_missing(case):.2f} % of {case.length} is without samples"] if window.missing_s else []
    reasons += [f"{name} could not be read for {share:.2f} %" for name, share in missing.items()]
    reasons += [f"the wall clock went by {step.by_s:+.3f} s" for step in window.axis.steps]
    if worst <= gates.HOLES_PERCENT and n > 1:
        told = "; ".join([f"{n} samples over {case.length}", *reasons])
        result = GateResult(spec, Verdict.PASS, told, case.scale, worst, n=n)
    else:
        why = "; ".join(reasons) or "one sample alone"
        result = GateResult(spec, Verdict.INCONCLUSIVE, why, case.scale, worst, n=n)
    return Decided(result, detail, "both clocks of the target at every sample", {SERIES: display(window)})


def _burn_in(case: Case, others: Sequence[Decided]) -> Decided:
    """S2.burn_in_24h: a day at least, and nothing else of this step wanting."""
    spec, seconds = gates.burn_in_gate(case.profile), case.window.seconds
    n, hours = len(case.window.axis.at_s), seconds / 3600
    mechanism = "length of the window, and every other gate of this step over it"
    # A look may come a moment early; no window is made a day by more than that.
    if seconds < gates.DAY_S - 1:
        why = f"the window is {case.length}; playbooks/burn_in.yml samples a day"
        result = GateResult(spec, Verdict.NOT_RUN, why, case.scale, hours, n=n)
        return Decided(result, case.context(), mechanism)
    result = decide(spec, case.scale, max(hours, gates.DAY_S / 3600), n, f"over {case.length}")
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NOT_RUN):
        wrong = [one.result.spec.id for one in others if one.result.verdict is verdict]
        if wrong:
            more = f" and {len(wrong) - 6} more" if len(wrong) > 6 else ""
            why = f"over {case.length}: {verdict} of {', '.join(wrong[:6])}{more}"
            final = Verdict.FAIL if verdict is Verdict.FAIL else Verdict.INCONCLUSIVE
            result = replace(result, verdict=final, reason=why)
            break
    else:
        if case.unloaded:
            result = replace(result, verdict=Verdict.INCONCLUSIVE, reason=case.unloaded)
    return Decided(result, case.context(), mechanism)


def disk_growth(case: Case) -> list[dict[str, Any]]:
    """How fast each watched directory grows, beside the profile's projection; told, no gate. Bytes per day."""
    import numpy as np

    found = []
    for name, disk in case.profile.budget.disks.items() if case.profile.budget else ():
        own = case.window.disks.get(name, {"at_s": [], "used": [], "free": None, "why": "it was not looked at"})
        # The median of pairwise slopes of a thousand points is as good as that of more.
        step = max(1, len(own["used"]) // 1000)
        at_s, used = np.asarray(own["at_s"][::step], dtype=float), np.asarray(own["used"][::step], dtype=float)
        per_day: Optional[float] = None
        if len(used) > 1:
            left, right = np.triu_indices(len(used), 1)
            per_day = float(np.median((used[right] - used[left]) / (at_s[right] - at_s[left]))) * gates.DAY_S
        found.append(
            {
                "disk": name,
                "path": disk.path,
                "used_bytes": int(used[-1]) if len(used) else None,
                "free_bytes": own["free"],
                "per_day_bytes": per_day,
                "projected_per_day_bytes": disk.growth_per_day,
                "beyond": per_day is not None and per_day > disk.growth_per_day,
                "full_in_days": own["free"] / per_day if per_day is not None and per_day > 0 and own["free"] else None,
                "seconds": float(at_s[-1] - at_s[0]) if len(at_s) else 0.0,
                "why": own["why"],
            }
        )
    return found
