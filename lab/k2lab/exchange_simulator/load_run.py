# SPDX-License-Identifier: Apache-2.0
"""A load run: for a bounded time a schedule fixed in advance replaces the base rate, which then comes back by itself.

Waiting: the base rate goes on until the run begins, or until a stretch of quiet before it, in which whoever keeps a
ledger can see where everything stands. Running: only the run's trades are sent, late ones at once. Quiet: nothing is
sent, so that what was stored can be compared with what was sent. Then the base rate returns as it was. All of it is
timed by this process: whoever asked for the run may die, and the undo still happens.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from dataclasses import dataclass, field, replace
from enum import Enum

from k2lab.exchange_simulator.driver import Driver
from k2lab.exchange_simulator.exchange import Exchanges
from k2lab.exchange_simulator.lateness import Lateness
from k2lab.exchange_simulator.load_schedule import LoadSchedule, arrivals
from k2lab.exchange_simulator.schedule import Arrival

log = logging.getLogger(__name__)

MAX_TRADES = 2_000_000  # of one run; 16 MB, drawn within two seconds
GIVE_UP_AFTER_S = 10.0  # from the end of the schedule: what is later than that is not sent at all
STEP_S = 0.1  # a wall clock that moves this far against the monotonic one was set, not slewed


class State(Enum):
    """Where a run is in its life."""

    WAITING = "waiting"
    RUNNING = "running"
    QUIET = "quiet"
    FINISHED = "finished"
    ENDED_EARLY = "ended early"


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for: trades/s of all exchanges together, and times (microseconds since the epoch, seconds)."""

    trades_per_second: float
    seconds: float
    arrival: Arrival
    seed: int
    start_us: int
    quiet_before_s: float
    quiet_after_s: float
    by: str
    id: str = field(default_factory=lambda: secrets.token_hex(4))


class LoadRun:
    """One run, from its order to the return of the base rate. Lives in the running loop."""

    def __init__(self, order: Order, exchanges: Exchanges, driver: Driver) -> None:
        self.order = order
        self.id = order.id
        self.state = State.WAITING
        self._exchanges = exchanges
        self._driver = driver
        self._loop = asyncio.get_running_loop()
        self._start = time.monotonic() + (order.start_us - _now_us()) / 1e6
        rate = order.trades_per_second / len(exchanges)
        # From the seed and the exchange alone: neither the other exchanges nor what was sent before moves a trade.
        self._schedules = {
            name: LoadSchedule(
                arrivals(order.arrival, rate, order.seconds, f"{order.seed}/load/{name}"),
                rate,
                self._start,
                order.start_us,
            )
            for name in exchanges
        }
        self._ended_us: int | None = None
        self._cpu_s = 0.0
        self._interrupted: str | None = None
        self._timer = self._loop.call_at(self._at(self._start - order.quiet_before_s), self._take_over)

    @property
    def active(self) -> bool:
        """Whether the base rate is replaced, or is going to be."""
        return self.state in {State.WAITING, State.RUNNING, State.QUIET}

    def end(self) -> None:
        """End the run and its quiet at once; no effect on one that is over."""
        if self.state is State.WAITING:
            self._ended_us = _now_us()
        elif self.state is State.RUNNING:
            self._stop_sending()
        if self.active:
            self._return(State.FINISHED if self.state is State.QUIET else State.ENDED_EARLY)

    def stop(self) -> None:
        """End the run now as if it had been ordered no longer: what is late is sent, then its quiet begins.

        No effect unless it sends, or when its time is over anyway.
        """
        seconds = time.monotonic() - self._start
        if self.state is State.RUNNING and seconds < self.order.seconds:
            self._timer.cancel()
            self.order = replace(self.order, seconds=seconds)
            for schedule in self._schedules.values():
                schedule.cut(self._start + seconds)
            self._drain()

    def status(self) -> dict[str, object]:
        """What GET /load tells."""
        lateness = Lateness()
        for schedule in self._schedules.values():
            lateness.merge(schedule.lateness)
        counts = {
            name: {
                "scheduled": schedule.scheduled,
                "sent": schedule.sent,
                "unsent": schedule.scheduled - schedule.sent,
                "heard": schedule.heard,
            }
            for name, schedule in self._schedules.items()
        }
        order = self.order
        return {
            "state": self.state.value,
            "id": self.id,
            "by": order.by,
            "trades_per_second": order.trades_per_second,
            "seconds": order.seconds,
            "schedule": order.arrival.value,
            "seed": order.seed,
            "quiet_before_s": order.quiet_before_s,
            "quiet_after_s": order.quiet_after_s,
            "start_us": order.start_us,
            "end_us": order.start_us + round(order.seconds * 1e6),
            "ended_us": self._ended_us,
            "exchanges": counts,
            "lateness": lateness.plain(),
            "cpu_s": _cpu_s() - self._cpu_s if self.state is State.RUNNING else self._cpu_s,
            "interrupted": self._interrupted,
        }

    def _take_over(self) -> None:
        """The base rate ends; nothing of the run is due yet."""
        for name, exchange in self._exchanges.items():
            exchange.tick(self._start - self.order.quiet_before_s)  # what the base rate still owes for the time before
            exchange.load = self._schedules[name]
        self._timer = self._loop.call_at(self._at(self._start), self._begin)

    def _begin(self) -> None:
        self.state, self._cpu_s = State.RUNNING, _cpu_s()
        self._driver.reschedule()
        log.info("load %s of %g trades/s begins", self.id, self.order.trades_per_second)
        self._timer = self._loop.call_at(self._at(self._start + self.order.seconds), self._drain)

    def _drain(self) -> None:
        """From the end of the schedule on: wait until what is late is sent, or has become too late."""
        too_late = self._start + self.order.seconds + GIVE_UP_AFTER_S
        if time.monotonic() < too_late and not all(schedule.done for schedule in self._schedules.values()):
            self._timer = self._loop.call_later(0.01, self._drain)
            return
        self._begin_quiet()

    def _begin_quiet(self) -> None:
        self._stop_sending()
        self.state = State.QUIET
        self._timer = self._loop.call_later(self.order.quiet_after_s, self._return, State.FINISHED)

    def _stop_sending(self) -> None:
        for schedule in self._schedules.values():
            schedule.give_up()
        self._ended_us = _now_us()
        self._cpu_s = _cpu_s() - self._cpu_s
        failures = [f"{name}: {exchange.failure}" for name, exchange in self._exchanges.items() if exchange.failure]
        moved = (self._ended_us - self.order.start_us) / 1e6 - (time.monotonic() - self._start)
        if abs(moved) > STEP_S:
            failures.append(f"the wall clock was moved by {moved:+.3f} s")
        self._interrupted = "; ".join(failures) or None

    def _return(self, state: State) -> None:
        self._timer.cancel()
        self.state = state
        now = time.monotonic()
        for exchange in self._exchanges.values():
            exchange.load = None
            if exchange.running:
                exchange.schedule.start(now)
        self._driver.reschedule()
        log.info("load %s %s", self.id, state.value)

    def _at(self, monotonic: float) -> float:
        """A time of the monotonic clock on the loop's own."""
        return self._loop.time() + monotonic - time.monotonic()


def _now_us() -> int:
    return time.time_ns() // 1000


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system
