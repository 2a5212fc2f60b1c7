# SPDX-License-Identifier: Apache-2.0
"""A load run sends what it said before it began, then is silent, then gives back the base rate by itself."""

from __future__ import annotations

import asyncio
import csv
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from k2lab.exchange_simulator import dataset
from k2lab.exchange_simulator.control import Control
from k2lab.exchange_simulator.driver import Driver
from k2lab.exchange_simulator.exchange import Exchange
from k2lab.exchange_simulator.load_schedule import LoadSchedule, arrivals
from k2lab.exchange_simulator.metrics import MetricFamilies
from k2lab.exchange_simulator.schedule import Arrival, Schedule
from k2lab.exchange_simulator.truth import TruthLog

DATA = Path(__file__).parents[4] / "lab/data/real_trades.csv"
BASE_RATE = 20.0


class Simulator:
    """The exchanges and their control interface, without WebSocket servers: nobody listens."""

    def __init__(self, truth_dir: Path) -> None:
        self.truth_dir = truth_dir
        families = MetricFamilies(CollectorRegistry())
        self.exchanges = {
            name: Exchange(
                data,
                Schedule(Arrival.CONSTANT, BASE_RATE, name),
                TruthLog(truth_dir, name, 10**7, 10**8),
                families.of(name),
            )
            for name, data in dataset.load(DATA).items()
        }
        self.driver = Driver(self.exchanges)
        self.control = Control(self.exchanges, self.driver, families.registry)
        self.client: TestClient[Any, Any] = TestClient(TestServer(self.control.application()))

    async def post(self, path: str, **body: object) -> tuple[int, dict[str, Any]]:
        async with self.client.post(path, data=json.dumps(body)) as answer:
            return answer.status, await answer.json()

    async def load(self) -> dict[str, Any]:
        async with self.client.get("/load") as answer:
            return dict(await answer.json())

    def sent(self) -> list[int]:
        return [exchange.state().sent for exchange in self.exchanges.values()]

    async def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    async def until(self, state: str) -> dict[str, Any]:
        deadline = time.monotonic() + 20
        while (status := await self.load())["state"] != state:
            assert time.monotonic() < deadline, status
            await asyncio.sleep(0.01)
        return status

    def truth(self, start_us: int, end_us: int) -> dict[str, list[int]]:
        """Exchange times of what was sent in a stretch of schedule."""
        found = {}
        for name in self.exchanges:
            with (self.truth_dir / f"{name}.csv").open() as file:
                rows = [row for row in csv.DictReader(file) if start_us <= int(row["scheduled_us"]) < end_us]
            found[name] = [int(row["exchange_time_us"]) for row in rows]
        return found


def with_simulator(truth_dir: Path, scenario: Callable[[Simulator], Awaitable[None]]) -> None:
    async def run() -> None:
        simulator = Simulator(truth_dir)
        async with simulator.client:
            for exchange in simulator.exchanges.values():
                exchange.start()
            simulator.driver.start()
            try:
                await scenario(simulator)
            finally:
                simulator.driver.stop()

    asyncio.run(run())


def test_a_run_is_fixed_by_seed_and_exchange() -> None:
    first = arrivals(Arrival.POISSON, 100.0, 10.0, "1/load/binance")
    assert first == arrivals(Arrival.POISSON, 100.0, 10.0, "1/load/binance")
    assert first != arrivals(Arrival.POISSON, 100.0, 10.0, "1/load/kraken")
    assert list(first) == sorted(first)
    assert 0 <= first[0] <= first[-1] < 10_000_000
    assert list(arrivals(Arrival.CONSTANT, 2.0, 2.0, "any")) == [250_000, 750_000, 1_250_000, 1_750_000]


def test_what_is_late_keeps_its_time_and_counts_as_late() -> None:
    schedule = LoadSchedule(arrivals(Arrival.CONSTANT, 2.0, 2.0, ""), 2.0, 100.0, 5_000_000)
    due = schedule.take(101.0, 10)
    assert [schedule.stamp_us(at) for at in due] == [5_250_000, 5_750_000]
    schedule.record(due, 101.25, heard=1)
    assert schedule.lateness.plain()["max"] == pytest.approx(1000.0)
    assert (schedule.sent, schedule.heard, schedule.done) == (2, 1, False)
    schedule.give_up()
    assert (schedule.take(200.0, 10), schedule.rate) == ([], 0.0)


