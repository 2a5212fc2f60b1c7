# SPDX-License-Identifier: Apache-2.0
"""The gates over the whole of step S3: the ledger over all faults, and the milestone over all recoveries.

Both rest on what the run has recorded of each mode. A mode that nobody chose for this run keeps the milestone from
passing and blocks nothing; one that was to run and has no bound makes it INCONCLUSIVE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from ..core.text import grouped
from ..profile.failures import all_modes
from ..profile.model import FailureMode, LossAllowed, Profile
from . import catalogue
from .failure_loss import read_ledger
from .gate import Decided, GateResult, Scale, Verdict, decide


@dataclass(frozen=True)
class Recorded:
    """The gates of a run so far, and the detail of their evidence, both by gate id."""

    gates: Mapping[str, GateResult]
    details: Mapping[str, Mapping[str, Any]]


def decide_whole(
    profile: Profile, audit: Optional[Mapping[str, Any]], recorded: Recorded, scale: Scale
) -> list[Decided]:
    """S3.audit and S3.mttr_30s; the former only where the platform has a ledger."""
    modes = [mode for mode in all_modes(profile) if mode.not_applicable is None]
    if not modes:
        return []
    decided = [_decide_audit(profile, modes, audit, recorded, scale)] if profile.broker is not None else []
    return [*decided, _decide_mttr(modes, recorded, scale)]


def _decide_audit(
    profile: Profile,
    modes: Sequence[FailureMode],
    audit: Optional[Mapping[str, Any]],
    recorded: Recorded,
    scale: Scale,
) -> Decided:
    """S3.audit: what reached the broker during the step is in every tier once; crashes lost nothing above it either."""
    spec = catalogue.step_audit_gate()
    mechanism = "ledger of every record between the broker's offsets before the first fault and after the last"
    measured = [mode for mode in modes if _ran(mode, recorded)]
    if audit is None:
        return Decided(GateResult(spec, Verdict.INCONCLUSIVE, "the step was not audited", scale), {}, "not measured")
    ledger = read_ledger(audit, ())
    wrong = [f"{ledger.wrong} records lost, doubled or changed: {ledger.told}"] if ledger.wrong else []
    wrong += [f"{ledger.surplus} records more in the broker than were sent"] if ledger.surplus else []
    count = ledger.wrong + ledger.surplus
    unknown = list(ledger.unknown)
    if not measured:
        unknown.append("no failure mode was measured")
    above, why = _lost_above(profile, modes, ledger.lost, recorded)
    if above:
        wrong.append("never in the broker: " + ", ".join(f"{lost} of {name}" for name, lost in sorted(above.items())))
        count += sum(above.values())
    unknown += why
    crashes = _crash_ledgers(profile, measured, recorded)
    for name, crash in crashes:
        if crash["wrong"]:
            wrong.append(f"{crash['wrong']} records lost or doubled by {name}: {crash['told']}")
            count += crash["wrong"]
        elif crash["unknown"]:
            unknown.append(f"{name}: {'; '.join(crash['unknown'])}")
    unknown += _why_crashes_uncounted(profile, measured, ledger.lost, recorded)
    detail = {"audit": dict(audit), "modes": [mode.name for mode in measured], "crashes": dict(crashes)}
    if wrong:
        result = GateResult(spec, Verdict.FAIL, "; ".join(wrong), scale, count, n=ledger.records)
    elif unknown:
        result = GateResult(spec, Verdict.INCONCLUSIVE, "; ".join(unknown), scale, None, n=ledger.records)
    else:
        result = decide(spec, scale, 0, ledger.records, "")
    return Decided(result, detail, mechanism)


def _ran(mode: FailureMode, recorded: Recorded) -> bool:
    gate = recorded.gates[catalogue.recovery_gate(mode).id]
    return gate.verdict is not Verdict.NOT_RUN and bool(recorded.details.get(gate.spec.id, {}).get("results"))


def _lost_above(
    profile: Profile, modes: Sequence[FailureMode], lost: Mapping[str, Optional[int]], recorded: Recorded
) -> tuple[dict[str, int], list[str]]:
    """What never reached the broker and no outage accounts for, where the audit of the step was told what was sent."""
    accounted: dict[str, int] = {}
    unknown = []
    for mode in modes:
        if mode.loss is LossAllowed.OUTAGE and not catalogue.is_implied_crash(profile, mode) and _ran(mode, recorded):
            above = recorded.details.get(catalogue.loss_gate(mode).id, {}).get("lost_above")
            if above is None and any(lost.values()):
                unknown.append(f"{mode.name}: nobody counted what its outage may have cost")
            for name, count in (above or {}).items():
                accounted[name] = accounted.get(name, 0) + (count or 0)
    if unknown:
        return {}, unknown
    beyond = {name: (count or 0) - accounted.get(name, 0) for name, count in lost.items()}
    return {name: count for name, count in beyond.items() if count > 0}, []


def _crash_ledgers(
    profile: Profile, modes: Sequence[FailureMode], recorded: Recorded
) -> list[tuple[str, Mapping[str, Any]]]:
    """What crashes cost, each ledger once: one that is over several crashes is told in the name of them all."""
    found: list[tuple[list[str], Mapping[str, Any]]] = []
    for mode in modes:
        if not catalogue.is_implied_crash(profile, mode):
            continue
        loss = recorded.details.get(catalogue.recovery_gate(mode).id, {}).get("loss")
        if loss is None:
            continue
        for names, known in found:
            if loss == known:
                names.append(mode.name)
                break
        else:
            found.append(([mode.name], loss))
    return [(", ".join(names), loss) for names, loss in found]


def _why_crashes_uncounted(
    profile: Profile, modes: Sequence[FailureMode], lost: Mapping[str, Optional[int]], recorded: Recorded
) -> list[str]:
    """Crashes may lose nothing above the broker: somebody has to have compared, for them or for the whole step."""
    uncounted = [
        mode.name
        for mode in modes
        if catalogue.is_implied_crash(profile, mode)
        and recorded.details[catalogue.recovery_gate(mode).id].get("loss") is None
    ]
    if not uncounted or (profile.exchanges and all(lost.get(name) is not None for name in profile.exchanges)):
        return []
    return [f"what was sent during {', '.join(uncounted)} was not compared with the broker"]


def _decide_mttr(modes: Sequence[FailureMode], recorded: Recorded, scale: Scale) -> Decided:
    """S3.mttr_30s: the longest recovery by its upper bound.

    Of a mode that recovers with a scheduled run, the services' own recovery counts: a schedule is no repair.
    """
    spec = catalogue.mttr_gate()
    assert spec.target is not None
    known: dict[str, Mapping[str, Any]] = {}
    late: list[tuple[str, str]] = []
    unknown: list[tuple[str, str]] = []
    unselected: list[str] = []
    for mode in modes:
        gate = recorded.gates[catalogue.recovery_gate(mode).id]
        back = recorded.details.get(gate.spec.id, {}).get("service_back")
        if gate.verdict is Verdict.NOT_RUN and not gate.spec.blocking:
            unselected.append(mode.name)
        elif back is not None and gate.verdict in (Verdict.PASS, Verdict.FAIL):
            known[mode.name] = back
        elif gate.verdict is Verdict.FAIL and gate.high is None and (gate.low or 0.0) >= spec.target:
            late.append((mode.name, f"not back after {gate.low:.3g} s"))
        else:
            unknown.append((mode.name, f"{gate.verdict}: {gate.reason}" if gate.reason else str(gate.verdict)))
    highs = {name: back["high_s"] for name, back in known.items()}
    worst = max(highs, key=lambda name: highs[name], default=None)
    high = None if worst is None else highs[worst]
    lows = {name: back["low_s"] for name, back in known.items()}
    late += [(name, f"took at least {least:.3g} s") for name, least in lows.items() if least >= spec.target]
    low = max(lows.values(), default=None)
    detail = {"service_back": known, "worst": worst, "unselected": unselected, "unknown": dict(unknown)}
    mechanism = "the longest of the recoveries recorded in this run, by upper bound"
    n = len(known)
    if late:
        result = GateResult(spec, Verdict.FAIL, grouped(late), scale, high, low, None if unknown else high, n or 1)
    elif unknown:
        reason = f"no bound: {grouped(unknown)}"
        result = GateResult(spec, Verdict.INCONCLUSIVE, reason, scale, high, low, None, n)
    elif unselected:
        reason = f"{len(unselected)} of {len(modes)} failure modes were not selected: {', '.join(unselected)}"
        result = GateResult(replace(spec, blocking=False), Verdict.NOT_RUN, reason, scale, high, low, high, n)
    else:
        result = decide(spec, scale, high, n, "", low, high)
    return Decided(result, detail, mechanism)
