# SPDX-License-Identifier: Apache-2.0
"""What one alert did: when its evaluation first held, when it fired, when it arrived, and when it was over.

Each time is told by the one that knows it: pending, firing and resolved by the samples that Prometheus itself wrote of
``ALERTS`` (their times are those of the evaluations), arrival by the receiver's own log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from ...platform.alert_receiver import Delivered
from ...platform.prometheus import Series

FIRING = "firing"
RESOLVED = "resolved"
_NOT_OF_THE_ALERT = ("__name__", "alertstate")


@dataclass(frozen=True)
class Occurrence:
    """One label set of an alert. Times in microseconds since the epoch; None is not seen.

    ``last_us`` is the last evaluation that fired. ``over_us`` bounds the end: after the first, at most at the second.
    """

    labels: Mapping[str, str]
    pending_us: Optional[int] = None
    firing_us: Optional[int] = None
    last_us: Optional[int] = None
    over_us: Optional[tuple[int, int]] = None
    value: Optional[str] = None
    delivered_us: Optional[int] = None
    delivered_labels: Optional[Mapping[str, str]] = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    resolved_delivered_us: Optional[int] = None

    def to_plain(self) -> dict[str, Any]:
        """As modules return it."""
        return {
            "labels": dict(self.labels),
            "pending_us": self.pending_us,
            "firing_us": self.firing_us,
            "last_firing_us": self.last_us,
            "over_us": None if self.over_us is None else list(self.over_us),
            "value": self.value,
            "delivered_us": self.delivered_us,
            "delivered_labels": None if self.delivered_labels is None else dict(self.delivered_labels),
            "annotations": dict(self.annotations),
            "resolved_delivered_us": self.resolved_delivered_us,
        }


def occurrences(
    series: Sequence[Series], since_us: int, now_us: int, interval_s: float, ignored: Sequence[Mapping[str, str]] = ()
) -> tuple[Occurrence, ...]:
    """What the samples of ``ALERTS`` tell since a time, each label set once, the first to fire first.

    :arg interval_s: seconds between two evaluations: an alert without a sample for more than that is over.
    :arg ignored: label sets that fired already, about which nothing can be learnt.
    """
    found: dict[tuple[tuple[str, str], ...], Occurrence] = {}
    for one in series:
        labels = {key: value for key, value in one.labels.items() if key not in _NOT_OF_THE_ALERT}
        if any(labels == each for each in ignored):
            continue
        times = [round(time_s * 1e6) for time_s, _ in one.samples if time_s * 1e6 >= since_us]
        if not times:
            continue
        key = tuple(sorted(labels.items()))
        known = found.get(key, Occurrence(labels))
        if one.labels.get("alertstate") == FIRING:
            known = replace(known, firing_us=times[0], last_us=times[-1])
        else:
            known = replace(known, pending_us=times[0])
        found[key] = known
    done = (_ended(one, now_us, interval_s) for one in found.values())
    return tuple(sorted(done, key=lambda one: (one.firing_us is None, one.firing_us or one.pending_us or 0)))


def _ended(one: Occurrence, now_us: int, interval_s: float) -> Occurrence:
    if one.firing_us is not None and (one.pending_us is None or one.pending_us > one.firing_us):
        # Without a wait there is no pending state: it held at the evaluation at which it fired.
        one = replace(one, pending_us=one.firing_us)
    # Two evaluations: one may be late, and its sample need not be there yet.
    if one.last_us is not None and now_us - one.last_us > 2 * interval_s * 1e6:
        one = replace(one, over_us=(one.last_us, one.last_us + round(2 * interval_s * 1e6)))
    return one


def with_deliveries(one: Occurrence, delivered: Sequence[Delivered], since_us: int) -> Occurrence:
    """The occurrence with what the receiver got of it: an alert that has all of its labels, with their values.

    Labels that were added on the way (external labels) hinder nothing; one that is missing or other does.
    """
    own = [
        each
        for each in delivered
        if each.received_us >= since_us and all(each.labels.get(key) == value for key, value in one.labels.items())
    ]
    firing = next((each for each in own if each.status == FIRING), None)
    if firing is None:
        return one
    resolved = next((each for each in own if each.status == RESOLVED and each.received_us >= firing.received_us), None)
    return replace(
        one,
        delivered_us=firing.received_us,
        delivered_labels=firing.labels,
        annotations=firing.annotations,
        resolved_delivered_us=None if resolved is None else resolved.received_us,
    )


def has_labels(one: Occurrence, expected: Mapping[str, str]) -> bool:
    """Whether the alert carries these labels, among others."""
    return all(one.labels.get(key) == value for key, value in expected.items())
