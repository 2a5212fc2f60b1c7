# SPDX-License-Identifier: Apache-2.0
"""What an end excuses, and the summary of all of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from k2lab.crash_test.rounds import Kill
from k2lab.crash_test.target import HANDLER_PREFIX, SIMULATOR
from k2lab.ground_truth import Gap

# A handler that dies takes with it what it has read and not yet produced; while it is dead it reads nothing.
_BEFORE_US = 1_000_000
_OUTAGE_US = 5_000_000


@dataclass(frozen=True)
class Recovery:
    """Recovery times of one service ended in one way, seconds; `n` ends."""

    n: int
    min_s: float
    median_s: float
    max_s: float


def gaps(kills: Iterable[Kill], exchanges: Sequence[str]) -> list[Gap]:
    """Where loss upstream is natural: a dead handler's own exchange, all of a dead simulator; nowhere else."""
    found = []
    for kill in kills:
        if kill.service.startswith(HANDLER_PREFIX):
            concerned: Sequence[str] = [kill.service.removeprefix(HANDLER_PREFIX)]
        else:
            concerned = exchanges if kill.service == SIMULATOR else []
        found += [Gap(name, kill.ended_us - _BEFORE_US, kill.ended_us + _OUTAGE_US) for name in concerned]
    return found


def recoveries(kills: Iterable[Kill]) -> dict[str, Recovery]:
    """Summary by service and way: "kafka killed"."""
    times: dict[str, list[float]] = {}
    for kill in kills:
        times.setdefault(f"{kill.service} {kill.end.value}", []).append(kill.recovery_s)
    return {
        ended: Recovery(len(seconds), min(seconds), statistics.median(seconds), max(seconds))
        for ended, seconds in sorted(times.items())
    }
