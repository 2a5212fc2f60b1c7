# SPDX-License-Identifier: Apache-2.0
"""How S3.<mode>.loss is decided: what is proven wrong fails; nothing wrong passes only where all was looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Optional

from ..profile.failures import affected_exchanges
from ..profile.model import FailureMode, LossAllowed, Profile
from ..verdict.latency import load_summary
from . import catalogue
from .failure_facts import MeasuredFault
from .failure_loss import (
    Ledger,
    LostTime,
    cold_of,
    loads_of,
    lost_time,
    read_ledger,
    why_no_load,
    why_not_compared,
)
from .gate import Decided, GateResult, GateSpec, Scale, Verdict, decide

_MECHANISM = "ledger of every record between the broker's offsets before and after the load, against what the load sent"
Hit = Sequence[tuple[MeasuredFault, Optional[float]]]


def decide_loss(
    profile: Profile,
    mode: FailureMode,
    hit: Hit,
    loads: Sequence[Mapping[str, Any]],
    audit: Optional[Mapping[str, Any]],
    doubt: str,
    scale: Scale,
    unaudited: str,
) -> Decided:
    """What the mode cost in records.

    :arg hit: each fault with the time in which it was back at most. :arg doubt: why the faults themselves are in doubt;
        what is lost is lost all the same. :arg unaudited: why there is no audit, where there is none.
    """
    spec = catalogue.loss_gate(mode)
    faults = [fault for fault, _ in hit]
    sent = loads_of(loads)
    cold = cold_of(mode, faults)
    ledger = read_ledger(audit, sent) if audit is not None else None
    times = lost_time(profile, mode, ledger, sent, hit) if ledger and mode.loss is LossAllowed.OUTAGE else ()
    detail = {
        "mode": mode.name,
        "loads": [load_summary(load) for load in sent],
        "audit": audit and dict(audit),
        "lost_above": None if ledger is None else dict(ledger.lost),
        "lost_time": [asdict(time) for time in times],
        "cold": asdict(cold),
    }
    wrong = [*_proven(profile, mode, ledger, times, faults), *cold.wrong]
    if wrong:
        count = _count(ledger, times, mode)
        result = GateResult(spec, Verdict.FAIL, "; ".join(wrong), scale, count, n=ledger.records if ledger else None)
        return Decided(result, detail, _MECHANISM)
    if ledger is None:
        unknown = [f"the records were not audited: {unaudited}"]
    else:
        unknown = [
            doubt,
            why_no_load(sent, faults),
            *ledger.unknown,
            why_not_compared(profile, mode, ledger, sent),
            *_untimed(profile, mode, times, faults),
        ]
    why = "; ".join(dict.fromkeys(text for text in (*unknown, *cold.unknown) if text))
    n = ledger.records if ledger else 0
    if why or ledger is None:
        return Decided(GateResult(spec, Verdict.INCONCLUSIVE, why, scale, None, n=n), detail, _MECHANISM)
    if mode.loss is LossAllowed.OUTAGE:
        return Decided(_outage(spec, times, n, scale), detail, _MECHANISM)
    return Decided(decide(spec, scale, 0, n, ""), detail, _MECHANISM)


def _proven(
    profile: Profile,
    mode: FailureMode,
    ledger: Optional[Ledger],
    times: Sequence[LostTime],
    faults: Sequence[MeasuredFault],
) -> list[str]:
    """What is certainly wrong, in words."""
    if ledger is None:
        return []
    found = []
    if ledger.wrong:
        found.append(f"{ledger.wrong} records lost, doubled or changed below the broker: {ledger.told}")
    if ledger.surplus:
        found.append(f"{ledger.surplus} records more in the broker than were sent: doubled")
    allowed = _may_lose(profile, mode, faults)
    beyond = {name: count for name, count in ledger.lost.items() if count and name not in allowed}
    if beyond:
        texts = ", ".join(f"{count} of {name}" for name, count in sorted(beyond.items()))
        found.append(f"never in the broker: {texts}")
    for time in times:
        lost = (
            f"{time.records} records of {time.exchange} lost, which arrive in {time.low_s:.3g} .. {time.high_s:.3g} s"
        )
        if time.low_s >= mode.max_loss_s * time.faults:
            found.append(f"{lost}, expected < {mode.max_loss_s:g} s")
        elif time.gap_s is not None and time.low_s > time.gap_s:
            found.append(f"{lost}: more than the outage, which was over within {time.gap_s:.3g} s")
    return found


def _may_lose(profile: Profile, mode: FailureMode, faults: Sequence[MeasuredFault]) -> set[str]:
    if mode.loss is not LossAllowed.OUTAGE:
        return set()
    return {name for fault in faults for name in affected_exchanges(profile, mode, profile.services[fault.service])}


def _untimed(
    profile: Profile, mode: FailureMode, times: Sequence[LostTime], faults: Sequence[MeasuredFault]
) -> list[str]:
    """Why lost time is not known of every exchange that was hit."""
    if mode.loss is not LossAllowed.OUTAGE:
        return []
    unsent = sorted(_may_lose(profile, mode, faults) - {time.exchange for time in times})
    found = [f"no message of {', '.join(unsent)} was sent"] if unsent else []
    found += [f"nobody knows how long {time.exchange} was away" for time in times if time.gap_s is None]
    return found


def _count(ledger: Optional[Ledger], times: Sequence[LostTime], mode: FailureMode) -> Optional[float]:
    """In the unit of the gate: seconds of an outage, else records."""
    if mode.loss is LossAllowed.OUTAGE:
        return max((time.measured_s for time in times), default=None)
    return None if ledger is None else ledger.wrong + ledger.surplus + ledger.lost_above


def _outage(spec: GateSpec, times: Sequence[LostTime], n: int, scale: Scale) -> GateResult:
    """The longest; of an exchange that was hit several times, all at once at most, and an equal part at least."""
    if not times:
        return GateResult(spec, Verdict.INCONCLUSIVE, "the mode hit no exchange", scale, None, n=n)
    worst = max(times, key=lambda time: time.high_s)
    return decide(spec, scale, worst.measured_s, n, "", worst.low_s / worst.faults, worst.high_s)


def crash_ledger(
    loads: Sequence[Mapping[str, Any]], audit: Optional[Mapping[str, Any]], faults: Sequence[MeasuredFault]
) -> Optional[dict[str, Any]]:
    """What crashes that no mode lists cost, for the gate over the whole step: they have no gate of their own for it."""
    if audit is None:
        return None
    sent = loads_of(loads)
    ledger = read_ledger(audit, sent)
    unknown = [why_no_load(sent, faults), *ledger.unknown]
    if not ledger.lost or None in ledger.lost.values():
        unknown.append("what was sent was not compared with the broker")
    return {
        "records": ledger.records,
        "wrong": ledger.wrong + ledger.surplus + ledger.lost_above,
        "unknown": [text for text in unknown if text],
        "told": ledger.told,
    }
