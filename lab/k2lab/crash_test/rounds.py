# SPDX-License-Identifier: Apache-2.0
"""One end of a service after the other, each timed until trades sent after it are in the candles.

A service ends in two ways that leave different things half done: killed, it stops between any two instructions; stopped
in order, it refuses what is new while it finishes, or cuts off, what runs.
"""

from __future__ import annotations

import enum
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


_STOPS_WITHIN_S = 60.0


class End(enum.Enum):
    """How a service ends: SIGKILL and a restart by its supervisor, or an orderly stop and a start."""

    KILLED = "killed"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Kill:
    """One end: when (wall clock, us), and how long until fresh trades of all its exchanges were in the candles."""

    service: str
    end: End
    phase_s: float
    ended_us: int
    recovery_s: float
    found: dict[str, float]


def run_rounds(
    target: Target,
    services: Sequence[str],
    ends: Sequence[End],
    rounds: int,
    rate: float,
    seed: int,
    deadline_s: float,
    report: Callable[[Kill, int, int], None],
) -> list[Kill]:
    """End each service `rounds` times in each of the ways, in a seeded order, at seeded moments.

    Raises LabError when a service does not come back within deadline_s.
    """
    chance = random.Random(seed)
    order = [(service, end) for service in services for end in ends for _ in range(rounds)]
    chance.shuffle(order)
    kills = []
    for service, end in order:
        phase_s = chance.uniform(*_PHASE_S)
        time.sleep(phase_s)  # the phase of the kill is the experiment; nothing is waited for
        kill = _end(target, service, end, phase_s, rate, deadline_s)
        kills.append(kill)
        report(kill, len(kills), len(order))
    return kills


def _end(target: Target, service: str, end: End, phase_s: float, rate: float, deadline_s: float) -> Kill:
    pid = target.running_pid(service)
    if pid is None:
        raise LabError(f"{service} running before its end", "it is not", f"see {target.lab.log(service)}")
    ended_us, started = now_us(), time.monotonic()
    if end is End.KILLED:
        os.kill(pid, signal.SIGKILL)
    else:
        target.restart(service, _STOPS_WITHIN_S)
    _wait(lambda: target.running_pid(service) not in (None, pid), f"a new process of {service}", deadline_s)
    if service == SIMULATOR:
        _wait(lambda: _accepts_rate(target, rate), "the simulator's control interface", deadline_s)
    exchanges = target.exchanges_behind(service)

    def fresh() -> bool:
        newest = target.freshest_us()
        return all(newest.get(exchange, 0) > ended_us for exchange in exchanges)

    _wait(fresh, f"trades sent after {service} was {end.value} in the candles of {', '.join(exchanges)}", deadline_s)
    return Kill(service, end, round(phase_s, 3), ended_us, round(time.monotonic() - started, 3), target.recoveries())


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
