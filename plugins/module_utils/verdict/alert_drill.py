# SPDX-License-Identifier: Apache-2.0
"""How an alert's gate is decided: it fires, under its labels, arrives, names its runbook, and resolves.

Each of these is a proof of its own, and one that is missing fails the alert, with what its expression came to where it
did not fire. Where nothing says whether the fault was there, or what arrived, nothing follows. An alert that was fed
series passes as that, and its reason says so: it is no alert that was seen on the platform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Optional

from ..core.errors import K2Error
from ..profile.failures import all_modes
from ..profile.model import FailureMode, Profile
from . import catalogue, monitoring_gates
from .alert_facts import ALWAYS, LIVE, SYNTHETIC, DrilledAlert, read_alert
from .gate import Decided, GateResult, Scale, Verdict, decide

MARK = "k2_drill"
SKIPPED, FAILED = "drill_skipped", "drill_failed"


def is_drill(facts: Mapping[str, Any]) -> bool:
    """Whether facts of step S4 are those of a drill."""
    return any(key in facts for key in ("drill", SKIPPED, FAILED))


def decide_drill(profile: Profile, facts: Mapping[str, Any], scale: Scale) -> list[Decided]:
    """S4.alert.<name> of each alert in ``facts["drill"]``, and S3.<mode>.detection of the modes that it held.

    Instead of a drill, ``drill_skipped`` or ``drill_failed`` is the reason why there was none.

    :raises K2Error: the facts are something else.
    """
    absent = monitoring_gates.absent_alerts(profile)
    names = [
        name for name in monitoring_gates.alert_names(profile) if monitoring_gates.alert_gate(name).id not in absent
    ]
    for key, verdict in ((SKIPPED, Verdict.NOT_RUN), (FAILED, Verdict.INCONCLUSIVE)):
        if facts.get(key):
            return [_not_drilled(name, verdict, str(facts[key]), scale) for name in names]
    try:
        drill = facts["drill"]
        alerts = [read_alert(each) for each in drill["alerts"]]
        around = _around(drill)
        decided = [_decide(alert, drill, around, scale) for alert in alerts if alert.name in names]
        drilled = {alert.name for alert in alerts}
        decided += [
            _not_drilled(name, Verdict.NOT_RUN, "not among the alerts chosen for this drill", scale, unselected=True)
            for name in names
            if name not in drilled
        ]
        return [*decided, *_detections(profile, alerts, around, scale)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise K2Error(
            "cannot decide the drill of step S4",
            expected="drill as k2_alert_drill returns it, or drill_skipped, or drill_failed",
            seen=f"{type(error).__name__}: {error}",
        ) from error


def _around(drill: Mapping[str, Any]) -> tuple[str, ...]:
    """What keeps every alert of a drill from meaning anything: rules that are not those that were deployed."""
    return tuple(f"not as before the drill: {text}" for text in drill["not_put_back"])


def _not_drilled(name: str, verdict: Verdict, why: str, scale: Scale, *, unselected: bool = False) -> Decided:
    """What nobody chose for a run blocks nothing in it."""
    spec = monitoring_gates.alert_gate(name)
    spec = replace(spec, blocking=spec.blocking and not unselected)
    return Decided(GateResult(spec, verdict, why, scale), {"alert": name, "drilled": None}, "not drilled")


def _decide(alert: DrilledAlert, drill: Mapping[str, Any], around: Sequence[str], scale: Scale) -> Decided:
    spec = monitoring_gates.alert_gate(alert.name)
    missing = missing_proofs(alert)
    doubt = [*why_nothing_follows(alert), *around]
    dead_man = drill.get("dead_man") if alert.kind == ALWAYS else None
    if alert.kind == ALWAYS:
        unseen, doubtful = _dead_man(dead_man)
        missing += unseen
        doubt += doubtful
    detail: dict[str, Any] = {"alert": alert.name, "drilled": dict(alert.plain), "missing": missing, "doubt": doubt}
    detail |= {"scaled": drill.get("scaled"), "receiver": drill.get("receiver"), "dead_man": dead_man}
    told = _told(alert)
    if doubt:
        # A doubt comes first: an alert may be missing because its fault was.
        result = GateResult(spec, Verdict.INCONCLUSIVE, "; ".join(doubt), scale, None, n=1)
    elif missing:
        result = GateResult(spec, Verdict.FAIL, "; ".join(missing), scale, len(missing), n=1)
    else:
        result = GateResult(spec, Verdict.PASS, told, scale, 0, n=1)
    return Decided(result, detail, _mechanism(alert))


def why_nothing_follows(alert: DrilledAlert) -> list[str]:
    """Why nothing can be said of the alert; empty when something can."""
    doubt = list(alert.problems)
    if alert.caused_us is None and not doubt:
        doubt.append("its fault was not brought about")
    if alert.kind == "":
        doubt.append(alert.why or "it was not drilled")
    return doubt


def missing_proofs(alert: DrilledAlert) -> list[str]:
    """What is missing of the proofs, in words; later ones are not asked where an earlier one is."""
    if not alert.fired:
        return [_not_fired(alert)]
    missing = []
    wrong = _wrong_labels(alert.expected_labels, alert.labels or {})
    if wrong:
        missing.append(f"fired under other labels: {wrong}")
    if alert.caused_us is not None and alert.firing_us is not None and alert.firing_us < alert.caused_us[0]:
        missing.append("it fired before its fault was brought about")
    if alert.delivered_us is None:
        return [*missing, f"fired ({_value(alert)}), and did not arrive at the receiver"]
    wrong = _wrong_labels({**alert.expected_labels, **(alert.labels or {})}, alert.delivered_labels or {})
    if wrong:
        missing.append(f"arrived under other labels: {wrong}")
    if (MARK in (alert.delivered_labels or {})) != (alert.kind == SYNTHETIC):
        missing.append("synthetic and live alerts are not told apart by their labels")
    if alert.runbook is None:
        missing.append("names no runbook (annotation runbook_url)")
    if alert.kind == ALWAYS:
        return missing
    if alert.over_us is None:
        missing.append("did not resolve in Prometheus after its cause was gone")
    elif alert.resolved_delivered_us is None:
        missing.append("resolved, and that did not arrive at the receiver")
    return missing


def _not_fired(alert: DrilledAlert) -> str:
    pending = " (pending only)" if alert.pending_us is not None else ""
    text = f"did not fire{pending} while its cause was there; {_evaluated(alert.evaluation)}"
    if alert.others:
        text += f"; it fired under other labels: {'; '.join(_labels(each) for each in alert.others)}"
        text += f", expected {_labels(alert.expected_labels)}"
    return text


def _evaluated(evaluation: Optional[Mapping[str, Any]]) -> str:
    if evaluation is None:
        return "nobody asked what its expression came to"
    if evaluation.get("error"):
        return f"its evaluation says: {evaluation['error']}"
    values = evaluation.get("left_values")
    if values:
        told = ", ".join(f"{_labels(labels) or 'a number'} is {value}" for labels, value in values)
        return f"its evaluation: {evaluation['left_side']}: {told}"
    result = evaluation.get("result")
    return f"its evaluation: {evaluation['query']} has {f'{len(result)} results' if result else 'no result'}"


def _wrong_labels(expected: Mapping[str, str], seen: Mapping[str, str]) -> str:
    return ", ".join(
        f"{key}={seen[key]!r} instead of {value!r}" if key in seen else f"no {key}, expected {value!r}"
        for key, value in expected.items()
        if seen.get(key) != value
    )


def _labels(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()) if key != "alertname")


def _value(alert: DrilledAlert) -> str:
    return f"value {alert.value}" if alert.value is not None else "value not seen"


def _told(alert: DrilledAlert) -> str:
    """What is said of an alert that passed: what a synthetic one is, and a runbook that could not be had."""
    told = []
    if alert.kind == SYNTHETIC:
        told.append(f"synthetic series, not seen live: {alert.why}")
    if alert.runbook is not None and not alert.runbook["reachable"]:
        told.append(f"its runbook could not be had from the target: {alert.runbook['what']}")
    return "; ".join(told)


def _dead_man(seen: Optional[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """Of an alert that always fires: what is missing of the proof that its absence is noticed, and why that may be."""
    if seen is None:
        return [], ["nobody tried whether its absence is noticed"]
    if seen["problems"]:
        return [], [f"its absence: {text}" for text in seen["problems"]]
    missing = []
    if seen["noticed_us"] is None:
        missing.append(f"its absence was not noticed ({seen['cut']}, {seen['within_s']:g} s without it)")
    elif seen["back_us"] is None:
        missing.append("it did not arrive again once its path was whole")
    return missing, []


def _mechanism(alert: DrilledAlert) -> str:
    if alert.kind == SYNTHETIC:
        return (
            "synthetic: series fed into a throwaway Prometheus with the deployed rule, waits apart; delivered by the "
            "platform's Alertmanager; never counted as live"
        )
    if alert.kind == ALWAYS:
        return "it fires always; its path was cut to see that its absence is noticed"
    return (
        "fault held until the alert arrived; times of ALERTS as Prometheus evaluated it, arrival by the receiver's own "
        "log; rules and routes as deployed, waits apart"
    )


# -- S3.<mode>.detection ---------------------------------------------------------------------------------------------


def _detections(profile: Profile, alerts: Sequence[DrilledAlert], around: Sequence[str], scale: Scale) -> list[Decided]:
    modes = {mode.name: mode for mode in all_modes(profile)}
    held: dict[str, list[DrilledAlert]] = {}
    for alert in alerts:
        if alert.kind == LIVE and alert.mode in modes and not catalogue.is_implied_crash(profile, modes[alert.mode]):
            held.setdefault(alert.mode, []).append(alert)
    return [_detection(modes[name], own, around, scale) for name, own in held.items()]


def _detection(mode: FailureMode, alerts: Sequence[DrilledAlert], around: Sequence[str], scale: Scale) -> Decided:
    """The first alert to tell of the fault: measured until it was pending, and then what the deployed rule waits."""
    spec = catalogue.detection_gate(mode)
    spans = {alert.name: span for alert in alerts if (span := detection_s(alert)) is not None}
    doubt = [*around, *(f"{alert.name}: {text}" for alert in alerts for text in why_nothing_follows(alert))]
    detail = {
        "mode": mode.name,
        "alerts": {alert.name: dict(alert.plain) for alert in alerts},
        "spans_s": {name: list(span) for name, span in spans.items()},
        "first": min(spans, key=lambda each: spans[each][1], default=None),
        "shared": "live fault of the alert drill of step S4",
    }
    mechanism = (
        "fault shared with the alert drill: from the fault until the first evaluation that held, measured, and then "
        "the deployed rule's own wait and one evaluation"
    )
    if not spans:
        told = "; ".join(doubt) or "no alert told of it: " + "; ".join(
            f"{alert.name} {text}" for alert in alerts for text in missing_proofs(alert)
        )
        verdict = Verdict.INCONCLUSIVE if doubt else Verdict.FAIL
        return Decided(GateResult(spec, verdict, told, scale, None, n=len(alerts)), detail, mechanism)
    name = min(spans, key=lambda each: spans[each][1])
    low, high = spans[name]
    result = decide(spec, scale, high, len(alerts), "", low, high)
    return Decided(result, detail, mechanism)


def detection_s(alert: DrilledAlert) -> Optional[tuple[float, float]]:
    """Bounds in seconds from the fault until the alert fires as deployed; None where it did not fire or arrive."""
    if alert.caused_us is None or alert.pending_us is None or not alert.fired or alert.delivered_us is None:
        return None
    low_s = max(0.0, (alert.pending_us - alert.caused_us[1]) / 1e6) + alert.for_s
    high_s = (alert.pending_us - alert.caused_us[0]) / 1e6 + alert.for_s + alert.interval_s
    return low_s, high_s
