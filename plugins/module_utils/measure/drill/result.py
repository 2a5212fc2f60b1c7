# SPDX-License-Identifier: Apache-2.0
"""What a drill came to, as data that travels: to the verdict, which decides, and to the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from .seen import Occurrence

LIVE = "live"
SYNTHETIC = "synthetic"
ALWAYS = "always"


@dataclass
class AlertSeen:
    """One alert: how it was brought about, what it did, and what keeps that from meaning anything (``problems``).

    ``others`` are label sets under which it fired that are not the expected ones. ``evaluation`` is what its expression
    came to where it did not fire. ``for_s`` and ``interval_s`` (between evaluations) are those of the deployed rule,
    ``drilled_for_s`` that of the drill. ``caused_us`` bounds the fault's beginning, ``ended_us`` its end.
    """

    name: str
    kind: str
    expected_labels: Mapping[str, str]
    why: str = ""
    fault: Optional[str] = None
    mode: Optional[str] = None
    for_s: float = 0.0
    interval_s: float = 0.0
    drilled_for_s: float = 0.0
    caused_us: Optional[tuple[int, int]] = None
    ended_us: Optional[tuple[int, int]] = None
    occurrence: Optional[Occurrence] = None
    others: tuple[Mapping[str, str], ...] = ()
    evaluation: Optional[Mapping[str, Any]] = None
    runbook: Optional[Mapping[str, Any]] = None
    ended_by: str = ""
    problems: list[str] = field(default_factory=list)

    def to_plain(self) -> dict[str, Any]:
        """As modules return it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "why": self.why,
            "fault": self.fault,
            "mode": self.mode,
            "for_s": self.for_s,
            "interval_s": self.interval_s,
            "drilled_for_s": self.drilled_for_s,
            "expected_labels": dict(self.expected_labels),
            "caused_us": None if self.caused_us is None else list(self.caused_us),
            "ended_us": None if self.ended_us is None else list(self.ended_us),
            "seen": None if self.occurrence is None else self.occurrence.to_plain(),
            "others": [dict(each) for each in self.others],
            "evaluation": None if self.evaluation is None else dict(self.evaluation),
            "runbook": None if self.runbook is None else dict(self.runbook),
            "ended_by": self.ended_by,
            "problems": list(self.problems),
        }


@dataclass(frozen=True)
class DeadManSeen:
    """Whether somebody notices that the watchdog's alert is missing. Times in microseconds since the epoch.

    ``heard_us`` is the last time it arrived before the path was cut, ``noticed_us`` when its absence was noticed (more
    than ``within_s`` without it), ``back_us`` when it arrived again.
    """

    alert: str
    cut: str
    within_s: float
    cut_us: Optional[int] = None
    heard_us: Optional[int] = None
    noticed_us: Optional[int] = None
    back_us: Optional[int] = None
    problems: tuple[str, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """As modules return it."""
        return {**self.__dict__, "problems": list(self.problems)}
