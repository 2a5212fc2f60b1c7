# SPDX-License-Identifier: Apache-2.0
"""How the gates of step S0 are decided, from what the target's modules brought back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Optional

from ..core.errors import K2Error
from ..core.text import grouped
from ..measure.clock_skew import Skew
from ..measure.data_flow import Flow
from ..measure.leftovers import Place
from ..measure.schedule import DeploymentSight
from ..measure.watermarks import Watermark, WatermarkWatch
from ..profile.model import Profile
from . import catalogue
from .gate import Decided, GateResult, Scale, Verdict, decide


@dataclass(frozen=True)
class ServiceStatus:
    """A service as the preflight sees it; ``why_not`` is empty when it is up, ``start_command`` would start it.

    ``not_available`` is the reason of a service that this installation cannot have; nobody looked at it.
    """

    name: str
    up: bool
    why_not: str
    start_command: Optional[str]
    not_available: Optional[str] = None


def decide_preflight(profile: Profile, facts: Mapping[str, Any]) -> list[Decided]:
    """All gates of S0 that apply to the profile.

    ``facts["stack"]`` is the result of ``k2_stack_info``, ``facts["preflight"]`` that of ``k2_preflight_info``.
    Raises K2Error when either is not what those modules return.
    """
    try:
        services = facts["stack"]["services"]
        seen = facts["preflight"]
        statuses = [_status(name, service) for name, service in services.items()]
        flows = [Flow(**flow) for flow in seen["flows"]]
        skews = [Skew(**skew) for skew in seen["clocks"]]
        places = [Place(place["place"], tuple(place["open"]), place["error"]) for place in seen["places"]]
        mismatches = [str(mismatch["text"]) for mismatch in seen["mismatches"]]
        watermarks = None if profile.watermarks is None else _watermark_watch(seen["watermarks"])
        schedule = None if profile.orchestrator is None else [DeploymentSight(**sight) for sight in seen["schedule"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise K2Error(
            "cannot decide step S0",
            expected="facts.stack from k2_stack_info and facts.preflight from k2_preflight_info",
            seen=f"{type(error).__name__}: {error}",
        ) from error
    decided = [decide_services(profile, statuses, services, mismatches), decide_data_flow(profile, flows)]
    if watermarks is not None:
        decided.append(decide_watermarks(profile, watermarks))
    if schedule is not None:
        decided.append(decide_schedule(profile, schedule))
    return [*decided, decide_clocks(profile, skews), decide_clean_start(profile, places)]


def decide_services(
    profile: Profile, statuses: Sequence[ServiceStatus], facts: Mapping[str, Any], mismatches: Sequence[str] = ()
) -> Decided:
    """S0.services: the count of services that are up must be the count of services in the profile.

    Where the platform is not as described (``mismatches``) is kept with the evidence and decides nothing: a service
    with another limit is up all the same.
    A service that is not available was not looked at: alone it makes the gate INCONCLUSIVE. One that is down fails it.
    """
    spec = catalogue.services_gate(profile)
    absent = [status for status in statuses if status.not_available is not None]
    down = [status for status in statuses if not status.up and status.not_available is None]
    reasons = [
        (status.name, status.why_not + (f" (start it with: {status.start_command})" if status.start_command else ""))
        for status in down
    ]
    reason = grouped(reasons + [(status.name, f"not available: {status.not_available}") for status in absent])
    up, looked_at = sum(status.up for status in statuses), len(statuses) - len(absent)
    result = decide(spec, _scale(profile), up, looked_at, reason, low=up, high=up + len(absent))
    detail = {"services": dict(facts), "mismatches": list(mismatches)}
    return Decided(result, detail, "state from the runtime, readiness from each service's own probe")


def decide_data_flow(profile: Profile, flows: Sequence[Flow]) -> Decided:
    """S0.data_flow: every watched pair of tier and exchange must flow; one that could not be asked makes it
    INCONCLUSIVE.

    A pair that was asked and stood still fails the gate, whatever else could not be asked.
    """
    spec = catalogue.data_flow_gate(profile)
    standing = [flow for flow in flows if not flow.flowing]
    unknown = [flow for flow in standing if flow.error]
    reason = grouped((f"{flow.exchange} in {flow.table}", _why_standing(flow)) for flow in standing)
    flowing = len(flows) - len(standing)
    # What could not be asked may or may not flow: it widens the interval instead of counting as a stand-still.
    result = decide(spec, _scale(profile), flowing, len(flows), reason, low=flowing, high=flowing + len(unknown))
    return Decided(
        result,
        {"flows": [asdict(flow) | {"flowing": flow.flowing} for flow in flows]},
        "rows newer than the start of the watch and age of the newest row, on the store's own clock",
    )


def decide_watermarks(profile: Profile, watch: WatermarkWatch) -> Decided:
    """S0.watermarks: every source has a watermark that is fresh and did not move back.

    Where Postgres could not be asked the gate is INCONCLUSIVE, unless a watermark was seen to move back before. A table
    that does not exist has been asked for: it fails the gate.
    """
    marks = watch.watermarks
    spec = catalogue.watermarks_gate(profile)
    spec = replace(spec, target=len(marks) or None) if spec.target is None else spec
    detail = asdict(watch) | {"watermarks": [asdict(mark) | {"fresh": mark.fresh} for mark in marks]}
    mechanism = "age of each source's newest row on Postgres' own clock, watched until all are fresh"
    if watch.absent:
        reason = f"{watch.table} in {watch.database}: {watch.error}"
        return Decided(GateResult(spec, Verdict.FAIL, reason, _scale(profile), 0, n=1), detail, mechanism)
    # After an error the last sight of the others is out of date: they may or may not be fresh by now.
    stale = [mark for mark in marks if not mark.fresh and (watch.error is None or mark.back_s is not None)]
    unknown = 0 if watch.error is None else len(marks) - len(stale)
    fresh = len(marks) - len(stale) - unknown
    reason = grouped((mark.source, _why_stale(mark, watch)) for mark in stale)
    if watch.error is not None:
        reason = "; ".join(text for text in (reason, f"{watch.table} in {watch.database}: {watch.error}") if text)
    elif not marks:
        reason = f"{watch.table} in {watch.database} has no row, and the profile names no source to expect"
    looked_at = len(marks) if watch.readings else 0
    result = decide(spec, _scale(profile), fresh, looked_at, reason, low=fresh, high=fresh + unknown)
    return Decided(result, detail, mechanism)


def decide_schedule(profile: Profile, sights: Sequence[DeploymentSight]) -> Decided:
    """S0.schedule: every deployment is there, will be started again, and completed a run lately.

    One that could not be asked for makes the gate INCONCLUSIVE, unless another one fails it.
    """
    spec = catalogue.schedule_gate(profile)
    late = [sight for sight in sights if not sight.on_time]
    unknown = [sight for sight in late if sight.error]
    reason = grouped((sight.name, _why_late(sight)) for sight in late)
    on_time = len(sights) - len(late)
    reason = reason if sights else "the profile names no deployment to look at"
    looked_at = len(sights) - len(unknown)
    result = decide(spec, _scale(profile), on_time, looked_at, reason, low=on_time, high=on_time + len(unknown))
    return Decided(
        result,
        {"deployments": [asdict(sight) | {"on_time": sight.on_time} for sight in sights]},
        "recorded end of each deployment's newest completed run, against the orchestrator's own clock",
    )


def decide_clocks(profile: Profile, skews: Sequence[Skew]) -> Decided:
    """S0.clocks: the greatest skew that the readings allow must be within the profile's limit."""
    spec = catalogue.clocks_gate(profile)
    errors = [f"{skew.name}: {skew.error}" for skew in skews if skew.error]
    magnitudes = {skew.name: skew.magnitude_ms for skew in skews}
    known = {name: magnitude for name, magnitude in magnitudes.items() if magnitude is not None}
    readings = sum(skew.n for skew in skews)
    detail: dict[str, Any] = {"skews": [asdict(skew) for skew in skews]}
    mechanism = "remote readings bracketed by own ones; the brackets' intersection bounds the skew"
    low = max((least for least, _ in known.values()), default=None)
    high = max((most for _, most in known.values()), default=None)
    if spec.target is not None and low is not None and spec.op.holds(low, spec.target) and errors:
        reason = "not every clock could be read: " + "; ".join(errors)
        result = GateResult(spec, Verdict.INCONCLUSIVE, reason, _scale(profile), high, low, high, readings)
        return Decided(result, detail, mechanism)
    worst = max(known, key=lambda name: known[name][1], default="")
    reason = "; ".join(errors)
    result = decide(spec, _scale(profile), high, readings if known else 0, reason, low, high)
    if worst and result.verdict is not Verdict.PASS:
        detail["worst"] = worst
    return Decided(result, detail, mechanism)


