# SPDX-License-Identifier: Apache-2.0
"""Time as the engine uses it: monotonic nanoseconds for durations, UTC microseconds for people and joins.

A monotonic reading means something only within one boot of one host, hence ``boot_id`` beside it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

NS_PER_S = 1_000_000_000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def monotonic_ns() -> int:
    """CLOCK_MONOTONIC in nanoseconds."""
    return time.monotonic_ns()


def utc_us() -> int:
    """Microseconds since the epoch, UTC."""
    return time.time_ns() // 1000


def rfc3339(us: int) -> str:
    """``us`` (microseconds since the epoch) as RFC 3339 with six decimals and ``Z``."""
    seconds, micros = divmod(us, 1_000_000)
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S") + f".{micros:06d}Z"


def now_rfc3339() -> str:
    """The present time as RFC 3339 with microseconds."""
    return rfc3339(utc_us())


def microseconds(text: str) -> int:
    """The moment that an RFC 3339 text means; Python before 3.11 reads no ``Z`` and only 3 or 6 decimals.

    :raises ValueError: it means none.
    """
    moment, dot, rest = text.replace("Z", "+00:00").partition(".")
    if dot:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        moment += "." + rest[:digits][:6].ljust(6, "0") + rest[digits:]
    parsed = datetime.fromisoformat(moment)
    if parsed.tzinfo is None:
        raise ValueError(f"a time without a zone: {text}")
    return round(parsed.timestamp() * 1_000_000)


def boot_id() -> str:
    """The kernel's id of this boot; empty where the kernel has none (then monotonic readings cannot be joined)."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


@dataclass(frozen=True)
class ClockReading:
    """One reading of a host's clocks, taken together."""

    utc_us: int
    monotonic_ns: int
    boot_id: str


def read_clock() -> ClockReading:
    """Read this host's clocks."""
    return ClockReading(utc_us=utc_us(), monotonic_ns=monotonic_ns(), boot_id=boot_id())


@dataclass(frozen=True)
class Deadline:
    """A point in monotonic time that a wait must not pass.

    Passing the deadline down a chain of calls, instead of a timeout to each, keeps the whole within what was promised.
    """

    at_ns: int

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The deadline ``seconds`` from now."""
        return cls(time.monotonic_ns() + int(seconds * NS_PER_S))

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, (self.at_ns - time.monotonic_ns()) / NS_PER_S)

    @property
    def passed(self) -> bool:
        """Whether the deadline is over."""
        return time.monotonic_ns() >= self.at_ns