def test_it_sends_its_schedule_falls_silent_and_returns_to_the_base_rate(tmp_path: Path) -> None:
    async def scenario(simulator: Simulator) -> None:
        start_us = time.time_ns() // 1000 + 200_000
        code, begun = await simulator.post(
            "/load", trades_per_second=300, seconds=1, seed=7, start_at_us=start_us, quiet_after_s=0.5, by="test"
        )
        assert (code, begun["state"]) == (200, "waiting")
        scheduled = {name: counts["scheduled"] for name, counts in begun["exchanges"].items()}
        assert all(scheduled.values())
        quiet = await simulator.until("quiet")
        sent = simulator.sent()
        finished = await simulator.until("finished")
        for counts in finished["exchanges"].values():
            assert (counts["sent"], counts["unsent"], counts["heard"]) == (counts["scheduled"], 0, 0)
        truth = simulator.truth(start_us, quiet["end_us"])
        assert {name: len(times) for name, times in truth.items()} == scheduled
        expected = arrivals(Arrival.POISSON, 100.0, 1.0, "7/load/binance")
        assert truth["binance"] == [start_us + at for at in expected]
        assert finished["lateness"]["count"] == sum(scheduled.values())
        assert finished["interrupted"] is None
        silent = simulator.truth(quiet["end_us"], quiet["ended_us"] + 400_000)
        assert not any(silent.values())
        assert all(exchange.load is None for exchange in simulator.exchanges.values())
        assert [exchange.schedule.rate for exchange in simulator.exchanges.values()] == [BASE_RATE] * 3
        await simulator.wait(lambda: simulator.sent() != sent)

    with_simulator(tmp_path, scenario)


def test_it_can_be_silent_before_it_begins(tmp_path: Path) -> None:
    async def scenario(simulator: Simulator) -> None:
        await simulator.wait(lambda: all(simulator.sent()))
        start_us = time.time_ns() // 1000 + 600_000
        await simulator.post(
            "/load", trades_per_second=300, seconds=0.2, start_at_us=start_us, quiet_before_s=0.4, schedule="constant"
        )
        await simulator.until("finished")
        assert all(simulator.truth(0, start_us - 400_000).values())
        assert not any(simulator.truth(start_us - 400_000, start_us).values())
        assert {len(times) for times in simulator.truth(start_us, start_us + 200_000).values()} == {20}

    with_simulator(tmp_path, scenario)


def test_it_can_be_ended_at_once_and_says_what_was_not_sent(tmp_path: Path) -> None:
    async def scenario(simulator: Simulator) -> None:
        await simulator.post("/stop", exchange="kraken")
        await simulator.post("/load", trades_per_second=30, seconds=600, quiet_after_s=600)
        await simulator.until("running")
        code, ended = await simulator.post("/load/end")
        assert (code, ended["state"]) == (200, "ended early")
        assert all(counts["unsent"] > 5000 for counts in ended["exchanges"].values())
        assert ended["ended_us"] < ended["end_us"]
        running = {name: exchange.running for name, exchange in simulator.exchanges.items()}
        assert running == {"binance": True, "kraken": False, "coinbase": True}  # as it was
        assert (await simulator.post("/load/end"))[1]["state"] == "ended early"

    with_simulator(tmp_path, scenario)


def test_it_can_be_stopped_before_its_time_and_is_silent_then_as_ordered(tmp_path: Path) -> None:
    async def scenario(simulator: Simulator) -> None:
        await simulator.post("/load", trades_per_second=300, seconds=600, quiet_after_s=0.4)
        await simulator.until("running")
        await simulator.wait(lambda: all(simulator.sent()))
        code, stopped = await simulator.post("/load/stop")
        assert (code, stopped["interrupted"]) == (200, None)
        quiet = await simulator.until("quiet")
        # All that was due until then was sent: a run that was ordered no longer, and not one that left something out.
        assert all(counts["scheduled"] == counts["sent"] > 0 for counts in quiet["exchanges"].values())
        assert stopped["end_us"] == quiet["end_us"] <= quiet["ended_us"]
        assert quiet["seconds"] * 1e6 == pytest.approx(quiet["end_us"] - quiet["start_us"], abs=1)
        finished = await simulator.until("finished")
        assert finished["exchanges"] == quiet["exchanges"]
        assert not any(simulator.truth(quiet["ended_us"] + 1, quiet["ended_us"] + 400_000).values())
        assert (await simulator.post("/load/stop"))[1]["state"] == "finished"

    with_simulator(tmp_path, scenario)