def decide_clean_start(profile: Profile, places: Sequence[Place]) -> Decided:
    """S0.clean_start: no open item in any searched place; a place that could not be searched may hide one."""
    spec = catalogue.clean_start_gate()
    found = [f"{place.place}: {item}" for place in places for item in place.open]
    errors = [f"{place.place}: {place.error}" for place in places if place.error]
    detail = {"places": [asdict(place) for place in places]}
    mechanism = "undo journal on the target, silences of this tool in Alertmanager where the profile names one"
    if errors and not found:
        reason = "not every place could be searched: " + "; ".join(errors)
        return Decided(
            GateResult(spec, Verdict.INCONCLUSIVE, reason, _scale(profile), n=len(places)), detail, mechanism
        )
    reason = "; ".join(found + errors)
    return Decided(decide(spec, _scale(profile), len(found), len(places), reason), detail, mechanism)


def _status(name: str, service: Mapping[str, Any]) -> ServiceStatus:
    probe = service["probe"]
    why_not = service["problem"] or (
        "" if probe is None or probe["ok"] else f"{service['probe_what']}: {probe['detail']}"
    )
    return ServiceStatus(
        name,
        service["ready"],
        f"{service['state']}, {why_not or 'not ready'}",
        service["start_command"],
        service["not_available"],
    )


