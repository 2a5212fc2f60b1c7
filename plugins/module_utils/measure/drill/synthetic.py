# SPDX-License-Identifier: Apache-2.0
"""Alerts that no fault can cause: series that nobody scrapes, and the rules that are deployed, waits apart.

The case that the catalogue has for "fires" is written so that its moment is now. When the alert has arrived, the series
are taken away; where it goes on, as one about absent series does, the case "just below" is written from then on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from ...core.clock import Deadline, utc_us
from ...core.errors import K2Error
from ...fault.journal import Journal
from ...platform.alert_receiver import AlertReceiver
from ...platform.prometheus import PrometheusClient, RuleGroupRun, RuleRun
from ...platform.remote_write import Sample, write
from .notation import labels_of, values_of
from .plan import AlertPlan, Synthetic
from .scaling import rule_differences
from .seen import Occurrence, has_labels, occurrences, with_deliveries
from .throwaway import INTERVAL_S, Throwaway, rule_of

FIRE_S = 30.0
# Nobody else is told by this Prometheus, so its waits may be shorter still than those of the platform's own.
_SHORTER = 0.1
OVER_S = 20.0
_LOOK_S = 0.5
_AT_ONCE_MS = 1_800_000


@dataclass
class SyntheticSeen:
    """One alert as it was fed; ``occurrence`` is None where it did not fire."""

    plan: AlertPlan
    fed_us: Optional[int] = None
    occurrence: Optional[Occurrence] = None
    others: tuple[Mapping[str, str], ...] = ()
    waits: tuple[str, ...] = ()
    evaluation: Optional[dict[str, Any]] = None
    ended_by: str = ""
    problems: list[str] = field(default_factory=list)


def batches(plans: Sequence[AlertPlan]) -> tuple[tuple[AlertPlan, ...], ...]:
    """Alerts that can be fed at once: those whose series have no metric in common, absent ones included."""
    groups: list[tuple[list[AlertPlan], set[str]]] = []
    for plan in plans:
        assert plan.synthetic is not None
        selectors = (*plan.synthetic.series, *plan.synthetic.quiet)
        names = {labels_of(selector).get("__name__", "") for selector in selectors}
        for members, taken in groups:
            if not names & taken:
                members.append(plan)
                taken.update(names)
                break
        else:
            groups.append(([plan], set(names)))
    return tuple(tuple(members) for members, _ in groups)


def drill_synthetic(
    plans: Sequence[AlertPlan],
    rules: Mapping[str, RuleRun],
    program: str,
    journal: Journal,
    run_id: str,
    alertmanager_url: Optional[str],
    receiver: AlertReceiver,
    factor: float,
) -> tuple[SyntheticSeen, ...]:
    """Feed each of ``plans``; ``rules`` are the deployed rules by alert. What goes wrong is told in ``problems``."""
    found: list[SyntheticSeen] = []
    for batch in batches(plans):
        seen = [SyntheticSeen(plan) for plan in batch]
        found += seen
        try:
            _Batch(seen, rules, receiver, factor).run(Throwaway(program, journal, run_id, alertmanager_url))
        except K2Error as error:
            for one in seen:
                one.problems.append(str(error))
    return tuple(found)


class _Batch:
    def __init__(
        self, seen: Sequence[SyntheticSeen], rules: Mapping[str, RuleRun], receiver: AlertReceiver, factor: float
    ) -> None:
        self._seen = seen
        self._rules = rules
        self._receiver = receiver
        self._factor = factor
        self._since_us = utc_us()
        self._feeds: dict[str, _Feed] = {}

    def run(self, throwaway: Throwaway) -> None:
        deadline = Deadline.after(FIRE_S + 2 * OVER_S + 60.0)
        with throwaway:
            wanted = [rule_of(self._rules[one.plan.name], self._factor * _SHORTER) for one in self._seen]
            client = throwaway.start(wanted, deadline)
            self._compare(client)
            self._since_us = utc_us()
            for one in self._seen:
                assert one.plan.synthetic is not None
                one.fed_us = self._since_us
                self._feeds[one.plan.name] = _Feed(one.plan.synthetic, self._since_us, one.plan.synthetic.series)
            self._until(client, throwaway.url, Deadline.after(FIRE_S), lambda one: _arrived(one.occurrence))
            for one in self._seen:
                if one.occurrence is None or one.occurrence.firing_us is None:
                    one.evaluation = evaluation_of(client, self._rules[one.plan.name])
            client.api.ask("POST", "/api/v1/admin/tsdb/delete_series", {"match[]": '{__name__!~"ALERTS.*"}'})
            self._feeds.clear()
            self._until(client, throwaway.url, Deadline.after(OVER_S / 2), lambda one: _is_over(one.occurrence))
            for one in self._seen:
                assert one.plan.synthetic is not None
                if _is_over(one.occurrence):
                    one.ended_by = "its series were taken away"
                elif one.occurrence is not None and one.plan.synthetic.quiet:
                    one.ended_by = "series just below its threshold came"
                    self._feeds[one.plan.name] = _Feed(
                        one.plan.synthetic, utc_us(), one.plan.synthetic.quiet, hold=True
                    )
            self._until(client, throwaway.url, Deadline.after(OVER_S), lambda one: _is_over(one.occurrence))

    def _compare(self, client: PrometheusClient) -> None:
        """The proof that these are the deployed rules, but for their waits."""
        for group in client.rule_groups():
            for rule in group.rules:
                deployed = self._rules[rule.name]
                waits, others = rule_differences([_alone(group, deployed)], [_alone(group, rule)])
                one = next(each for each in self._seen if each.plan.name == rule.name)
                one.waits = tuple(waits)
                one.problems += [f"the rule under drill is not the deployed one: {text}" for text in others]

    def _until(
        self, client: PrometheusClient, url: str, deadline: Deadline, done: Callable[[SyntheticSeen], bool]
    ) -> None:
        while True:
            self._feed(url)
            self._look(client)
            if all(done(one) for one in self._seen) or deadline.passed:
                return
            time.sleep(_LOOK_S)

    def _feed(self, url: str) -> None:
        due = [feed.due(utc_us() // 1000) for feed in self._feeds.values()]
        pieces = [piece for feed in due for piece in feed]
        if not pieces:
            return
        first = min(samples[0][0] for _, samples in pieces)
        last = max(samples[-1][0] for _, samples in pieces)
        # By stretches of time: a series that runs far ahead of the others would make theirs too old.
        for begin in range(first, last + 1, _AT_ONCE_MS):
            part = [
                (labels, [one for one in samples if begin <= one[0] < begin + _AT_ONCE_MS])
                for labels, samples in pieces
            ]
            write(url, [(labels, samples) for labels, samples in part if samples])

    def _look(self, client: PrometheusClient) -> None:
        now_us = utc_us()
        window_s = (now_us - self._since_us) // 1_000_000 + 5
        series = client.query(f"ALERTS[{window_s}s]")
        delivered = self._receiver.since(self._since_us)
        values = {rule.name: rule for _, rule in client.alerting_rules()}
        for one in self._seen:
            own = [each for each in series if each.labels.get("alertname") == one.plan.name]
            found = occurrences(own, self._since_us, now_us, INTERVAL_S)
            right = [each for each in found if has_labels(each, one.plan.labels)]
            one.others = tuple(each.labels for each in found if each not in right and each.firing_us is not None)
            if right:
                before = one.occurrence.value if one.occurrence is not None else None
                value = before or next((alert.value for alert in values[one.plan.name].alerts), None)
                one.occurrence = _with_value(with_deliveries(right[0], delivered, self._since_us), value)


class _Feed:
    """One case's series, so far as their time has come."""

    def __init__(self, case: Synthetic, now_us: int, series: Mapping[str, str], *, hold: bool = False) -> None:
        self._interval_ms = round(case.interval_s * 1000)
        self._begin_ms = now_us // 1000 if hold else now_us // 1000 - round(case.at_s * 1000)
        self._hold = hold
        self._sent_ms = -1
        self._series = [
            (labels_of(selector), values_of(notation), selector in case.epoch) for selector, notation in series.items()
        ]

    def due(self, now_ms: int) -> list[tuple[Mapping[str, str], Sequence[Sample]]]:
        """Samples between the last call and now."""
        found: list[tuple[Mapping[str, str], Sequence[Sample]]] = []
        for labels, values, epoch in self._series:
            if self._hold:
                last = next((value for value in reversed(values) if value is not None), None)
                samples = [] if last is None else [(now_ms, now_ms / 1000 if epoch else last)]
            else:
                samples = [
                    (at_ms, value + self._begin_ms / 1000 if epoch else value)
                    for number, value in enumerate(values)
                    if value is not None
                    for at_ms in (self._begin_ms + number * self._interval_ms,)
                    if self._sent_ms < at_ms <= now_ms
                ]
            if samples:
                found.append((labels, samples))
        self._sent_ms = now_ms
        return found


