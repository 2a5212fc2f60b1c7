# SPDX-License-Identifier: Apache-2.0
"""Whether a platform recovered from one fault in time, by bounds, and whether that can be said at all.

What is said of a fault that did not happen, or that nobody watched, is INCONCLUSIVE whatever the numbers are. It passes
by the upper bound alone; it fails where a look shows that it was not back in time, or by what brought it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ..profile.failures import may_touch
from ..profile.model import FailureMode, FaultAction, Profile, RecoveryPoint
from .failure_doubt import failures, why_nothing_follows
from .failure_facts import Bounds, MeasuredFault, WatchedLane
from .gate import Verdict

# What is meant to bring a service back. A crash that a person, or this tool, had to mend is no recovery.
MECHANISMS = {
    FaultAction.KILL: "restarted by its supervisor",
    FaultAction.RESTART: "restarted by the tool",
    FaultAction.STOP: "restarted by the tool",
    FaultAction.PAUSE: "healed itself",
    FaultAction.DISCONNECT: "healed itself",
    FaultAction.CUT_SOURCE: "healed itself",
    FaultAction.KILL_RUN: "healed itself",
}
# Successes after which something counts as up to stay.
SETTLE_K = 5


@dataclass(frozen=True)
class Judged:
    """What is known of one recovery (seconds from time zero).

    ``service_back`` is when the service itself was back, which of a recovery by the next run is only a part; None
    where that is not known, with ``no_outage`` where it never was away.
    """

    verdict: Verdict
    reason: str
    low_s: Optional[float] = None
    high_s: Optional[float] = None
    service_back: Optional[Bounds] = None
    no_outage: bool = False


def judge_recovery(profile: Profile, mode: FailureMode, fault: MeasuredFault) -> Judged:
    """One fault on one service against the target of its mode."""
    why = why_nothing_follows(profile, mode, fault)
    if why:
        return Judged(Verdict.INCONCLUSIVE, why)
    found, why = _bounds(mode, fault)
    if found is None:
        return _not_back(profile, mode, fault, why)
    back, no_outage = _service_back(mode, fault, found)
    doubt = _why_not_sure(fault, found)
    if found.low_s >= mode.max_recovery_s:
        verdict, reason = Verdict.FAIL, f"took at least {found.low_s:.3g} s, expected < {mode.max_recovery_s:g} s"
    elif fault.mechanism is not None and fault.mechanism != MECHANISMS[mode.action]:
        verdict, reason = Verdict.FAIL, f"{fault.mechanism}, expected: {MECHANISMS[mode.action]}"
    elif doubt:
        verdict, reason = Verdict.INCONCLUSIVE, doubt
    elif found.high_s < mode.max_recovery_s:
        verdict, reason = Verdict.PASS, ""
    else:
        verdict = Verdict.INCONCLUSIVE
        reason = f"between {found.low_s:.3g} and {found.high_s:.3g} s, expected < {mode.max_recovery_s:g} s"
    if verdict is Verdict.PASS and not failures(fault.own, fault):
        reason = f"too short for a look to fail: shorter than {found.high_s:.3g} s, and {fault.proof}"
        if mode.recovery_at is not RecoveryPoint.SERVED:
            reason = f"no look at it failed; it did take effect: {fault.proof}"
    trusted = verdict is Verdict.PASS or (verdict is Verdict.FAIL and not doubt and _by_time(mode, found))
    return Judged(verdict, reason, found.low_s, found.high_s, back if trusted else None, no_outage and trusted)


def _bounds(mode: FailureMode, fault: MeasuredFault) -> tuple[Optional[Bounds], str]:
    """Between which times it was back, by the point that the mode names; else why that is not known."""
    found, why = _POINTS[mode.recovery_at](fault)
    if found is None:
        return None, why
    if fault.recovery is not None:
        if fault.point != mode.recovery_at.value:
            return None, f"recovery was measured until {fault.point}, expected until {mode.recovery_at.value}"
        # Two tellings of one time: only what both allow to be said is said.
        found = Bounds(min(found.low_s, fault.recovery.low_s), max(found.high_s, fault.recovery.high_s))
    elif fault.shorter_than_s is None or mode.recovery_at is not RecoveryPoint.SERVED:
        return None, str(fault.plain.get("why") or "the recovery was not measured")
    if found.high_s < 0:
        return None, "it was back before the fault was ended, so the fault did not last"
    return Bounds(max(0.0, found.low_s), found.high_s), ""


def _until_served(fault: MeasuredFault) -> tuple[Optional[Bounds], str]:
    served = _served(fault)
    return served, "" if served else str(fault.plain.get("why") or "it was not seen to be served again")


def _until_drained(fault: MeasuredFault) -> tuple[Optional[Bounds], str]:
    served, why = _until_served(fault)
    if served is None:
        return None, why
    drain = fault.drain or {}
    if drain.get("reached") is not True:
        return None, str(drain.get("why") or "its backlog was not seen to be drained")
    if fault.drained is None:
        return None, "its backlog is drained, but records were not seen to be as fresh as before"
    if not _has_backlog_target(fault):
        return None, "no consumer group was looked at, so nobody knows whether a backlog is drained"
    return Bounds(fault.drained.low_s, max(fault.drained.high_s, served.high_s)), ""


def _until_next_run(fault: MeasuredFault) -> tuple[Optional[Bounds], str]:
    run = (fault.cold or {}).get("next_run")
    if fault.caught_up is None or run is None:
        return None, "no later run was seen to complete and to move the watermarks"
    if run.get("state") != "COMPLETED":
        return None, f"the next run is {run.get('state')}"
    return fault.caught_up, ""


_POINTS = {
    RecoveryPoint.SERVED: _until_served,
    RecoveryPoint.DRAINED: _until_drained,
    RecoveryPoint.NEXT_RUN: _until_next_run,
}


def _has_backlog_target(fault: MeasuredFault) -> bool:
    return any(((fault.drain or {}).get("target") or {}).values())


def _served(fault: MeasuredFault) -> Optional[Bounds]:
    if fault.served is not None:
        return fault.served
    if fault.shorter_than_s is None or any(look for look in failures(fault.own, fault)):
        return None
    assert fault.injected is not None
    widest = [_widest(lane, fault.injected.low_s) for lane in fault.own]
    if None in widest:
        return None
    return Bounds(0.0, max([fault.shorter_than_s, *(gap for gap in widest if gap is not None)]))


def _widest(lane: WatchedLane, moment_s: float) -> Optional[float]:
    """The longest time around or after ``moment_s`` of which no look says that it was up; None without two such."""
    oks = [look for look in lane.looks if look.ok]
    gaps = [after.end_s - before.start_s for before, after in zip(oks, oks[1:]) if after.end_s >= moment_s]
    return max(gaps, default=None)


def _not_back(profile: Profile, mode: FailureMode, fault: MeasuredFault, why: str) -> Judged:
    """Without a recovery: FAIL where something shows that it was not back in time, else nobody knows."""
    assert fault.zero_at is not None
    reach = [
        lane
        for lane in fault.lanes
        if may_touch(profile, mode, profile.services[fault.service], lane.service, lane.exchange)
    ]
    seen = [look.start_s - fault.zero_at.high_s for look in failures(reach, fault)]
    least = max([0.0, fault.at_least_s, *seen])
    # What has no looks of its own, a backlog or the next run, was looked for until the end.
    drain, cold = fault.drain or {}, fault.cold or {}
    waited_for_drain = (
        mode.recovery_at is RecoveryPoint.DRAINED
        and drain.get("reached") is False
        and _has_backlog_target(fault)
        and _served(fault) is not None
    )
    # A run that completed and moved no watermark is no recovery, if somebody could read them.
    unmoved = cold.get("next_run") is None or cold.get("watermark_after") is not None
    waited_for_run = mode.recovery_at is RecoveryPoint.NEXT_RUN and bool(cold) and fault.caught_up is None and unmoved
    if waited_for_drain or waited_for_run:
        least = max(least, fault.watched_s)
    notes = [why]
    if waited_for_run and cold.get("why"):
        notes.append(str(cold["why"]))
    if least >= mode.max_recovery_s:
        reason = f"not back after {least:.3g} s, expected < {mode.max_recovery_s:g} s: {'; '.join(notes)}"
        return Judged(Verdict.FAIL, reason, least)
    return Judged(Verdict.INCONCLUSIVE, f"not known when it was back: {'; '.join(notes)}", least or None)


def _why_not_sure(fault: MeasuredFault, found: Bounds) -> str:
    """Why a recovery that was measured need not be one."""
    assert fault.zero_at is not None
    if fault.mechanism is None:
        return "what brought it back is not known"
    back_s = fault.zero_at.high_s + found.high_s
    for lane in fault.own:
        again = [look for look in failures([lane], fault) if look.start_s > back_s]
        if again:
            return f"{lane.name} failed again {again[-1].start_s - fault.zero_at.high_s:.3g} s after time zero"
        last = [look.failed for look in lane.looks]
        quiet = last[::-1].index(True) if True in last else len(last)
        well = [look for look in lane.looks[len(last) - quiet :] if look.ok and look.end_s >= fault.zero_at.low_s]
        if len(well) < SETTLE_K:
            return f"{lane.name} was looked at {len(well)} times after it was back, at least {SETTLE_K} are needed"
    if not fault.steady_after:
        return "the platform was not steady afterwards"
    return ""


def _service_back(mode: FailureMode, fault: MeasuredFault, found: Bounds) -> tuple[Optional[Bounds], bool]:
    if mode.recovery_at is not RecoveryPoint.NEXT_RUN:
        return found, False
    served = _served(fault)
    if served is not None:
        return Bounds(max(0.0, served.low_s), max(0.0, served.high_s)), False
    return None, not failures(fault.own, fault)


def _by_time(mode: FailureMode, found: Bounds) -> bool:
    return found.low_s >= mode.max_recovery_s
