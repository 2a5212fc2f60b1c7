"""A service with a scripted state and a sampler of it, both without real time: seconds as whole nanoseconds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.model import Sample

S = 1_000_000_000


@dataclass(frozen=True)
class At:
    low_ns: int
    high_ns: int


@dataclass(frozen=True)
class Sampling:
    """How a service is sampled. A look sees the service at one moment somewhere between its start and its end."""

    interval_s: float
    phase_s: float
    slowest_s: float
    timeout_s: float
    hang: float = 0.0  # how often a look at a dead service takes until its timeout
    late: float = 0.0  # how often a look shows nothing
    lost: float = 0.0  # how often there is no look


def is_up(downs: Sequence[tuple[int, int]], moment: int) -> bool:
    return not any(low <= moment < high for low, high in downs)


def sampled(downs: Sequence[tuple[int, int]], how: Sampling, until_ns: int, rng: random.Random) -> list[Sample]:
    samples: list[Sample] = []
    step, slot = int(how.interval_s * S), int(how.phase_s * S)
    while slot < until_ns:
        start = slot + int(rng.random() * 0.02 * S)
        took = int(rng.random() ** 3 * how.slowest_s * S)
        look = start + int(rng.random() * took)
        up = is_up(downs, look)
        if not up and rng.random() < how.hang:
            took = max(took, int(how.timeout_s * S))
        end = start + took
        if rng.random() < how.lost:
            pass
        elif rng.random() < how.late:
            samples.append(Sample(start, end, False, "late", proof=False))
        else:
            samples.append(Sample(start, end, up, "" if up else "refused"))
        slot += step * max(1, -(-(end - slot) // step))
    return samples
