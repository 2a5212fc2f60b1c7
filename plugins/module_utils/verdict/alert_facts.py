# SPDX-License-Identifier: Apache-2.0
"""What a drill told of one alert, read once, before anything is decided on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ..core.errors import K2Error

LIVE = "live"
SYNTHETIC = "synthetic"
ALWAYS = "always"


class DrillFactsError(K2Error):
    """What was handed over is no result of a drill."""


@dataclass(frozen=True)
class DrilledAlert:
    """One alert as drilled. Times in microseconds since the epoch, (at least, at most) where they are bounds."""

    plain: Mapping[str, Any]
    name: str
    kind: str
    why: str
    fault: Optional[str]
    mode: Optional[str]
    for_s: float
    interval_s: float
    expected_labels: Mapping[str, str]
    caused_us: Optional[tuple[int, int]]
    ended_us: Optional[tuple[int, int]]
    labels: Optional[Mapping[str, str]]
    pending_us: Optional[int]
    firing_us: Optional[int]
    over_us: Optional[tuple[int, int]]
    delivered_us: Optional[int]
    delivered_labels: Optional[Mapping[str, str]]
    resolved_delivered_us: Optional[int]
    value: Optional[str]
    runbook: Optional[Mapping[str, Any]]
    others: tuple[Mapping[str, str], ...]
    evaluation: Optional[Mapping[str, Any]]
    problems: tuple[str, ...]

    @property
    def fired(self) -> bool:
        """Whether it fired under the labels that it has to have."""
        return self.firing_us is not None


def read_alert(plain: Mapping[str, Any]) -> DrilledAlert:
    """Read one alert of ``k2_alert_drill``'s result.

    :raises DrillFactsError: it is none.
    """
    try:
        seen = plain["seen"] or {}
        kind = str(plain["kind"])
        if kind not in (LIVE, SYNTHETIC, ALWAYS, ""):
            raise ValueError(f"unknown kind {kind!r}")
        return DrilledAlert(
            plain=plain,
            name=str(plain["name"]),
            kind=kind,
            why=str(plain["why"] or ""),
            fault=plain["fault"],
            mode=plain["mode"],
            for_s=float(plain["for_s"]),
            interval_s=float(plain["interval_s"]),
            expected_labels=dict(plain["expected_labels"]),
            caused_us=_bounds(plain["caused_us"]),
            ended_us=_bounds(plain["ended_us"]),
            labels=seen.get("labels"),
            pending_us=_moment(seen.get("pending_us")),
            firing_us=_moment(seen.get("firing_us")),
            over_us=_bounds(seen.get("over_us")),
            delivered_us=_moment(seen.get("delivered_us")),
            delivered_labels=seen.get("delivered_labels"),
            resolved_delivered_us=_moment(seen.get("resolved_delivered_us")),
            value=seen.get("value"),
            runbook=plain["runbook"],
            others=tuple(plain["others"]),
            evaluation=plain["evaluation"],
            problems=tuple(map(str, plain["problems"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DrillFactsError(
            "the result of a drill cannot be read",
            expected="what k2_alert_drill returns as drill.alerts",
            seen=f"{type(error).__name__}: {error}",
        ) from error


def _moment(value: Any) -> Optional[int]:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is no moment")
    return value


def _bounds(value: Any) -> Optional[tuple[int, int]]:
    if value is None:
        return None
    low, high = (_moment(each) for each in value)
    if low is None or high is None or low > high:
        raise ValueError(f"{value!r} are no bounds")
    return low, high
