# SPDX-License-Identifier: Apache-2.0
"""How the gates of step S3 are decided: which facts belong to which gates, and the worst over a mode's services.

Each gate has its own ground: ``failure_recovery`` for the time, ``failure_ledger`` for records, ``failure_isolation``
for whom else it hit; ``failure_whole`` for the gates over the whole step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Optional

from ..core.errors import K2Error
from ..core.text import grouped
from ..profile.failures import all_modes
from ..profile.model import FailureMode, Profile
from . import catalogue
from .failure_doubt import why_nothing_follows
from .failure_facts import FailureFactsError, MeasuredFault, read_fault
from .failure_isolation import decide_isolation, isolation_of
from .failure_ledger import crash_ledger, decide_loss
from .failure_recovery import Judged, judge_recovery
from .failure_whole import Recorded, decide_whole
from .gate import Decided, GateResult, Scale, Verdict, decide
from .monitoring_gates import the_catalogue

# Facts that say why a mode was not measured, and what its gates then are. What nobody chose for a run blocks nothing.
UNSELECTED = "unselected"
_NOT_MEASURED = {UNSELECTED: Verdict.NOT_RUN, "skipped": Verdict.NOT_RUN, "failed": Verdict.INCONCLUSIVE}
_WORST = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)


def decide_failure(
    profile: Profile, facts: Mapping[str, Any], scale: Scale, recorded: Optional[Recorded] = None
) -> list[Decided]:
    """The gates of step S3 that ``facts`` are about.

    ``facts["mode"]`` names a failure mode, with ``failures`` (results of ``k2_kill_and_measure``, one or more for each
    of its services; ``unmeasured`` has the reasons by service where it could not be broken), ``loads`` (of ``k2_load``)
    and ``audit`` (of ``k2_tier_audit``; ``unaudited`` is the reason why there is none). Instead of these, the reason
    why it was not measured: ``unselected`` (nobody chose it for this run), ``skipped`` or ``failed``; that may be said
    of several at once, ``modes``. ``facts["crashes"]`` are results of any number of crashes, with the same over all of
    them. ``facts["mttr"]`` asks for the gates over the whole step, with ``audit_all``; these need ``recorded``, what
    the run has recorded so far.

    :raises K2Error: the facts are something else, or about a mode or service that the profile does not have.
    """
    try:
        if facts.get("mttr"):
            if recorded is None:
                raise KeyError("recorded")
            return decide_whole(profile, facts.get("audit_all"), recorded, scale)
        modes = {mode.name: mode for mode in all_modes(profile)}
        if facts.get("crashes") is not None:
            return _decide_crashes(profile, modes, facts, scale)
        names = [str(facts["mode"])] if "mode" in facts else [str(name) for name in facts["modes"]]
        for key, verdict in _NOT_MEASURED.items():
            if facts.get(key):
                return [
                    decided
                    for name in names
                    for decided in _not_measured(
                        profile, modes[name], verdict, str(facts[key]), key == UNSELECTED, scale
                    )
                ]
        mode = modes[str(facts["mode"])]
        faults = [_of_mode(mode, read_fault(one)) for one in facts["failures"]]
        if catalogue.is_implied_crash(profile, mode):
            ledger = crash_ledger(facts.get("loads") or (), facts.get("audit"), faults)
            missing = _missing(mode, faults, facts.get("unmeasured") or {})
            return [_decide_recovery(profile, mode, faults, ledger, missing, scale)]
        return _decide_mode(profile, mode, faults, facts, scale)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise K2Error(
            "cannot decide step S3",
            expected="facts of a mode with failures, loads and audit; or of crashes; or mttr with audit_all",
            seen=f"{type(error).__name__}: {error}",
        ) from error


def _decide_mode(
    profile: Profile, mode: FailureMode, faults: Sequence[MeasuredFault], facts: Mapping[str, Any], scale: Scale
) -> list[Decided]:
    missing = _missing(mode, faults, facts.get("unmeasured") or {})
    recovery = _decide_recovery(profile, mode, faults, None, missing, scale)
    backs = [judge_recovery(profile, mode, fault).high_s for fault in faults]
    decided = [
        recovery,
        decide_isolation(profile, mode, faults, missing, scale),
        _decide_detection(mode, faults, scale),
        _decide_restored(profile, mode, faults, missing, scale),
    ]
    if profile.broker is not None:
        doubt = missing or grouped(
            (fault.service, why) for fault in faults if (why := why_nothing_follows(profile, mode, fault))
        )
        hit = list(zip(faults, backs))
        audit, unaudited = facts.get("audit"), str(facts.get("unaudited") or "nobody did")
        decided.insert(1, decide_loss(profile, mode, hit, facts.get("loads") or (), audit, doubt, scale, unaudited))
    return decided


def _decide_crashes(
    profile: Profile, modes: Mapping[str, FailureMode], facts: Mapping[str, Any], scale: Scale
) -> list[Decided]:
    groups: dict[str, list[MeasuredFault]] = {}
    for one in facts["crashes"]:
        fault = read_fault(one)
        groups.setdefault(fault.mode, []).append(_of_mode(modes[fault.mode], fault))
    listed = [name for name in groups if not catalogue.is_implied_crash(profile, modes[name])]
    if listed:
        raise KeyError(f"{', '.join(listed)}: a mode of k2_failure_modes is decided for itself")
    every = [fault for faults in groups.values() for fault in faults]
    unmeasured = facts.get("unmeasured") or {}
    ledger = crash_ledger(facts.get("loads") or (), facts.get("audit"), every)
    return [
        _decide_recovery(profile, modes[name], faults, ledger, _missing(modes[name], faults, unmeasured), scale)
        for name, faults in groups.items()
    ]


def _of_mode(mode: FailureMode, fault: MeasuredFault) -> MeasuredFault:
    if fault.mode != mode.name or fault.service not in mode.services or fault.action != mode.action.value:
        raise FailureFactsError(
            f"a result that is not of {mode.name}",
            expected=f"{mode.action.value} on {', '.join(mode.services)}",
            seen=f"{fault.action} on {fault.service}, of {fault.mode}",
        )
    return fault


def _not_measured(
    profile: Profile, mode: FailureMode, verdict: Verdict, why: str, unselected: bool, scale: Scale
) -> list[Decided]:
    specs = catalogue.failure_gates(profile, mode)
    if profile.broker is None:
        specs = tuple(spec for spec in specs if spec.id != catalogue.loss_gate(mode).id)
    return [
        Decided(
            GateResult(replace(spec, blocking=spec.blocking and not unselected), verdict, why, scale),
            {"mode": mode.name, "results": []},
            "not measured",
        )
        for spec in specs
    ]


def _missing(mode: FailureMode, faults: Sequence[MeasuredFault], why: Mapping[str, str]) -> str:
    """Which services of the mode were not broken, or not as often as asked for; ``why`` has the reasons by service."""
    broken = {fault.service for fault in faults}
    missing = [name for name in mode.services if name not in broken or name in why]
    return grouped((name, why.get(name, "not broken in this run")) for name in missing)


def _decide_recovery(
    profile: Profile,
    mode: FailureMode,
    faults: Sequence[MeasuredFault],
    ledger: Optional[Mapping[str, Any]],
    missing: str,
    scale: Scale,
) -> Decided:
    """S3.<mode>.recovery: the worst over the services of the mode, each of which must have been broken."""
    crash = catalogue.is_implied_crash(profile, mode)
    judge = _with_hot_path if crash else judge_recovery
    judged = [judge(profile, mode, fault) for fault in faults]
    verdicts = [one.verdict for one in judged] + ([Verdict.INCONCLUSIVE] if missing or not judged else [])
    verdict = min(verdicts, key=_WORST.index)
    told = [(fault.service, one.reason) for fault, one in zip(faults, judged) if one.reason and one.verdict is verdict]
    reason = "; ".join(text for text in (grouped(told), missing if verdict is not Verdict.FAIL else "") if text)
    lows = [one.low_s for one in judged if one.low_s is not None]
    highs = [one.high_s for one in judged if one.high_s is not None]
    low = max(lows, default=None)
    high = max(highs, default=None) if len(highs) == len(judged) and not missing else None
    spec = catalogue.recovery_gate(mode)
    n = sum(max(0, fault.n) for fault in faults)
    result = GateResult(spec, verdict, reason, scale, low if high is None else high, low, high, n)
    names = _sample_names(mode, faults)
    detail: dict[str, Any] = {
        "mode": mode.name,
        "n": n,
        "what_n_is": "each a time to recover, and no mean",
        "results": [_summary(fault, name) for fault, name in zip(faults, names)],
        "judged": [asdict(one) | {"service": fault.service} for fault, one in zip(faults, judged)],
        "service_back": _service_back(judged, missing),
        "loss": ledger,
    }
    mechanism = (
        f"{mode.action.value} by the tool; samplers with clocks of their own; recovered when {mode.recovery_at.value}, "
        f"counted from the {mode.recovery_from.value}; decided by the upper bound"
    )
    return Decided(result, detail, mechanism, {name: fault.plain for fault, name in zip(faults, names)})


def _with_hot_path(profile: Profile, mode: FailureMode, fault: MeasuredFault) -> Judged:
    """A crash that no mode lists has one gate for all that is asked of it: back in time, the hot path unaffected."""
    judged = judge_recovery(profile, mode, fault)
    if judged.verdict is not Verdict.PASS:
        return judged
    seen = isolation_of(profile, mode, fault, hot_path=True)
    if seen.disturbed:
        why = "; ".join(seen.disturbed.values())
        return replace(judged, verdict=Verdict.FAIL, reason=f"back in time, but the hot path was disturbed: {why}")
    if seen.doubtful:
        why = grouped(seen.doubtful.items())
        return replace(judged, verdict=Verdict.INCONCLUSIVE, reason=f"the hot path may have been disturbed: {why}")
    return judged


def _service_back(judged: Sequence[Judged], missing: str) -> Optional[dict[str, Any]]:
    """When the services of the mode were back, for the milestone; None where that is not known of one of them."""
    known = [one.service_back for one in judged if one.service_back is not None]
    if missing or not judged or any(one.service_back is None and not one.no_outage for one in judged):
        return None
    if not known:
        return {"low_s": 0.0, "high_s": 0.0, "no_outage": True}
    return {
        "low_s": max(one.low_s for one in known),
        "high_s": max(one.high_s for one in known),
        "no_outage": False,
    }


def _decide_detection(mode: FailureMode, faults: Sequence[MeasuredFault], scale: Scale) -> Decided:
    """S3.<mode>.detection: when the first alert about the mode fired, the worst over its services.

    Most faults are over before an alert has waited long enough to fire: nothing follows then, and the alert drill of
    step S4, which holds them, decides it.
    """
    spec = catalogue.detection_gate(mode)
    spans = [_first_told(mode, fault) for fault in faults]
    known = [span for span in spans if span is not None]
    health = {fault.service: fault.health and asdict(fault.health) for fault in faults}
    told = {fault.service: fault.alerts for fault in faults}
    detail = {"mode": mode.name, "health": health, "alerts": told}
    mechanism = "samples of ALERTS as Prometheus wrote them; first failing look at each service"
    n = sum(fault.n for fault in faults)
    if known and len(known) == len(spans):
        low, high = max(low for low, _ in known), max(high for _, high in known)
        return Decided(decide(spec, scale, high, n, "", low, high), detail, mechanism)
    reason = f"no alert about it fired while it was watched, which the alert drill of step S4 holds; {_noticed(faults)}"
    why = grouped((fault.service, str((fault.alerts or {}).get("why") or "")) for fault in faults)
    if any((fault.alerts or {}).get("why") or fault.alerts is None for fault in faults):
        reason = f"alerts were not looked at ({why.strip(': ') or 'nobody asked'}); {_noticed(faults)}"
    return Decided(GateResult(spec, Verdict.NOT_RUN, reason, scale, None, n=n), detail, mechanism)


def _first_told(mode: FailureMode, fault: MeasuredFault) -> Optional[tuple[float, float]]:
    """Bounds in seconds from the fault until the first alert about its mode fired; None where none did."""
    about = {alert.name for alert in the_catalogue().alerts.values() if mode.name in alert.failure_modes}
    spans = [
        (float(one["firing_s"][0]), float(one["firing_s"][1]))
        for one in (fault.alerts or {}).get("seen") or ()
        if one["labels"].get("alertname") in about
    ]
    return min(spans, key=lambda span: span[1], default=None)


def _noticed(faults: Sequence[MeasuredFault]) -> str:
    missed = [fault.service for fault in faults if fault.health is None]
    spans = [fault.health for fault in faults if fault.health is not None]
    if missed or not spans:
        return f"not noticed by the health checks of {', '.join(missed) or 'anybody'}"
    low, high = max(span.low_s for span in spans), max(span.high_s for span in spans)
    return f"the health checks noticed {low:.3g} .. {high:.3g} s after the fault"


def _decide_restored(
    profile: Profile, mode: FailureMode, faults: Sequence[MeasuredFault], missing: str, scale: Scale
) -> Decided:
    """S3.<mode>.restored: nothing differs from before the fault; of a fault that had no effect, nothing follows."""
    spec = catalogue.restored_gate(mode)
    differences = [(fault.service, text) for fault in faults for text in fault.differences or ()]
    unknown = [(fault.service, why) for fault in faults if (why := why_nothing_follows(profile, mode, fault))]
    unknown += [(fault.service, "nobody looked") for fault in faults if fault.differences is None]
    unknown += [(fault.service, "the platform was not steady afterwards") for fault in faults if not fault.steady_after]
    why_not = "; ".join(text for text in (grouped(unknown), missing) if text)
    detail = {
        "mode": mode.name,
        "differences": {fault.service: fault.differences for fault in faults},
        "undone_by": {fault.service: fault.undone_by for fault in faults},
    }
    n = len(faults)
    if differences:
        result = decide(spec, scale, len(differences), n, grouped(differences))
    elif why_not or not faults:
        result = GateResult(spec, Verdict.INCONCLUSIVE, why_not or "nothing was broken", scale, None, n=n)
    else:
        result = decide(spec, scale, 0, n, "")
    return Decided(result, detail, "state of the unit, its network and the journal before the fault and after the undo")


def _sample_names(mode: FailureMode, faults: Sequence[MeasuredFault]) -> list[str]:
    names: list[str] = []
    for fault in faults:
        base = f"samples/S3.{mode.name}.{fault.service}"
        again = sum(name.startswith(f"{base}.") for name in names)
        names.append(f"{base}.{again + 1}.json" if again else f"{base}.json")
    return names


def _summary(fault: MeasuredFault, samples: str) -> dict[str, Any]:
    """A result for evidence: all but the samples, which lie in a file of their own."""
    lanes = [{key: value for key, value in lane.items() if key != "samples"} for lane in fault.plain["lanes"]]
    return {**fault.plain, "lanes": lanes, "samples_file": samples}
