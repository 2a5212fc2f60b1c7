# SPDX-License-Identifier: Apache-2.0
"""One kill after the other, each timed until trades sent after it are in the candles."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from k2lab.common.clock import now_us
from k2lab.common.errors import LabError
from k2lab.crash_test.target import SIMULATOR, Target

_POLL_S = 0.1
_PHASE_S = (0.2, 2.0)


@dataclass(frozen=True)
class Kill:
    """One kill: when (wall clock, us), and how long until fresh trades of all its exchanges were in the candles."""

    service: str
    phase_s: float
    killed_us: int
    recovery_s: float
    found: dict[str, float]


def run_rounds(
    target: Target,
    services: Sequence[str],
    rounds: int,
    rate: float,
    seed: int,
    deadline_s: float,
    report: Callable[[Kill, int, int], None],
) -> list[Kill]:
    """Kill each service `rounds` times, in a seeded order, at seeded moments.

    Raises LabError when a service does not come back within deadline_s.
    """
    chance = random.Random(seed)
    order = [service for service in services for _ in range(rounds)]
    chance.shuffle(order)
    kills = []
    for service in order:
        phase_s = chance.uniform(*_PHASE_S)
        time.sleep(phase_s)  # the phase of the kill is the experiment; nothing is waited for
        kill = _kill(target, service, phase_s, rate, deadline_s)
        kills.append(kill)
        report(kill, len(kills), len(order))
    return kills


def _kill(target: Target, service: str, phase_s: float, rate: float, deadline_s: float) -> Kill:
    pid = target.running_pid(service)
    if pid is None:
        raise LabError(f"{service} running before its kill", "it is not", f"see {target.lab.log(service)}")
    killed_us, started = now_us(), time.monotonic()
    os.kill(pid, signal.SIGKILL)
    _wait(lambda: target.running_pid(service) not in (None, pid), f"a new process of {service}", deadline_s)
    if service == SIMULATOR:
        _wait(lambda: _accepts_rate(target, rate), "the simulator's control interface", deadline_s)
    exchanges = target.exchanges_behind(service)

    def fresh() -> bool:
        newest = target.freshest_us()
        return all(newest.get(exchange, 0) > killed_us for exchange in exchanges)

    _wait(fresh, f"trades sent after the kill of {service} in the candles of {', '.join(exchanges)}", deadline_s)
    return Kill(service, round(phase_s, 3), killed_us, round(time.monotonic() - started, 3), target.recoveries())


def _accepts_rate(target: Target, rate: float) -> bool:
    try:
        target.set_rate(rate)
    except LabError:
        return False
    return True


def _wait(condition: Callable[[], bool], what: str, deadline_s: float) -> None:
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(
                f"{what} within {deadline_s:g} s", "nothing", "see the services' logs in the lab's log directory"
            )
        time.sleep(_POLL_S)
