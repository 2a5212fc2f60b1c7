# SPDX-License-Identifier: Apache-2.0
"""One simulated exchange: its clients, its replay, and what the control interface can do to it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from k2lab.common.errors import LabError
from k2lab.exchange_simulator.dataset import Dataset, Template
from k2lab.exchange_simulator.load_schedule import LoadSchedule
from k2lab.exchange_simulator.metrics import ExchangeMetrics
from k2lab.exchange_simulator.protocols.base import Malformed, Session
from k2lab.exchange_simulator.protocols.binance import BinanceSession
from k2lab.exchange_simulator.protocols.coinbase import SNAPSHOT_TRADES, SUBSCRIBE_WITHIN_S, CoinbaseSession
from k2lab.exchange_simulator.protocols.kraken import KrakenSession
from k2lab.exchange_simulator.schedule import Schedule
from k2lab.exchange_simulator.truth import SentTrade, TruthLog

log = logging.getLogger(__name__)

MAX_BATCH = 1000  # trades per timer tick and exchange: after a long stall other clients still get their turn
MAX_QUEUED_FRAMES = 50_000  # per client; one that reads slower than that is disconnected, as exchanges do
_LATENESS_WINDOW = 2000  # trades behind the p99 of /state
_PING_INTERVAL_S = 20.0  # Binance pings its clients this often


class Client:
    """A connected client: its session and the frames still to be written to it."""

    def __init__(self, session: Session, transport: asyncio.BaseTransport, metrics: ExchangeMetrics) -> None:
        self.session = session
        self.last_frame_at = time.monotonic()
        self._transport = transport
        self._metrics = metrics
        self._frames: deque[str] = deque()
        self._wake = asyncio.Event()

    def enqueue(self, frames: Sequence[str]) -> None:
        """Queue frames for sending in order; drops the connection when the client is hopelessly slow."""
        if not frames:
            return
        if len(self._frames) + len(frames) > MAX_QUEUED_FRAMES:
            log.warning("client reads too slowly: %d frames are waiting, dropping it", len(self._frames))
            self._metrics.slow_clients.inc()
            self.abort()
            return
        self.last_frame_at = time.monotonic()
        self._frames.extend(frames)
        self._wake.set()

    async def write_frames(self, socket: web.WebSocketResponse) -> None:
        """Write what is queued until cancelled or disconnected."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._frames:
                await socket.send_str(self._frames.popleft())

    def abort(self) -> None:
        """Drop the connection without a closing handshake (the client sees a reset)."""
        self._frames.clear()
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.abort()


@dataclass(frozen=True, slots=True)
class State:
    """What /state shows of one exchange."""

    running: bool
    trades_per_second: float
    schedule: str
    connections: int
    subscriptions: int
    sent: int
    last_sequence: int
    lateness_p99_ms: float | None
    refusing_until_us: int | None
    symbols: tuple[str, ...]


