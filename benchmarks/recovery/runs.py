# SPDX-License-Identifier: Apache-2.0
"""One scripted downtime, measured by the engine's samplers and, beside them, the way chaostoolkit does."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.model import Lane, LaneKind
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.sampler import Sampler
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.samplers import Samplers
from ansible_collections.k2.hardening.plugins.module_utils.platform.probe import run_probe
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import HttpProbe
from benchmarks.recovery.service import service

INTERVAL_S = 0.25
TIMEOUT_S = 1.0
SETTLE_S = 2.0
_STEADY_S = 60.0
_BACK_S = 60.0


@dataclass(frozen=True)
class Moment:
    low_ns: int
    high_ns: int


@dataclass(frozen=True)
class Run:
    """What one run measured of a downtime between ``truth_low_s`` and ``truth_high_s``.

    ``upper_s`` is None where nothing bounds it. Pausing, ``paused_s`` is the time from the act until the second probe
    had answered, and ``paused_ok`` its answer: back within that time, or not yet.
    """

    downtime_s: float
    truth_low_s: float
    truth_high_s: float
    lower_s: float
    upper_s: float | None
    paused_s: float
    paused_ok: bool

    @property
    def covered(self) -> bool:
        """Whether the bounds hold the truth."""
        return self.upper_s is not None and self.lower_s <= self.truth_low_s and self.truth_high_s <= self.upper_s

    @property
    def width_s(self) -> float | None:
        return None if self.upper_s is None else self.upper_s - self.lower_s

    @property
    def paused_covered(self) -> bool:
        """Pausing, the bounds are nothing and the pause, or the pause and no end."""
        return (self.truth_high_s <= self.paused_s) if self.paused_ok else True


class Pausing(threading.Thread):
    """An experiment as chaostoolkit runs it: hypothesis, action, pause after it, hypothesis."""

    def __init__(self, probe: HttpProbe, pause_s: float) -> None:
        super().__init__(daemon=True)
        self._probe = probe
        self._pause_s = pause_s
        self.acted = threading.Event()
        self.took_s = 0.0
        self.ok = False

    def run(self) -> None:
        assert run_probe(self._probe, None).ok, "the hypothesis must hold before"
        self.acted.wait()
        began_ns = time.monotonic_ns()
        time.sleep(self._pause_s)
        self.ok = run_probe(self._probe, None).ok
        self.took_s = (time.monotonic_ns() - began_ns) / 1e9


def measure(downtime_s: float, pause_s: float, rng: random.Random) -> Run:
    """Take a service of its own down once, at a random phase of the samples."""
    with service() as target:
        probe = HttpProbe(f"http://127.0.0.1:{target.port}/", 200, None, TIMEOUT_S)

        def look() -> tuple[bool, str]:
            seen = run_probe(probe, None)
            return seen.ok, seen.detail

        lane = Lane("service:scripted", LaneKind.SERVICE, "scripted", None, INTERVAL_S, TIMEOUT_S)
        pausing = Pausing(probe, pause_s)
        pausing.start()
        with Samplers([Sampler(lane, look)]) as samplers:
            samplers.wait_all_ok(3, Deadline.after(_STEADY_S))
            time.sleep(rng.random() * INTERVAL_S)
            pausing.acted.set()
            truth = target.down_for(downtime_s)
            zero = Moment(truth.down_low_ns, truth.down_high_ns)
            found = samplers.wait_settled(zero, SETTLE_S, Deadline.after(_BACK_S))[lane.name]
        pausing.join()
    lower_s, upper_s = found.lower_s, found.upper_s
    if not found.fails:
        upper_s = found.shorter_than_s
    return Run(downtime_s, truth.least_s, truth.most_s, lower_s, upper_s, pausing.took_s, pausing.ok)
