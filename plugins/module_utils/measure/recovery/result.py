# SPDX-License-Identifier: Apache-2.0
"""What one fault on one service came to, as data that travels: to the verdict, which decides, and to the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Optional

from ...profile.model import RecoveryPoint
from .combine import Expectation, Recovery
from .model import Lane, Moment, Span, plain_span
from .timeline import Outage

_NS_PER_MS = 1e6
# How the text of a sample begins that shows neither that something was up nor that it was down.
NO_PROOF = "shows nothing"


@dataclass(frozen=True)
class LaneResult:
    """A lane with its samples, what the fault was allowed to do to it, and what it did."""

    lane: Lane
    expected: Expectation
    outage: Outage

    def to_plain(self, baseline_start_ns: int) -> dict[str, Any]:
        """As modules return it; samples in milliseconds since ``baseline_start_ns``.

        A sample without proof is no success either: it is told from a failure by what its text begins with.
        """
        lane = self.lane
        return {
            "name": lane.name,
            "kind": lane.kind.value,
            "service": lane.service,
            "exchange": lane.exchange,
            "expected": self.expected.value,
            "interval_s": lane.interval_s,
            "timeout_s": lane.timeout_s,
            "skipped": lane.skipped,
            "samples": [
                [
                    round((one.start_ns - baseline_start_ns) / _NS_PER_MS, 3),
                    round((one.end_ns - baseline_start_ns) / _NS_PER_MS, 3),
                    int(one.ok),
                    one.error if one.ok or one.proof else f"{NO_PROOF}: {one.error}",
                ]
                for one in lane.samples
            ],
            "outage": self.outage.to_plain(),
        }


@dataclass(frozen=True)
class RecoveryAt:
    """The recovery that a gate decides on: at which point, and within which bounds."""

    point: RecoveryPoint
    span: Span

    def to_plain(self) -> dict[str, Any]:
        """As modules return it."""
        return {"point": self.point.value, "low_s": self.span.low_s, "high_s": self.span.high_s}


@dataclass(frozen=True)
class FailureResult:
    """One fault on one service, measured. Moments are CLOCK_MONOTONIC of boot ``boot_id``, spans count from ``zero``.

    ``zero`` is "injection" or "heal"; ``plan``, ``proof``, ``drain``, ``cold`` and ``events`` are already plain.
    ``platform`` is the recovery over the lanes that must be well again. ``recovery`` is None where it is not known;
    that it was not before ``at_least_s`` still is. ``undone_before`` is what earlier runs had left and was undone
    first. ``alerts`` are those that told of it, ``silence`` is what kept people from being woken. ``problems`` are the
    reasons why nothing can be decided, ``error`` what ended the measurement early.
    """

    mode: str
    service: str
    unit: str
    runtime: str
    action: str
    boot_id: str
    started_us: int
    duration_s: float
    plan: Mapping[str, Any]
    zero: str
    baseline_start_ns: int
    injected: Optional[Moment]
    healed: Optional[Moment]
    ended_ns: int
    proof: Mapping[str, Any]
    mechanism: Optional[str]
    lanes: tuple[LaneResult, ...]
    t1: Optional[Span]
    t2: Optional[Span]
    t3: Optional[Span]
    t4: Optional[Span]
    recovery: Optional[RecoveryAt]
    platform: Optional[Recovery]
    detection: Optional[Span]
    drain: Optional[Mapping[str, Any]]
    cold: Optional[Mapping[str, Any]]
    differences: tuple[str, ...]
    undone_by: Optional[str]
    events: Mapping[str, Any]
    steady_before: bool
    steady_after: bool
    undone_before: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    error: Optional[str] = None
    n: int = 1
    alerts: Optional[Mapping[str, Any]] = None
    silence: Optional[Mapping[str, Any]] = None

    def to_plain(self) -> dict[str, Any]:
        """As modules return it."""
        same = {field.name: getattr(self, field.name) for field in fields(self) if field.name in _AS_THEY_ARE}
        return {
            **same,
            "plan": dict(self.plan),
            "proof": dict(self.proof),
            "injected": _moment(self.injected),
            "healed": _moment(self.healed),
            "lanes": [lane.to_plain(self.baseline_start_ns) for lane in self.lanes],
            **{f"{name}_s": plain_span(getattr(self, name)) for name in ("t1", "t2", "t3", "t4")},
            "recovery": None if self.recovery is None else self.recovery.to_plain(),
            "shorter_than_s": None if self.platform is None else self.platform.shorter_than_s,
            "at_least_s": None if self.platform is None else self.platform.at_least_s,
            "why": "" if self.platform is None else self.platform.why,
            "detection": {"health": plain_span(self.detection), "alerts": self.alerts and dict(self.alerts)},
            "silence": self.silence and dict(self.silence),
            "drain": None if self.drain is None else dict(self.drain),
            "cold": None if self.cold is None else dict(self.cold),
            "events": dict(self.events),
            "restored": {"differences": list(self.differences)},
            "undone_before": list(self.undone_before),
            "problems": list(self.problems),
        }


_AS_THEY_ARE = frozenset(
    {"mode", "service", "unit", "runtime", "action", "boot_id", "started_us", "duration_s", "zero", "ended_ns"}
    | {"baseline_start_ns", "mechanism", "undone_by", "steady_before", "steady_after", "error", "n"}
)


def _moment(moment: Optional[Moment]) -> Optional[list[int]]:
    return None if moment is None else [moment.low_ns, moment.high_ns]
