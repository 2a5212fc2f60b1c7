# SPDX-License-Identifier: Apache-2.0
"""The wall clock, in the unit every record and table of the lab uses."""

from __future__ import annotations

import time


def now_us() -> int:
    """Microseconds since the Unix epoch (UTC)."""
    return time.time_ns() // 1000
