# SPDX-License-Identifier: Apache-2.0
"""The wall clock, in the unit every record and table of the lab uses."""

from __future__ import annotations

import datetime as dt
import time


def now_us() -> int:
    """Microseconds since the Unix epoch (UTC)."""
    return time.time_ns() // 1000


def rfc3339(moment: dt.datetime) -> str:
    """The moment in UTC with microseconds; such texts sort as the moments do."""
    return moment.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