def evaluation_of(client: PrometheusClient, rule: RuleRun) -> dict[str, Any]:
    """What the expression of an alert that does not fire comes to: its result, and its left side without the bound."""
    plain: dict[str, Any] = {"query": rule.query, "health": rule.health, "error": rule.error}
    try:
        plain["result"] = [[dict(one.labels), one.samples[-1][1]] for one in client.query(rule.query)][:5]
        left = left_side(rule.query)
        if left is not None:
            plain["left_side"] = left
            plain["left_values"] = [[dict(one.labels), one.samples[-1][1]] for one in client.query(left)][:5]
    except K2Error as error:
        plain["error"] = "; ".join(text for text in (rule.error, str(error)) if text)
    return plain


def left_side(query: str) -> Optional[str]:
    """What a rule compares with a number, where its last comparison is one; None where it compares nothing so."""
    for sign in (" > ", " < ", " >= ", " <= ", " == ", " != "):
        left, found, right = query.rpartition(sign)
        if found and left.count("(") == left.count(")") and _is_number(right):
            return left.strip()
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _alone(group: RuleGroupRun, rule: RuleRun) -> RuleGroupRun:
    return RuleGroupRun(group.name, group.file, group.interval_s, (rule,))


def _arrived(one: Optional[Occurrence]) -> bool:
    return one is not None and one.firing_us is not None and one.delivered_us is not None


def _is_over(one: Optional[Occurrence]) -> bool:
    return one is not None and one.over_us is not None and one.resolved_delivered_us is not None


def _with_value(one: Occurrence, value: Optional[str]) -> Occurrence:
    return replace(one, value=value)
