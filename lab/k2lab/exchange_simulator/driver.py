# SPDX-License-Identifier: Apache-2.0
"""One timer for all exchanges: at 2,000 trades/s one wake-up per millisecond serves the three of them."""

from __future__ import annotations

import asyncio
import math
import time

from k2lab.exchange_simulator.exchange import Exchanges

_MIN_SLEEP_S = 0.0005  # bounds the wake-ups; what falls due within it leaves in one batch
_HEARTBEAT_INTERVAL_S = 1.0


class Driver:
    """Wakes up when the next trade of any exchange is due."""

    def __init__(self, exchanges: Exchanges) -> None:
        self._exchanges = exchanges
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._heartbeat: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to send."""
        self.reschedule()
        self._beat()

    def stop(self) -> None:
        """Send nothing any more."""
        for timer in (self._timer, self._heartbeat):
            if timer is not None:
                timer.cancel()

    def reschedule(self) -> None:
        """Look at the schedules again; call it after any change to one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        next_due = min(exchange.next_due for exchange in self._exchanges.values())
        if not math.isinf(next_due):
            self._timer = self._loop.call_later(max(next_due - time.monotonic(), _MIN_SLEEP_S), self._tick)

    def _tick(self) -> None:
        self._timer = None
        for exchange in self._exchanges.values():
            exchange.tick(time.monotonic())
        self.reschedule()

    def _beat(self) -> None:
        now = time.monotonic()
        for exchange in self._exchanges.values():
            exchange.heartbeat(now)
        self._heartbeat = self._loop.call_later(_HEARTBEAT_INTERVAL_S, self._beat)
