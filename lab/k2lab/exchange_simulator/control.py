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
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry

from k2lab.common.status import Health, Response, health_response, metrics_response
from k2lab.exchange_simulator.dataset import DECIMAL, Template
from k2lab.exchange_simulator.driver import Driver
from k2lab.exchange_simulator.exchange import Exchange, Exchanges
from k2lab.exchange_simulator.protocols.base import Malformed
from k2lab.exchange_simulator.schedule import Arrival

MAX_RATE = 100_000.0  # trades/s and exchange; more is a typing error, not a load
MAX_REFUSE_S = 86_400.0
MAX_INJECTED = 10_000
SERVICE = "exchange-simulator"

Body = Mapping[str, object]


class BadRequestError(Exception):
    """The request cannot be carried out; the text goes to the client with status 400."""


class Control:
    """Handlers of the control interface."""

    def __init__(self, exchanges: Exchanges, driver: Driver, registry: CollectorRegistry) -> None:
        self._exchanges = exchanges
        self._driver = driver
        self._registry = registry
        self._started = time.monotonic()

    def application(self) -> web.Application:
        """The aiohttp application."""
        application = web.Application()
        application.router.add_get("/health", self._health)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/state", self._state)
        commands: dict[str, Callable[[Body], object]] = {
            "/rate": self._rate,
            "/stop": self._stop,
            "/start": self._start,
            "/cut": self._cut,
            "/refuse": self._refuse,
            "/inject": self._inject,
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
            exchange.metrics.rate.set(exchange.schedule.rate if exchange.running else 0.0)
        return _to_aiohttp(metrics_response(self._registry))

    async def _state(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {name: dataclasses.asdict(exchange.state()) for name, exchange in self._exchanges.items()}
        )

    def _rate(self, body: Body) -> object:
        _only(body, "exchange", "trades_per_second", "schedule")
        chosen = self._chosen(body)
        rate = _number(body, "trades_per_second", MAX_RATE * len(chosen)) / len(chosen)
        arrival: Arrival | None = None
        if "schedule" in body:
            arrival = Arrival(_choice(body, "schedule", [kind.value for kind in Arrival]))
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
        _only(body, "exchange")
        chosen = self._chosen(body)
        for exchange in chosen:
            exchange.tick(time.monotonic())
            exchange.stop()
        self._driver.reschedule()
        return {"stopped": [exchange.name for exchange in chosen]}

    def _start(self, body: Body) -> object:
        _only(body, "exchange")
        chosen = [exchange for exchange in self._chosen(body) if not exchange.running]
        for exchange in chosen:
            exchange.start()
        self._driver.reschedule()
        return {"started": [exchange.name for exchange in chosen]}

    def _cut(self, body: Body) -> object:
        _only(body, "exchange")
        return {"connections_cut": {exchange.name: exchange.cut() for exchange in self._chosen(body)}}

    def _refuse(self, body: Body) -> object:
        _only(body, "exchange", "seconds")
        seconds = _number(body, "seconds", MAX_REFUSE_S)
        return {"connections_cut": {exchange.name: exchange.refuse(seconds) for exchange in self._chosen(body)}}

    def _inject(self, body: Body) -> object:
        _only(body, "exchange", "trades", "malformed")
        exchange = self._exchanges[_choice(body, "exchange", list(self._exchanges))]
        if ("trades" in body) == ("malformed" in body):
            raise BadRequestError("expected either trades or malformed")
        if "malformed" in body:
            kind = Malformed(_choice(body, "malformed", [kind.value for kind in Malformed]))
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
        return [self._exchanges[_choice(body, "exchange", [*self._exchanges, "all"])]]


def _handler(command: Callable[[Body], object]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            return web.json_response(command(_parsed(await request.text())))
        except BadRequestError as error:
            return web.json_response({"error": str(error)}, status=400)
        except OSError as error:
            return web.json_response({"error": f"cannot write the truth log: {error}"}, status=507)

    return handle


def _parsed(text: str) -> Body:
    try:
        body = json.loads(text or "{}")
    except ValueError as error:
        raise BadRequestError(f"expected a JSON object: {error}") from error
    if not isinstance(body, dict):
        raise BadRequestError(f"expected a JSON object, got {text[:80]}")
    return body


def _only(body: Body, *known: str) -> None:
    unknown = sorted(body.keys() - set(known))
    if unknown:
        raise BadRequestError(f"unknown key {', '.join(unknown)}; expected {', '.join(known)}")


def _number(body: Body, key: str, maximum: float) -> float:
    value = body.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadRequestError(f"{key}: expected a number, got {json.dumps(value)}")
    if not 0 <= value <= maximum:
        raise BadRequestError(f"{key}: expected 0 to {maximum:g}, got {value}")
    return float(value)


def _choice(body: Body, key: str, allowed: Sequence[str]) -> str:
    value = body.get(key)
    if not isinstance(value, str) or value not in allowed:
        raise BadRequestError(f"{key}: expected one of {', '.join(allowed)}, got {json.dumps(value)}")
    return value


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
    side = _choice(trade, "side", ["buy", "sell"])
    return Template(trade["symbol"], side, trade["price"], trade["size"])


def _to_aiohttp(response: Response) -> web.Response:
    return web.Response(body=response.body, status=response.status, headers={"Content-Type": response.content_type})
