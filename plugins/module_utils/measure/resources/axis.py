# SPDX-License-Identifier: Apache-2.0
"""One axis of time for a window, whatever happened to clocks and kernels meanwhile. Standard library only.

Within a boot the monotonic clock counts. Over a reboot only the wall clock is left, and a step of it would not be seen:
such a stretch counts as a hole, of the length that the wall clock tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

# A gap is a hole when one tick at least is missing in it.
HOLE_FACTOR = 1.5
# NTP slews by 500 ppm at most, which is 2.5 ms in 5 s; what is more was set by hand, by a step, or by a sleep.
STEP_S = 0.1


@dataclass(frozen=True)
class Moment:
    """A tick by both clocks."""

    wall_us: int
    monotonic_ns: int
    boot_id: str


@dataclass(frozen=True)
class Hole:
    """A stretch without samples: where it begins, how much of it is missing, and whether a reboot is in it."""

    at_s: float
    missing_s: float
    reboot: bool


@dataclass(frozen=True)
class ClockStep:
    """The wall clock went another way than the monotonic one; ``by_s`` is above zero when it went ahead."""

    at_s: float
    by_s: float


@dataclass(frozen=True)
class Axis:
    """Seconds of each tick since the window began, and what is wrong between them."""

    at_s: tuple[float, ...]
    holes: tuple[Hole, ...]
    steps: tuple[ClockStep, ...]


def axis_of(start: Moment, moments: Iterable[Moment], interval_s: float) -> Axis:
    """The axis of ticks at ``moments`` in a window that began at ``start`` and looks every ``interval_s``."""
    at_s: list[float] = []
    holes: list[Hole] = []
    steps: list[ClockStep] = []
    now, before = 0.0, start
    for moment in moments:
        wall_s = (moment.wall_us - before.wall_us) / 1e6
        reboot = moment.boot_id != before.boot_id
        passed_s = max(0.0, wall_s) if reboot else (moment.monotonic_ns - before.monotonic_ns) / 1e9
        if not reboot and abs(wall_s - passed_s) > STEP_S:
            steps.append(ClockStep(now + passed_s, wall_s - passed_s))
        if passed_s > HOLE_FACTOR * interval_s or reboot:
            # The first tick of a window is due at once.
            due_s = interval_s if at_s else 0.0
            holes.append(Hole(now, max(0.0, passed_s - due_s), reboot))
        now += passed_s
        at_s.append(now)
        before = moment
    return Axis(tuple(at_s), tuple(holes), tuple(steps))


def wall_us(text: str) -> int:
    """RFC 3339 with six decimals and ``Z`` as microseconds since the epoch. Raises ValueError."""
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


def moments_of(ticks: Sequence[object]) -> list[Moment]:
    """The moments of rows that have ``time``, ``monotonic_ns`` and ``boot_id``."""
    return [Moment(wall_us(row.time), row.monotonic_ns, row.boot_id) for row in ticks]  # type: ignore[attr-defined]
