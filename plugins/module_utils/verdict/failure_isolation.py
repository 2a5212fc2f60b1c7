# SPDX-License-Identifier: Apache-2.0
"""Whether a fault stayed where it was: services and flows beyond its reach went on, within stated bounds.

The bounds: a single look may fail, since a busy machine is late now and then. Two in a row that fail, or more than one
in a hundred, are a disturbance; of a process, where nothing can be late, a single one may be. What nobody watched, or
not all the time, may have been disturbed: it keeps the gate from passing and does not make it fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..core.text import grouped
from ..profile.failures import may_touch, on_hot_path
from ..profile.model import FailureMode, Lifecycle, Profile
from . import catalogue
from .failure_doubt import why_nothing_follows
from .failure_facts import MeasuredFault, WatchedLane
from .gate import Decided, GateResult, Scale, Verdict, decide

SHARE = 0.01
# So long without a look that tells something is no gap between two looks of a busy machine.
HOLE_S = 2.0


@dataclass(frozen=True)
class Isolation:
    """What was disturbed for sure, and what may have been, by name with the reason; how many lanes were looked at."""

    disturbed: dict[str, str]
    doubtful: dict[str, str]
    watched: int


def decide_isolation(
    profile: Profile, mode: FailureMode, faults: Sequence[MeasuredFault], missing: str, scale: Scale
) -> Decided:
    """S3.<mode>.isolation: what the mode may not touch went on, within the bounds above.

    :arg missing: which services of the mode were not broken, and why; empty where all were.
    """
    spec = catalogue.isolation_gate(mode)
    mechanism = "samplers of every other service and of every exchange's flow, from the fault to the end of the watch"
    disturbed: dict[str, str] = {}
    doubtful: dict[str, str] = {}
    watched = 0
    nothing: list[tuple[str, str]] = []
    for fault in faults:
        if nothing_follows := why_nothing_follows(profile, mode, fault):
            nothing.append((fault.service, nothing_follows))
            continue
        seen = isolation_of(profile, mode, fault)
        watched += seen.watched
        disturbed |= {name: f"{why} (while {fault.service} was broken)" for name, why in seen.disturbed.items()}
        doubtful |= seen.doubtful
    doubtful = {name: why for name, why in doubtful.items() if name not in disturbed}
    detail = {"mode": mode.name, "disturbed": disturbed, "doubtful": doubtful, "watched": watched}
    low, high = len(disturbed), len(disturbed) + len(doubtful)
    unknown = "; ".join(text for text in (grouped(nothing), missing) if text)
    reason = "; ".join([*disturbed.values(), *([grouped(doubtful.items())] if doubtful and not disturbed else [])])
    if unknown and not disturbed:
        result = GateResult(spec, Verdict.INCONCLUSIVE, unknown, scale, None, n=watched)
    else:
        reason = reason or ("" if watched else "nobody watched the others")
        result = decide(spec, scale, low, watched, reason, low, high)
    return Decided(result, detail, mechanism)


def isolation_of(profile: Profile, mode: FailureMode, fault: MeasuredFault, *, hot_path: bool = False) -> Isolation:
    """What ``fault`` did beyond its reach.

    :arg hot_path: look at what is on the hot path alone, flows and services.
    """
    disturbed: dict[str, str] = {}
    doubtful: dict[str, str] = {}
    watched = 0
    target = profile.services[fault.service]
    seen: set[tuple[bool, str]] = set()
    for lane in fault.lanes:
        service = profile.services.get(lane.service) if lane.service is not None else None
        if may_touch(profile, mode, target, lane.service, lane.exchange):
            continue
        if hot_path and service is not None and not on_hot_path(profile, service):
            continue
        # What it is called by people: a service's lanes are one thing.
        name = f"flow of {lane.exchange}" if lane.service is None else lane.service
        seen.add((lane.service is None, str(lane.exchange if lane.service is None else lane.service)))
        watched += 1
        sure, doubt = _lane(lane, fault)
        if sure:
            disturbed.setdefault(name, f"{lane.name}: {sure}")
        elif doubt:
            doubtful.setdefault(name, f"{lane.name}: {doubt}")
    for is_flow, name in _beyond_reach(profile, mode, fault, hot_path):
        if (is_flow, name) not in seen:
            doubtful[f"flow of {name}" if is_flow else name] = "nobody watched it"
    return Isolation(disturbed, {name: why for name, why in doubtful.items() if name not in disturbed}, watched)


def _beyond_reach(
    profile: Profile, mode: FailureMode, fault: MeasuredFault, hot_path: bool
) -> Iterable[tuple[bool, str]]:
    """Every service and flow that the fault may not touch, whether watched or not; flows are told by True."""
    target = profile.services[fault.service]
    for service in profile.services.values():
        runs = service.not_available is None and service.lifecycle is Lifecycle.LONG_RUNNING
        asked = not hot_path or on_hot_path(profile, service)
        if runs and asked and not may_touch(profile, mode, target, service.name, None):
            yield False, service.name
    if any(tier.freshness for tier in profile.tiers):
        for exchange in profile.exchanges:
            if not may_touch(profile, mode, target, None, exchange):
                yield True, exchange


def _lane(lane: WatchedLane, fault: MeasuredFault) -> tuple[str, str]:
    """Why it was disturbed for sure, and why it may have been; both empty where it went on."""
    assert fault.injected is not None
    looks = [look for look in lane.looks if look.end_s >= fault.injected.low_s]
    telling = [look for look in looks if look.ok or look.failed]
    failed = [look.failed for look in telling]
    fails = sum(failed)
    told = f"{fails} of {len(telling)} looks failed"
    in_a_row = any(first and second for first, second in zip(failed, failed[1:]))
    if in_a_row or (fails > 1 and fails > SHARE * len(telling)):
        return told, ""
    if fails and lane.kind == "process":
        return "", told
    # From before the fault to the end of the watch without a hole; what shows nothing is no look.
    before = [look.end_s for look in lane.looks if look.end_s < fault.injected.low_s and look.ok]
    if not before or not telling:
        return "", "it was not looked at before the fault and during it"
    ends = [before[-1], *(look.end_s for look in telling)]
    starts = [*(look.start_s for look in telling), fault.ended_s]
    widest = max(start - end for end, start in zip(ends, starts))
    if widest > max(HOLE_S, 2 * lane.interval_s):
        return "", f"nothing is known of {widest:.3g} s"
    return "", ""
