# SPDX-License-Identifier: Apache-2.0
"""What a measured fault brought back, read once into values; what is of another shape is refused, never guessed.

All times are seconds of the target's monotonic clock since the start of the baseline, but for spans, which count from
time zero (the injection or the heal) as the measurement tells them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..core.errors import K2Error
from ..measure.recovery.result import NO_PROOF

_NS_PER_S = 1e9


class FailureFactsError(K2Error):
    """What should be the result of a fault is none."""


@dataclass(frozen=True)
class Bounds:
    """An interval that contains the truth (seconds)."""

    low_s: float
    high_s: float


@dataclass(frozen=True)
class Look:
    """One sample. ``failed`` is that it shows a failure; one that is neither ok nor failed shows nothing."""

    start_s: float
    end_s: float
    ok: bool
    failed: bool


@dataclass(frozen=True)
class WatchedLane:
    """One thing that was sampled around the fault; ``service`` is None for the flow of an exchange."""

    name: str
    kind: str
    service: Optional[str]
    exchange: Optional[str]
    interval_s: float
    timeout_s: float
    looks: tuple[Look, ...]

    @property
    def sure_to_see_s(self) -> float:
        """What is down for longer than this is seen to be: one look at its timeout, and the next."""
        return 2 * (self.interval_s + self.timeout_s)

    def since(self, moment_s: float) -> tuple[Look, ...]:
        """The looks that may have seen what was at ``moment_s`` or later."""
        return tuple(look for look in self.looks if look.end_s >= moment_s)


@dataclass(frozen=True)
class MeasuredFault:
    """One fault on one service. ``plain`` is the result as it came, for the record."""

    plain: Mapping[str, Any]
    mode: str
    service: str
    action: str
    zero: str
    started_us: int
    injected: Optional[Bounds]
    healed: Optional[Bounds]
    ended_s: float
    proven: bool
    proof: str
    mechanism: Optional[str]
    lanes: tuple[WatchedLane, ...]
    served: Optional[Bounds]
    drained: Optional[Bounds]
    caught_up: Optional[Bounds]
    point: Optional[str]
    recovery: Optional[Bounds]
    shorter_than_s: Optional[float]
    at_least_s: float
    health: Optional[Bounds]
    alerts: Optional[Mapping[str, Any]]
    drain: Optional[Mapping[str, Any]]
    cold: Optional[Mapping[str, Any]]
    differences: Optional[tuple[str, ...]]
    undone_by: Optional[str]
    steady_before: bool
    steady_after: bool
    n: int
    problems: tuple[str, ...]
    error: Optional[str]

    @property
    def zero_at(self) -> Optional[Bounds]:
        """Time zero; None where what it counts from did not happen."""
        return self.healed if self.zero == "heal" else self.injected

    @property
    def own(self) -> tuple[WatchedLane, ...]:
        """The lanes of the service that was hit."""
        return tuple(lane for lane in self.lanes if lane.service == self.service)

    @property
    def watched_s(self) -> float:
        """How long it was watched from time zero on, at least; 0 without a time zero."""
        return 0.0 if self.zero_at is None else max(0.0, self.ended_s - self.zero_at.high_s)

    @property
    def fault_end_s(self) -> Optional[float]:
        """When the service was back after an instant, or the fault was ended that was held; at the latest.

        None where nobody knows: one that failed again after it had settled was away for longer than was bounded.
        """
        if self.injected is None:
            return None
        if self.healed is not None:
            return self.healed.high_s
        away_s = self.served.high_s if self.served is not None else self.shorter_than_s
        return None if away_s is None else self.injected.high_s + away_s


def read_fault(plain: Mapping[str, Any]) -> MeasuredFault:
    """Read the result of one fault.

    :raises FailureFactsError: it is none.
    """
    try:
        base_ns = int(plain["baseline_start_ns"])
        proof = plain["proof"] or {}
        recovery = plain["recovery"]
        restored = plain["restored"]
        fault = MeasuredFault(
            plain=plain,
            mode=str(plain["mode"]),
            service=str(plain["service"]),
            action=str(plain["action"]),
            zero=_one_of(plain["zero"], ("injection", "heal")),
            started_us=int(plain["started_us"]),
            injected=_moment(plain["injected"], base_ns),
            healed=_moment(plain["healed"], base_ns),
            ended_s=_number(plain["ended_ns"] - base_ns) / _NS_PER_S,
            # Nothing but true is proof: a text or a number is not.
            proven=proof.get("proven") is True,
            proof=str(proof.get("what") or "nobody looked"),
            mechanism=plain["mechanism"],
            lanes=tuple(_lane(lane) for lane in plain["lanes"]),
            served=_span(plain["t2_s"]),
            drained=_span(plain["t3_s"]),
            caught_up=_span(plain["t4_s"]),
            point=None if recovery is None else str(recovery["point"]),
            recovery=None if recovery is None else _span([recovery["low_s"], recovery["high_s"]]),
            shorter_than_s=_optional(plain["shorter_than_s"]),
            at_least_s=_optional(plain.get("at_least_s")) or 0.0,
            health=_span((plain["detection"] or {}).get("health")),
            alerts=(plain["detection"] or {}).get("alerts"),
            drain=plain["drain"],
            cold=plain["cold"],
            differences=None if restored is None else tuple(str(text) for text in restored["differences"]),
            undone_by=plain["undone_by"],
            steady_before=plain["steady_before"] is True,
            steady_after=plain["steady_after"] is True,
            n=int(plain["n"]),
            problems=tuple(str(text) for text in plain["problems"]),
            error=plain["error"],
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise FailureFactsError(
            "the result of a fault cannot be read",
            expected="what k2_kill_and_measure returns as failure",
            seen=f"{type(error).__name__}: {error}",
        ) from error
    return fault


def _lane(plain: Mapping[str, Any]) -> WatchedLane:
    return WatchedLane(
        name=str(plain["name"]),
        kind=_one_of(plain["kind"], ("process", "service", "flow")),
        service=plain["service"],
        exchange=plain["exchange"],
        interval_s=_number(plain["interval_s"]),
        timeout_s=_number(plain["timeout_s"]),
        looks=tuple(_look(sample) for sample in plain["samples"]),
    )


def _look(sample: Sequence[Any]) -> Look:
    start_ms, end_ms, ok, error = sample
    failed = not ok and not str(error).startswith(NO_PROOF)
    return Look(_number(start_ms) / 1e3, _number(end_ms) / 1e3, bool(ok), failed)


def _moment(plain: Optional[Sequence[int]], base_ns: int) -> Optional[Bounds]:
    return None if plain is None else _ordered([(end - base_ns) / _NS_PER_S for end in plain])


def _span(plain: Optional[Sequence[float]]) -> Optional[Bounds]:
    return None if plain is None else _ordered([_number(end) for end in plain])


def _ordered(ends: Sequence[float]) -> Bounds:
    low, high = ends
    if low > high:
        raise ValueError(f"the interval {low} .. {high} ends before it begins")
    return Bounds(low, high)


def _optional(value: Any) -> Optional[float]:
    return None if value is None else _number(value)


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number) or isinstance(value, bool):
        raise ValueError(f"{value!r} is no number")
    return number


def _one_of(value: Any, known: Sequence[str]) -> str:
    if value not in known:
        raise ValueError(f"{value!r} is none of {', '.join(known)}")
    return str(value)