def _watermark_watch(seen: Mapping[str, Any]) -> WatermarkWatch:
    return WatermarkWatch(**{**seen, "watermarks": tuple(Watermark(**mark) for mark in seen["watermarks"])})


def _why_stale(mark: Watermark, watch: WatermarkWatch) -> str:
    if not mark.found:
        return f"no row in {watch.table} after {watch.watched_s:.0f} s"
    if mark.back_s is not None:
        return f"moved back by {mark.back_s:.3f} s while it was watched"
    if mark.at is None:
        return "its row holds no time"
    if mark.age_s is None:
        return f"its time is {mark.at}"
    if mark.age_s < 0:
        return f"lies {-mark.age_s:.3f} s in the future of the database's clock"
    return f"{math.ceil(mark.age_s)} s old, at most {mark.max_age_s:g} s expected"


def _why_late(sight: DeploymentSight) -> str:
    if sight.error or sight.missing:
        return sight.error or sight.missing or ""
    reasons = []
    if sight.paused:
        reasons.append("it is paused")
    if not sight.active_schedules:
        reasons.append("it has no active schedule")
    if sight.age_s is None:
        reasons.append("it never completed a run")
    elif sight.age_s > sight.max_age_s:
        reasons.append(
            f"its newest completed run ended {sight.age_s:.0f} s ago, at most {sight.max_age_s:g} s expected "
            f"of an interval of {sight.interval_s:g} s"
        )
    elif sight.age_s < -sight.max_ahead_s:
        reasons.append(f"its newest completed run ended {-sight.age_s:.0f} s in the future of the orchestrator's clock")
    endings = ", ".join(f"{count} {state}" for state, count in sorted(sight.recent.items()))
    return ", ".join(reasons) + (f" (its last runs: {endings})" if endings else " (no run has ended yet)")


def _why_standing(flow: Flow) -> str:
    if flow.error:
        return flow.error
    if not flow.new_rows:
        return f"no new row in {flow.watched_s:.0f} s"
    return f"the newest row is {flow.newest_age_s:.1f} s old, at most {flow.max_age_s:g} s expected"


def _scale(profile: Profile) -> Scale:
    return Scale(profile.platform.scale.value)
