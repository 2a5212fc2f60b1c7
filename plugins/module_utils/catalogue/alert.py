# SPDX-License-Identifier: Apache-2.0
"""An alert as the catalogue has it, before a platform's names and numbers are put in."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

# [[name]]: a metric, a threshold of the alert, or what ``each`` gives.
PLACEHOLDER = re.compile(r"\[\[(\w+)\]\]")
_DURATION = re.compile(r"^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$")
_UNITS_S = (86400, 3600, 60, 1)


def seconds(text: str) -> int:
    """The seconds of a Prometheus duration such as ``1m30s``; raises ValueError."""
    match = _DURATION.match(text)
    if match is None or not text:
        raise ValueError("a duration looks like 30s, 5m or 1h30m")
    return sum(int(count) * unit for count, unit in zip(match.groups(), _UNITS_S) if count)


def duration(amount_s: int) -> str:
    """The Prometheus duration of so many seconds."""
    parts = []
    for unit_s, letter in zip(_UNITS_S, "dhms"):
        count, amount_s = divmod(amount_s, unit_s)
        if count:
            parts.append(f"{count}{letter}")
    return "".join(parts) or "0s"


class Severity(enum.Enum):
    """What an alert asks for: somebody at once, somebody in the day, or nobody."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Each(enum.Enum):
    """What an alert has one rule for each of."""

    EXCHANGE = "exchange"
    JOB = "job"


# The placeholders that each gives.
GIVEN = {Each.EXCHANGE: ("exchange", "service"), Each.JOB: ("job", "service")}


class Expect(enum.Enum):
    """What a rule test expects of the alert."""

    FIRING = "firing"
    SILENT = "silent"


class DrillKind(enum.Enum):
    """How an alert is proven on the platform."""

    LIVE = "live"
    HELD = "held"
    SCALED = "scaled"
    SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class Metric:
    """A metric by the engine's name: what it means, and the labels that its series need."""

    name: str
    meaning: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class RuleCase:
    """One rule test: series and their values (promtool's notation), and the alert's state ``at_s`` after the start.

    ``labels`` are those of a firing alert beyond the ones that the entry states for all.
    """

    at_s: int
    series: Mapping[str, str]
    expect: Expect
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Cases:
    """The rule tests of an alert; ``below`` is None where it has no threshold to stay below."""

    fires: RuleCase
    below: Optional[RuleCase]
    absent: RuleCase


@dataclass(frozen=True)
class Drill:
    """How the alert is brought about: ``mode`` is the failure mode, held for ``hold_s`` where that is not its own time.

    ``reason`` says why no fault can do it.
    """

    kind: DrillKind
    mode: Optional[str]
    hold_s: Optional[float]
    reason: Optional[str]


@dataclass(frozen=True)
class Alert:
    """One entry. ``expr``, ``labels`` and the texts hold placeholders; ``thresholds`` are numbers or durations as text.

    ``meta`` alerts watch the monitoring itself.
    """

    name: str
    meta: bool
    each: Optional[Each]
    expr: str
    thresholds: Mapping[str, str]
    for_s: int
    keep_firing_for_s: int
    severity: Severity
    component: str
    labels: Mapping[str, str]
    summary: str
    description: str
    failure_modes: tuple[str, ...]
    runbook: str
    dashboard: str
    drill: Drill
    cases: Cases

    @property
    def placeholders(self) -> frozenset[str]:
        """The names that stand in its expression, labels and texts."""
        texts = (self.expr, self.summary, self.description, *self.labels.values())
        return frozenset(name for text in texts for name in PLACEHOLDER.findall(text))

    def metrics(self, known: Mapping[str, Metric]) -> tuple[str, ...]:
        """The engine's names of the metrics that its expression reads, in their order there."""
        return tuple(dict.fromkeys(name for name in PLACEHOLDER.findall(self.expr) if name in known))


@dataclass(frozen=True)
class Catalogue:
    """All alerts, the metrics they may read and the failure modes they may name."""

    failure_modes: tuple[str, ...]
    metrics: Mapping[str, Metric]
    alerts: Mapping[str, Alert]