def test_who_names_a_load_ends_that_one_and_no_other(tmp_path: Path) -> None:
    async def scenario(simulator: Simulator) -> None:
        begun = (await simulator.post("/load", trades_per_second=30, seconds=600, id="ann's"))[1]
        assert begun["id"] == "ann's"
        for path in ("/load/end", "/load/stop"):
            code, answer = await simulator.post(path, id="bob's")
            assert (code, "load ann's, begun by" in answer["error"]) == (409, True)
        assert (await simulator.post("/load/end", id="ann's"))[1]["state"] == "ended early"
        # One that is over already is no conflict with another that is over, too.
        assert (await simulator.post("/load/end", id="bob's"))[1]["id"] == "ann's"
        assert (await simulator.post("/load", trades_per_second=1, seconds=600))[1]["id"] not in {"", "ann's"}

    with_simulator(tmp_path, scenario)


def test_while_it_is_active_nobody_else_moves_the_rate(tmp_path: Path) -> None:
    async def scenario(simulator: Simulator) -> None:
        await simulator.post("/load", trades_per_second=1, seconds=600, by="cell 10x")
        for path in ("/load", "/rate", "/stop", "/start"):
            body: dict[str, object] = {} if path in {"/stop", "/start"} else {"trades_per_second": 5}
            code, answer = await simulator.post(path, **body)
            assert code == 409
            assert "begun by cell 10x at" in answer["error"]
        assert (await simulator.post("/cut"))[0] == 200
        await simulator.post("/load/end")
        assert (await simulator.post("/rate", trades_per_second=5))[0] == 200

    with_simulator(tmp_path, scenario)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"trades_per_second": 0}, "expected more than 0, got 0"),
        ({"trades_per_second": "x"}, 'trades_per_second: expected a number, got "x"'),
        ({"seconds": -1}, "seconds: expected 0 to 86400, got -1"),
        ({"seconds": 86400, "trades_per_second": 1000}, "at most 2000000 trades in one run, got 86400000"),
        ({"schedule": "bursty"}, 'schedule: expected one of poisson, constant, got "bursty"'),
        ({"seed": 1.5}, "seed: expected a whole number, got 1.5"),
        ({"start_at_us": 5}, "start_at_us: expected 0 to 3600 s ahead, got -"),
        ({"quiet_after_s": True}, "quiet_after_s: expected a number, got true"),
        ({"by": 3}, "by: expected a text"),
        ({"rate": 3}, "unknown key rate"),
    ],
)
def test_bad_orders_are_refused_with_what_was_expected(tmp_path: Path, changed: dict[str, object], words: str) -> None:
    async def scenario(simulator: Simulator) -> None:
        code, answer = await simulator.post("/load", **{"trades_per_second": 1, "seconds": 1, **changed})
        assert code == 400
        assert words in answer["error"]
        assert (await simulator.load()) == {"state": "none"}

    with_simulator(tmp_path, scenario)


def test_trades_are_stamped_with_the_time_they_were_due(tmp_path: Path) -> None:
    async def scenario(simulator: Simulator) -> None:
        binance, kraken = simulator.exchanges["binance"], simulator.exchanges["kraken"]
        for exchange in (binance, kraken):
            exchange.schedule.set(1000.0, Arrival.CONSTANT, time.monotonic() - 0.5)  # half a second behind
            exchange.tick(time.monotonic())
        (trade,) = binance.inject([dataset.Template("XRPETH", "buy", "1", "1")])
        assert trade.exchange_time_us == trade.scheduled_us <= trade.sent_us
        for name in ("binance", "kraken"):
            with (tmp_path / f"{name}.csv").open() as file:
                rows = [row for row in csv.DictReader(file) if int(row["sent_us"]) - int(row["scheduled_us"]) > 100_000]
            assert len(rows) > 200
            behind = [int(row["exchange_time_us"]) - int(row["scheduled_us"]) for row in rows]
            assert max(behind) <= 1 if name == "kraken" else set(behind) == {0}

    with_simulator(tmp_path, scenario)