class Exchange:
    """One exchange: `application` serves its clients, `tick` sends what is due."""

    def __init__(self, dataset: Dataset, schedule: Schedule, truth: TruthLog, metrics: ExchangeMetrics) -> None:
        self.name = dataset.exchange
        self.symbols = dataset.symbols
        self.schedule = schedule
        self.load: LoadSchedule | None = None  # takes the place of the schedule while a load runs
        self.metrics = metrics
        self._templates = dataset.templates
        self._truth = truth
        resume = truth.open(dataset.symbols)
        self._sequence = resume.sequence
        self._trade_ids = {
            symbol: max(last, resume.trade_ids.get(symbol, 0)) for symbol, last in dataset.last_trade_ids.items()
        }
        self._times_us = dict(resume.exchange_times_us)
        self._clients: set[Client] = set()
        self._recent: dict[str, deque[SentTrade]] = {
            symbol: deque(maxlen=SNAPSHOT_TRADES) for symbol in dataset.symbols
        }
        self._lateness: deque[float] = deque(maxlen=_LATENESS_WINDOW)
        self._sent = 0
        self._connection_ids = 0
        self._refuse_until = 0.0  # monotonic
        self._running = True
        self.failure: str | None = None
        if resume.sequence:
            log.info("%s continues after sequence %d", self.name, resume.sequence)

    # -- replay ---------------------------------------------------------------------------------------------------

    @property
    def next_due(self) -> float:
        """When the next trade is due (monotonic seconds); infinite where none is."""
        return (self.schedule if self.load is None else self.load).next_due

    @property
    def rate(self) -> float:
        """Trades per second that are scheduled now."""
        if self.load is not None:
            return self.load.rate
        return self.schedule.rate if self._running else 0.0

    def tick(self, now: float) -> None:
        """Log and send what is due at `now` (monotonic seconds)."""
        load = self.load
        due = (self.schedule if load is None else load).take(now, MAX_BATCH)
        if not due:
            return
        since_epoch_us = time.time_ns() // 1000 - round(time.monotonic() * 1e6)
        first = self._sequence
        chosen = [
            (
                self._templates[(first + index) % len(self._templates)],
                since_epoch_us + round(at * 1e6) if load is None else load.stamp_us(at),
            )
            for index, at in enumerate(due)
        ]
        try:
            trades = self._send(chosen)
        except OSError as error:
            # Nothing may be sent that is not logged. The operator sees it in /health; /start tries again.
            self.failure = f"cannot write the truth log: {error}"
            log.exception("%s stopped: %s; free disk space, then POST /start", self.name, self.failure)
            self.stop()
            return
        sent = time.monotonic()
        for at in due:
            self._lateness.append(sent - at)
            self.metrics.lateness.observe(sent - at)
        if load is not None:
            load.record(due, sent, heard=sum(trade.subscribers > 0 for trade in trades))

    def inject(self, templates: Sequence[Template]) -> list[SentTrade]:
        """Send exactly these trades now; returns them as logged. Raises OSError when they cannot be logged."""
        now_us = time.time_ns() // 1000
        return self._send([(template, now_us) for template in templates])

    def inject_malformed(self, kind: Malformed) -> int:
        """Send one malformed frame to every client; returns how many got it. It is no trade and is not logged."""
        for client in self._clients:
            symbol = min(client.session.subscribed, default=min(self.symbols))
            client.enqueue([client.session.malformed(kind, symbol)])
        return len(self._clients)

    def _send(self, chosen: Sequence[tuple[Template, int]]) -> list[SentTrade]:
        listeners: dict[str, int] = {}
        for client in self._clients:
            for symbol in client.session.subscribed:
                listeners[symbol] = listeners.get(symbol, 0) + 1
        trades = [
            self._stamped(self._sequence + offset, template, scheduled_us, listeners.get(template.symbol, 0))
            for offset, (template, scheduled_us) in enumerate(chosen, start=1)
        ]
        self._truth.append(trades)
        self._sequence += len(trades)
        self._sent += len(trades)
        self.metrics.sent.inc(len(trades))
        self.metrics.last_sequence.set(self._sequence)
        for trade in trades:
            self._recent[trade.symbol].append(trade)
        for client in list(self._clients):
            session = client.session
            client.enqueue([session.trade(trade) for trade in trades if trade.symbol in session.subscribed])
        return trades

    def _stamped(self, sequence: int, template: Template, scheduled_us: int, subscribers: int) -> SentTrade:
        symbol = template.symbol
        # The trade "happened" when it was due. Were it stamped when it is sent, a stall of this process would move its
        # trades and vanish from every latency counted from the exchange on (coordinated omission).
        time_us = scheduled_us
        trade_id: int | None = None
        if self.name == "kraken":
            # Kraken has no trade ids: its (pair, time, price, volume) is a key only while no two times are the same.
            time_us = self._times_us[symbol] = max(scheduled_us, self._times_us.get(symbol, 0) + 1)
        else:
            trade_id = self._trade_ids[symbol] = self._trade_ids[symbol] + 1
        return SentTrade(
            sequence,
            self.name,
            symbol,
            trade_id,
            template.side,
            template.price,
            template.size,
            time_us * 1000,
            scheduled_us,
            time.time_ns() // 1000,
            subscribers,
        )

    # -- control --------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Send no more scheduled trades; connections and heartbeats stay."""
        self._running = False
        self.schedule.stop()
        if self.load is not None:
            self.load.give_up()

    def start(self) -> None:
        """Go on with the schedule from now."""
        self._running = True
        self.failure = None
        self.schedule.start(time.monotonic())

    @property
    def running(self) -> bool:
        """True unless stopped by the operator or by a failure."""
        return self._running

    def cut(self) -> int:
        """Drop every connection abruptly; returns how many."""
        clients = list(self._clients)
        for client in clients:
            client.abort()
        self._clients.clear()  # at once: what is sent from now on has no listener
        self.metrics.cut.inc(len(clients))
        return len(clients)

    def refuse(self, seconds: float) -> int:
        """Drop every connection and refuse new ones for `seconds` from now (0 ends it); returns how many dropped."""
        self._refuse_until = time.monotonic() + seconds
        return self.cut() if seconds > 0 else 0

    def heartbeat(self, now: float) -> None:
        """Send the heartbeats due at `now`; call it once a second."""
        for client in list(self._clients):
            client.enqueue(client.session.heartbeat(now - client.last_frame_at))

    def state(self) -> State:
        """A snapshot for /state."""
        left = self._refuse_until - time.monotonic()
        ordered = sorted(self._lateness)
        return State(
            running=self._running,
            trades_per_second=self.schedule.rate,
            schedule=self.schedule.arrival.value,
            connections=len(self._clients),
            subscriptions=sum(len(client.session.subscribed) for client in self._clients),
            sent=self._sent,
            last_sequence=self._sequence,
            lateness_p99_ms=round(ordered[int(len(ordered) * 0.99)] * 1000, 3) if ordered else None,
            refusing_until_us=time.time_ns() // 1000 + round(left * 1e6) if left > 0 else None,
            symbols=tuple(sorted(self.symbols)),
        )

    # -- serving --------------------------------------------------------------------------------------------------

    def application(self) -> web.Application:
        """The WebSocket server of this exchange."""
        application = web.Application()
        if self.name == "binance":
            for path in ("/ws", "/ws/{streams:.+}", "/stream"):
                application.router.add_get(path, self._serve_binance)
        else:
            serve = self._serve_kraken if self.name == "kraken" else self._serve_coinbase
            application.router.add_get("/", serve)
        return application

    async def _serve_binance(self, request: web.Request) -> web.StreamResponse:
        combined = request.path == "/stream"
        names = request.query.get("streams", "") if combined else request.match_info.get("streams", "")
        session = BinanceSession(
            self.symbols,
            combined=combined,
            microseconds=request.query.get("timeUnit", "").upper() == "MICROSECOND",
            streams=[name for name in names.split("/") if name],
        )
        return await self._serve(request, session, ping_interval_s=_PING_INTERVAL_S)

    async def _serve_kraken(self, request: web.Request) -> web.StreamResponse:
        self._connection_ids += 1
        return await self._serve(request, KrakenSession(self.symbols, self._connection_ids))

    async def _serve_coinbase(self, request: web.Request) -> web.StreamResponse:
        session = CoinbaseSession(self.symbols, self._recent)

        def idle() -> bool:
            return not session.has_subscribed

        return await self._serve(request, session, drop_if=idle)

    async def _serve(
        self,
        request: web.Request,
        session: Session,
        *,
        ping_interval_s: float | None = None,
        drop_if: Callable[[], bool] | None = None,
    ) -> web.StreamResponse:
        transport = request.transport
        socket = web.WebSocketResponse(heartbeat=ping_interval_s, compress=False)
        if transport is None or time.monotonic() < self._refuse_until:
            self.metrics.refused.inc()
            if transport is not None:
                transport.abort()
            return socket
        await socket.prepare(request)
        client = Client(session, transport, self.metrics)
        client.enqueue(session.greeting())
        self._clients.add(client)
        self.metrics.connections.set(len(self._clients))
        log.info("%s: client connected, %d now", self.name, len(self._clients))
        writer = asyncio.create_task(client.write_frames(socket))
        timer = None
        if drop_if is not None:
            timer = asyncio.get_running_loop().call_later(
                SUBSCRIBE_WITHIN_S, lambda: client.abort() if drop_if() else None
            )
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    client.enqueue(session.answer(message.data))
        finally:
            self._clients.discard(client)
            self.metrics.connections.set(len(self._clients))
            if timer is not None:
                timer.cancel()
            writer.cancel()
            log.info("%s: client gone, %d left", self.name, len(self._clients))
        return socket


async def listen(exchange: Exchange, host: str, port: int) -> web.AppRunner:
    """Serve `exchange` on `host`:`port`. Raises LabError when the port cannot be had."""
    return await listen_on(exchange.application(), (host, port), f"the {exchange.name} WebSocket server")


async def listen_on(application: web.Application, address: tuple[str, int], purpose: str) -> web.AppRunner:
    """Serve `application` on `address`, host and port. Raises LabError when the port cannot be had."""
    host, port = address
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise LabError(
            f"to serve {purpose} on {host}:{port}",
            str(error),
            "stop the process that holds the port (ss -ltnp) or choose another one",
        ) from error
    return runner


Exchanges = Mapping[str, Exchange]
