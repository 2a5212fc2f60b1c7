# SPDX-License-Identifier: Apache-2.0
"""The control interface (HTTP, JSON bodies): health, metrics, state, and every way to disturb an exchange.

GET  /health /metrics /state
POST /rate    {"exchange"?: name | "all", "trades_per_second": n, "schedule"?: "poisson" | "constant"}
              for "all" (the default) the rate is the total and is split equally
POST /stop    {"exchange"?}                 no more scheduled trades; connections stay
POST /start   {"exchange"?}
POST /cut     {"exchange"?}                 drop connections abruptly
POST /refuse  {"exchange"?, "seconds": n}   drop connections and refuse new ones for n seconds
POST /inject  {"exchange": name, "trades": [{"symbol", "price", "size", "side"}]}   send exactly these now
POST /inject  {"exchange": name, "malformed": "json" | "trade"}                     send one unreadable frame
POST /load    {"trades_per_second": n, "seconds": n, "schedule"?, "seed"?: 1, "start_at_us"?: now,
               "quiet_before_s"?: 0, "quiet_after_s"?: 0, "by"?: text, "id"?: text}
              replace the base rate for `seconds` by a schedule fixed in advance, whose counts are the answer; be silent
              for `quiet_before_s` before and `quiet_after_s` after; return to the base rate. The rate is the total and
              is split equally.
POST /load/stop  {"id"?: text}              the run ends now, as if ordered so; its quiet follows
POST /load/end   {"id"?: text}              end the run and its quiet at once
              with an id only the run of that id: another one goes on, which is the answer (409)
GET  /load    state of the current or last run: waiting, running, quiet, finished, ended early, or none; by exchange
              what was scheduled, sent, unsent and heard (had a listener); lateness (ms) as a DDSketch; CPU seconds

While a load is active, /load, /rate, /stop and /start are refused with 409: the base rate is what the run returns to.
/cut, /refuse and /inject work; what is injected does not count for the run.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry

from k2lab.common.status import Health, Response, health_response, metrics_response
from k2lab.exchange_simulator.dataset import DECIMAL, Template
from k2lab.exchange_simulator.driver import Driver
from k2lab.exchange_simulator.exchange import Exchange, Exchanges
from k2lab.exchange_simulator.load_control import LoadControl
from k2lab.exchange_simulator.protocols.base import Malformed
from k2lab.exchange_simulator.request import BadRequestError, Body, ConflictError, choice, number, only, parsed
from k2lab.exchange_simulator.schedule import Arrival

MAX_RATE = 100_000.0  # trades/s and exchange; more is a typing error, not a load
MAX_REFUSE_S = 86_400.0
MAX_INJECTED = 10_000
SERVICE = "exchange-simulator"


class Control:
    """Handlers of the control interface."""

    def __init__(self, exchanges: Exchanges, driver: Driver, registry: CollectorRegistry) -> None:
        self._exchanges = exchanges
        self._driver = driver
        self._registry = registry
        self._load = LoadControl(exchanges, driver)
        self._started = time.monotonic()

    def application(self) -> web.Application:
        """The aiohttp application."""
        application = web.Application()
        application.router.add_get("/health", self._health)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/state", self._state)
        application.router.add_get("/load", self._show_load)
        commands: dict[str, Callable[[Body], object]] = {
            "/rate": self._rate,
            "/stop": self._stop,
            "/start": self._start,
            "/cut": self._cut,
            "/refuse": self._refuse,
            "/inject": self._inject,
            "/load": self._load.begin,
            "/load/stop": self._load.stop,
            "/load/end": self._load.end,
        }
        for path, command in commands.items():
            application.router.add_post(path, _handler(command))
        return application

    async def _health(self, _request: web.Request) -> web.Response:
        reasons = [f"{name}: {exchange.failure}" for name, exchange in self._exchanges.items() if exchange.failure]
        running = [name for name, exchange in self._exchanges.items() if exchange.running]
        return _to_aiohttp(health_response(SERVICE, Health.of(reasons, running=running), self._started))

    async def _metrics(self, _request: web.Request) -> web.Response:
        for exchange in self._exchanges.values():
            exchange.metrics.rate.set(exchange.rate)
        return _to_aiohttp(metrics_response(self._registry))

    async def _state(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {name: dataclasses.asdict(exchange.state()) for name, exchange in self._exchanges.items()}
        )

    async def _show_load(self, _request: web.Request) -> web.Response:
        return web.json_response(self._load.show())

    def _rate(self, body: Body) -> object:
        only(body, "exchange", "trades_per_second", "schedule")
        self._load.refuse_while_active("a change of the rate")
        chosen = self._chosen(body)
        rate = number(body, "trades_per_second", MAX_RATE * len(chosen)) / len(chosen)
        arrival: Arrival | None = None
        if "schedule" in body:
            arrival = Arrival(choice(body, "schedule", [kind.value for kind in Arrival]))
        for exchange in chosen:
            now = time.monotonic()
            exchange.tick(now)
            exchange.schedule.set(rate, arrival or exchange.schedule.arrival, now)
            if not exchange.running:
                exchange.schedule.stop()
        self._driver.reschedule()
        return {
            "trades_per_second": {exchange.name: exchange.schedule.rate for exchange in chosen},
            "schedule": {exchange.name: exchange.schedule.arrival.value for exchange in chosen},
        }

    def _stop(self, body: Body) -> object:
        only(body, "exchange")
        self._load.refuse_while_active("a stop")
        chosen = self._chosen(body)
        for exchange in chosen:
            exchange.tick(time.monotonic())
            exchange.stop()
        self._driver.reschedule()
        return {"stopped": [exchange.name for exchange in chosen]}

    def _start(self, body: Body) -> object:
        only(body, "exchange")
        self._load.refuse_while_active("a start")
        chosen = [exchange for exchange in self._chosen(body) if not exchange.running]
        for exchange in chosen:
            exchange.start()
        self._driver.reschedule()
        return {"started": [exchange.name for exchange in chosen]}

    def _cut(self, body: Body) -> object:
        only(body, "exchange")
        return {"connections_cut": {exchange.name: exchange.cut() for exchange in self._chosen(body)}}

    def _refuse(self, body: Body) -> object:
        only(body, "exchange", "seconds")
        seconds = number(body, "seconds", MAX_REFUSE_S)
        return {"connections_cut": {exchange.name: exchange.refuse(seconds) for exchange in self._chosen(body)}}

    def _inject(self, body: Body) -> object:
        only(body, "exchange", "trades", "malformed")
        exchange = self._exchanges[choice(body, "exchange", list(self._exchanges))]
        if ("trades" in body) == ("malformed" in body):
            raise BadRequestError("expected either trades or malformed")
        if "malformed" in body:
            kind = Malformed(choice(body, "malformed", [kind.value for kind in Malformed]))
            return {"connections": exchange.inject_malformed(kind)}
        trades = body["trades"]
        if not isinstance(trades, list) or not 1 <= len(trades) <= MAX_INJECTED:
            raise BadRequestError(f"trades: expected a list of 1 to {MAX_INJECTED} trades")
        sent = exchange.inject([_template(exchange, index, trade) for index, trade in enumerate(trades)])
        return {
            "trades": [
                {
                    "sequence": trade.sequence,
                    "exchange": trade.exchange,
                    "symbol": trade.symbol,
                    "trade_id": None if trade.trade_id is None else str(trade.trade_id),
                    "side": trade.side,
                    "price": trade.price,
                    "size": trade.size,
                    "exchange_time_us": trade.exchange_time_us,
                    "scheduled_us": trade.scheduled_us,
                    "sent_us": trade.sent_us,
                    "subscribers": trade.subscribers,
                }
                for trade in sent
            ]
        }

    def _chosen(self, body: Body) -> list[Exchange]:
        if "exchange" not in body or body["exchange"] == "all":
            return list(self._exchanges.values())
        return [self._exchanges[choice(body, "exchange", [*self._exchanges, "all"])]]


def _handler(command: Callable[[Body], object]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            return web.json_response(command(parsed(await request.text())))
        except BadRequestError as error:
            return web.json_response({"error": str(error)}, status=400)
        except ConflictError as error:
            return web.json_response({"error": str(error)}, status=409)
        except OSError as error:
            return web.json_response({"error": f"cannot write the truth log: {error}"}, status=507)

    return handle


def _template(exchange: Exchange, index: int, trade: object) -> Template:
    where = f"trades[{index}]"
    if not isinstance(trade, dict) or trade.keys() != {"symbol", "price", "size", "side"}:
        raise BadRequestError(f"{where}: expected an object with symbol, price, size and side")
    if trade["symbol"] not in exchange.symbols:
        raise BadRequestError(f"{where}.symbol: expected one of {', '.join(sorted(exchange.symbols))}")
    for key in ("price", "size"):
        # Zero and negative numbers pass: the platform has to flag such trades, and tests must be able to send them.
        if not isinstance(trade[key], str) or not DECIMAL.fullmatch(trade[key]):
            raise BadRequestError(f'{where}.{key}: expected a decimal number in a string such as "0.00141342"')
    side = choice(trade, "side", ["buy", "sell"])
    return Template(trade["symbol"], side, trade["price"], trade["size"])


def _to_aiohttp(response: Response) -> web.Response:
    return web.Response(body=response.body, status=response.status, headers={"Content-Type": response.content_type})
