# SPDX-License-Identifier: Apache-2.0
"""The commands of the control interface that begin, end and show a load run."""

from __future__ import annotations

import time

from k2lab.exchange_simulator.driver import Driver
from k2lab.exchange_simulator.exchange import Exchanges
from k2lab.exchange_simulator.load_run import MAX_TRADES, LoadRun, Order
from k2lab.exchange_simulator.request import BadRequestError, Body, ConflictError, choice, number, only, text, whole
from k2lab.exchange_simulator.schedule import Arrival

MAX_SECONDS = 86_400.0
MAX_AHEAD_S = 3600.0


class LoadControl:
    """Holds the current or last run."""

    def __init__(self, exchanges: Exchanges, driver: Driver) -> None:
        self._exchanges = exchanges
        self._driver = driver
        self._run: LoadRun | None = None

    def show(self) -> dict[str, object]:
        """GET /load."""
        return {"state": "none"} if self._run is None else self._run.status()

    def begin(self, body: Body) -> object:
        """POST /load."""
        only(
            body,
            "trades_per_second",
            "seconds",
            "schedule",
            "seed",
            "start_at_us",
            "quiet_before_s",
            "quiet_after_s",
            "by",
            "id",
        )
        self.refuse_while_active("a second load")
        now_us = time.time_ns() // 1000
        seconds = number(body, "seconds", MAX_SECONDS)
        rate = number(body, "trades_per_second", MAX_TRADES)
        if not seconds or not rate:
            raise BadRequestError("trades_per_second and seconds: expected more than 0, got 0")
        if rate * seconds > MAX_TRADES:
            raise BadRequestError(f"expected at most {MAX_TRADES} trades in one run, got {rate * seconds:.0f}")
        start_us = whole(body, "start_at_us", now_us)
        if not now_us <= start_us <= now_us + MAX_AHEAD_S * 1e6:
            ahead_s = (start_us - now_us) / 1e6
            raise BadRequestError(f"start_at_us: expected 0 to {MAX_AHEAD_S:g} s ahead, got {ahead_s:+.3f} s")
        named = {"id": text(body, "id", "")} if body.get("id") else {}
        order = Order(
            trades_per_second=rate,
            seconds=seconds,
            arrival=Arrival(choice(body, "schedule", [kind.value for kind in Arrival], Arrival.POISSON.value)),
            seed=whole(body, "seed", 1),
            start_us=start_us,
            quiet_before_s=number(body, "quiet_before_s", MAX_SECONDS, 0.0),
            quiet_after_s=number(body, "quiet_after_s", MAX_SECONDS, 0.0),
            by=text(body, "by", "somebody"),
            **named,
        )
        self._run = LoadRun(order, self._exchanges, self._driver)
        return self._run.status()

    def stop(self, body: Body) -> object:
        """POST /load/stop."""
        if (run := self._meant(body)) is not None:
            run.stop()
        return self.show()

    def end(self, body: Body) -> object:
        """POST /load/end."""
        if (run := self._meant(body)) is not None:
            run.end()
        return self.show()

    def _meant(self, body: Body) -> LoadRun | None:
        """The run that the body's id, or its silence, means."""
        only(body, "id")
        asked, run = text(body, "id", ""), self._run
        if asked and run is not None and run.id != asked:
            if run.active:
                raise ConflictError(f"load {asked} is not running: load {run.id}, begun by {run.order.by}, is")
            return None
        return run

    def refuse_while_active(self, what: str) -> None:
        """Raise ConflictError while a run is active: whatever moved the base rate then would be undone, or undo it."""
        run = self._run
        if run is not None and run.active:
            order = run.order
            raise ConflictError(
                f"{what} has to wait: load {run.id} of {order.trades_per_second:g} trades/s for {order.seconds:g} s, "
                f"begun by {order.by} at {order.start_us} us, is {run.state.value}; POST /load/end ends it"
            )
