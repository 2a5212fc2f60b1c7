# SPDX-License-Identifier: Apache-2.0
"""Why nothing that was seen of a fault says anything: it did not happen, was not held, or nobody watched."""

from __future__ import annotations

from collections.abc import Sequence

from ..profile.failures import HELD, affected_exchanges
from ..profile.model import FailureMode, FaultAction, Profile, RecoveryPoint, ServiceKind
from .failure_facts import Look, MeasuredFault, WatchedLane

# While one of these is held, whoever looks at the service has to see that it is away.
_SEEN_WHILE_HELD = (FaultAction.STOP, FaultAction.PAUSE, FaultAction.DISCONNECT)
_START_RUNS = (ServiceKind.WORKER, ServiceKind.ORCHESTRATOR)


def why_nothing_follows(profile: Profile, mode: FailureMode, fault: MeasuredFault) -> str:
    """Why nothing that was seen says anything about this fault; empty when it does."""
    if fault.error:
        return f"the measurement ended early: {fault.error}"
    if not fault.steady_before:
        return "the platform was not steady before the fault"
    if fault.injected is None or not fault.proven:
        return f"no proof that the fault took effect: {fault.proof}"
    if fault.undone_by == "watchdog":
        return "the watchdog undid the fault before the measurement did"
    if fault.n < 1:
        return "it was not measured even once"
    return (
        "; ".join(fault.problems)
        or _why_no_time_zero(mode, fault)
        or _why_not_watched(mode, fault)
        or _why_no_flow(profile, mode, fault)
        or _why_only_a_process(profile, mode, fault)
        or _why_no_run_was_hit(profile, mode, fault)
    )


def _why_no_time_zero(mode: FailureMode, fault: MeasuredFault) -> str:
    assert fault.injected is not None
    if fault.zero != mode.recovery_from.value:
        return f"time was counted from the {fault.zero}, expected from the {mode.recovery_from.value}"
    if mode.action not in HELD:
        return "" if fault.zero_at is not None else "the fault was not ended, so there is no time zero"
    if fault.healed is None:
        return "the fault was not ended by the tool, so nobody knows how long it was held"
    held_s = fault.healed.high_s - fault.injected.low_s
    return f"the fault was held for {held_s:.3g} s, expected {mode.duration_s:g} s" if held_s < mode.duration_s else ""


def _why_not_watched(mode: FailureMode, fault: MeasuredFault) -> str:
    assert fault.injected is not None
    own = fault.own
    if not own:
        return f"nobody watched {fault.service}"
    until_s = fault.healed.low_s if fault.healed is not None else None
    for lane in own:
        before = [look for look in lane.looks if look.end_s < fault.injected.low_s]
        if not before or not before[-1].ok:
            return f"{lane.name} was not seen to be well before the fault"
        # A look that began before the fault may have seen the time before it.
        during = [
            look
            for look in lane.looks
            if look.start_s >= fault.injected.low_s and (until_s is None or look.start_s <= until_s)
        ]
        if not during:
            return f"{lane.name} was not looked at during the fault"
    if until_s is not None and mode.action in _SEEN_WHILE_HELD:
        long_enough = [lane for lane in own if until_s - fault.injected.high_s > lane.sure_to_see_s]
        saw = any(fault.injected.low_s <= look.end_s for lane in own for look in failures([lane], fault))
        if long_enough and not saw:
            return f"no look at {fault.service} failed while it was held down: they look at something else"
    return ""


def _why_no_flow(profile: Profile, mode: FailureMode, fault: MeasuredFault) -> str:
    """A service that answers is not yet records that flow, where the profile says how fresh they have to be."""
    if not any(tier.freshness for tier in profile.tiers):
        return ""
    watched = {lane.exchange for lane in fault.lanes if lane.kind == "flow" and lane.looks}
    hit = affected_exchanges(profile, mode, profile.services[fault.service])
    missing = [exchange for exchange in hit if exchange not in watched]
    return f"nobody watched the flow of {', '.join(missing)}" if missing else ""


def _why_only_a_process(profile: Profile, mode: FailureMode, fault: MeasuredFault) -> str:
    """A process that runs serves nothing yet: a probe, records or a run have to show that it does."""
    hit = affected_exchanges(profile, mode, profile.services[fault.service])
    flows = any(lane.kind == "flow" and lane.exchange in hit for lane in fault.lanes)
    if mode.recovery_at is RecoveryPoint.NEXT_RUN or flows or any(lane.kind == "service" for lane in fault.own):
        return ""
    return f"nothing but its process was watched: give k2_services.{fault.service} a probe"


def _why_no_run_was_hit(profile: Profile, mode: FailureMode, fault: MeasuredFault) -> str:
    """A next run recovers from nothing where no run was due or under way."""
    if mode.recovery_at is not RecoveryPoint.NEXT_RUN:
        return ""
    if fault.cold is None:
        return "nobody watched the cold tier"
    # Without a worker, or who tells it, no run starts that could fail: what was due meanwhile is hit all the same.
    starts_none = mode.action is FaultAction.STOP and profile.services[fault.service].kind in _START_RUNS
    if fault.cold.get("failed_run") is None and not starts_none:
        return f"no run failed, so the fault hit none: {fault.cold.get('why') or 'nothing else is known'}"
    intervals = [each.interval_s for each in profile.orchestrator.deployments] if profile.orchestrator else []
    if starts_none and intervals and mode.duration_s < min(intervals):
        return f"it was held for {mode.duration_s:g} s, and runs are due each {min(intervals):g} s: none need have been"
    return ""


def failures(lanes: Sequence[WatchedLane], fault: MeasuredFault) -> list[Look]:
    """The looks of ``lanes`` since the fault that show a failure, the last one last."""
    if fault.injected is None:
        return []
    since_s = fault.injected.low_s
    return sorted(
        (look for lane in lanes for look in lane.since(since_s) if look.failed), key=lambda look: look.start_s
    )
