# SPDX-License-Identifier: Apache-2.0
"""Alerts that a fault can cause: the fault is held, and what Prometheus and the receiver tell is taken in meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Optional

from ...core.clock import Deadline, utc_us
from ...fault.inject.base import Fault
from ...fault.inject.factory import fault_for
from ...platform.alert_receiver import Delivered
from ...platform.prometheus import RuleRun
from ...platform.runtime.factory import runtime_of
from ...profile.model import Profile
from .held import Held, HeldFaults
from .plan import DrillFault, DrillRound, LiveAlert, held_longer, mode_named
from .request import Monitoring
from .result import LIVE, AlertSeen
from .seen import FIRING, RESOLVED, Occurrence, has_labels, occurrences, with_deliveries
from .synthetic import evaluation_of

LOOK_S = 1.0
# An alert that has not arrived may be on its way: so long more, beyond what its own expression needs.
_TELL_S = 15.0

Tell = Callable[[str], None]


class LiveAlerts:
    """All live alerts of a drill, through its rounds to their end."""

    def __init__(
        self, profile: Profile, monitoring: Monitoring, rules: Mapping[str, RuleRun], intervals: Mapping[str, float]
    ) -> None:
        """:arg rules: each alert's rule when no drill is on, ``intervals`` the seconds between its evaluations."""
        self._profile = profile
        self._monitoring = monitoring
        self._deployed = rules
        self._intervals = intervals
        self._since_us = utc_us()
        self._seen: list[tuple[LiveAlert, AlertSeen]] = []
        self._ignored: dict[str, list[Mapping[str, str]]] = {}
        self._values: dict[str, list[tuple[Mapping[str, str], str]]] = {}

    @property
    def seen(self) -> tuple[AlertSeen, ...]:
        """What is known of each so far."""
        return tuple(seen for _, seen in self._seen)

    def active(self, each: DrillRound) -> tuple[str, ...]:
        """Which alerts of a round are there without its faults: what was broken before the drill may still show."""
        there = self._there()
        return tuple(alert.plan.name for alert in each.alerts if _is_among(alert, there.get(alert.plan.name, ())))

    def run(self, each: DrillRound, faults: HeldFaults, fire_s: float, tell: Tell) -> None:
        """Bring the faults of one round about, and hold each until its alerts arrived or ``fire_s`` beyond their time.

        What is held then is ended by ``faults.end()``, which is the caller's.
        """
        hold_s = each.hold_s + fire_s
        before = self._there()
        held = faults.bring_about([(str(fault), self._fault(fault, hold_s)) for fault in each.faults])
        by_fault = dict(zip(each.faults, held))
        own: list[tuple[LiveAlert, AlertSeen]] = []
        for alert in each.alerts:
            self._ignored[alert.plan.name] = before.get(alert.plan.name, [])
            own.append((alert, self._begun(alert, by_fault[alert.fault])))
        self._seen += own
        deadline = Deadline.after(hold_s)
        while not deadline.passed:
            waiting = [(alert, seen) for alert, seen in own if not seen.problems and not self._arrived(alert, seen)]
            if not waiting:
                break
            # A fault goes on no longer than its own alerts need it: what it brought about takes its time to fade.
            needed = {alert.fault for alert, _ in waiting}
            faults.end([one for fault, one in by_fault.items() if fault not in needed])
            names = ", ".join(seen.name for _, seen in waiting)
            what = f"held: {', '.join(sorted(map(str, needed)))}; waiting for {names}"
            tell(f"{what}, {deadline.remaining():.0f} s left")
            self._take_in_values()
            time.sleep(LOOK_S)
        self._take_in_values()
        rules = [rule for _, rule in self._monitoring.prometheus.alerting_rules()]
        for alert, seen in own:
            fitting = first_rule([one for one in rules if one.name == alert.plan.name], alert.labels)
            if fitting is not None and not self._arrived(alert, seen):
                seen.evaluation = evaluation_of(self._monitoring.prometheus, fitting)
                if _is_among(alert, self._ignored[seen.name]):
                    seen.problems.append("it was there before its fault, so nothing tells what that has caused")

    def ended(self, each: DrillRound, held: Sequence[Held]) -> None:
        """Note when the faults of a round were ended."""
        by_name = {one.name: one for one in held}
        for alert, seen in self._seen:
            if alert in each.alerts:
                one = by_name[str(alert.fault)]
                seen.ended_us = one.healed_us
                seen.problems += [text for text in one.problems if text not in seen.problems]
                seen.problems += [f"not undone: {text}" for text in one.differences]

    def wait_over(self, deadline: Deadline, tell: Tell) -> None:
        """Wait until every alert that arrived has resolved and that arrived too, or ``deadline``."""
        while True:
            self.take_in()
            waiting = [seen.name for seen in self.seen if _is_open(seen)]
            if not waiting or deadline.passed:
                return
            tell(f"until {', '.join(waiting)} resolved, {deadline.remaining():.0f} s left")
            self._wait_resolved(deadline)

    def take_in(self) -> None:
        """Read the samples of ``ALERTS`` and the receiver's record of the whole drill."""
        now_us = utc_us()
        window_s = (now_us - self._since_us) // 1_000_000 + 5
        delivered = self._monitoring.receiver.since(self._since_us)
        intervals = {rule.name: group.interval_s for group, rule in self._monitoring.prometheus.alerting_rules()}
        for alert, seen in self._seen:
            if seen.caused_us is None:
                continue
            series = self._monitoring.prometheus.query(f'ALERTS{{alertname="{seen.name}"}}[{window_s}s]')
            since_us = seen.caused_us[0]
            interval_s = intervals.get(seen.name, LOOK_S)
            found = occurrences(series, since_us, now_us, interval_s, self._ignored[seen.name])
            right = [one for one in found if has_labels(one, alert.labels)]
            seen.others = tuple(one.labels for one in found if one not in right and one.firing_us is not None)
            if right:
                value = next(
                    (text for labels, text in self._values.get(seen.name, ()) if labels == right[0].labels), None
                )
                seen.occurrence = with_deliveries(replace(right[0], value=value), delivered, since_us)

    # -- within ------------------------------------------------------------------------------------------------------

    def _there(self) -> dict[str, list[Mapping[str, str]]]:
        """The labels of every alert that is pending or fires now, by its name."""
        found: dict[str, list[Mapping[str, str]]] = {}
        for _, rule in self._monitoring.prometheus.alerting_rules():
            found.setdefault(rule.name, []).extend(alert.labels for alert in rule.alerts)
        return found

    def _fault(self, fault: DrillFault, hold_s: float) -> Fault:
        mode = held_longer(mode_named(self._profile, fault.mode), hold_s)
        service = self._profile.services[fault.service]
        return fault_for(self._profile, mode, service, runtime_of(self._profile, service))

    def _begun(self, alert: LiveAlert, held: Held) -> AlertSeen:
        seen = AlertSeen(
            name=alert.plan.name,
            kind=LIVE,
            expected_labels=alert.labels,
            fault=str(alert.fault),
            mode=alert.fault.mode,
            for_s=self._deployed[alert.plan.name].duration_s if alert.plan.name in self._deployed else 0.0,
            interval_s=self._intervals.get(alert.plan.name, 0.0),
            caused_us=held.injected_us,
            problems=list(held.problems),
        )
        if held.injected_us is not None and not held.proven:
            seen.problems.append(f"nothing shows that {alert.fault} took effect: {held.proof}")
        return seen

    def _take_in_values(self) -> None:
        """The expression's value while it fires: samples of ``ALERTS`` do not have it."""
        for _, rule in self._monitoring.prometheus.alerting_rules():
            known = self._values.setdefault(rule.name, [])
            for active in rule.alerts:
                if active.state == FIRING and all(active.labels != labels for labels, _ in known):
                    known.append((active.labels, active.value))

    def _arrived(self, alert: LiveAlert, seen: AlertSeen) -> bool:
        if seen.caused_us is None:
            return True
        fired = [labels for labels, _ in self._values.get(seen.name, ()) if self._is_right(alert, seen, labels)]
        return any(_delivered(self._record(seen), labels, FIRING) for labels in fired)

    def _record(self, seen: AlertSeen) -> tuple[Delivered, ...]:
        assert seen.caused_us is not None
        return self._monitoring.receiver.since(seen.caused_us[0])

    def _is_right(self, alert: LiveAlert, seen: AlertSeen, labels: Mapping[str, str]) -> bool:
        return has_labels(Occurrence(labels), alert.labels) and labels not in self._ignored[seen.name]

    def _wait_resolved(self, deadline: Deadline) -> None:
        """Look at the receiver's record, which is cheap, until something more has resolved."""
        until = Deadline.after(min(_TELL_S, deadline.remaining()))
        while not until.passed:
            record = self._monitoring.receiver.since(self._since_us)
            waiting = [seen.occurrence for seen in self.seen if _is_open(seen) and seen.occurrence is not None]
            if all(_delivered(record, one.labels, RESOLVED) for one in waiting):
                time.sleep(2 * LOOK_S)
                return
            time.sleep(LOOK_S)


def drilled_waits(seen: Sequence[AlertSeen], rules: Mapping[str, RuleRun]) -> None:
    """Note what each rule waited for in the drill."""
    for one in seen:
        if one.name in rules:
            one.drilled_for_s = rules[one.name].duration_s


def _is_among(alert: LiveAlert, found: Sequence[Mapping[str, str]]) -> bool:
    """Whether one of these label sets is the alert's."""
    return any(has_labels(Occurrence(labels), alert.labels) for labels in found)


def _is_open(seen: AlertSeen) -> bool:
    one = seen.occurrence
    if one is None or one.firing_us is None:
        return False
    return one.over_us is None or (one.delivered_us is not None and one.resolved_delivered_us is None)


def _delivered(record: Sequence[Delivered], labels: Mapping[str, str], status: str) -> bool:
    return any(
        one.status == status and all(one.labels.get(key) == value for key, value in labels.items()) for one in record
    )


def first_rule(rules: Sequence[RuleRun], labels: Mapping[str, str]) -> Optional[RuleRun]:
    """The first of several rules of one alert whose own labels are no others than these."""
    fitting = [rule for rule in rules if all(labels.get(key, value) == value for key, value in rule.labels.items())]
    return next(iter(fitting or rules), None)
