# SPDX-License-Identifier: Apache-2.0
"""Start a feed handler: python -m k2lab.feed_handler --help."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import time
from typing import Any

from yarl import URL

from k2lab.common import options
from k2lab.common.errors import LabError, run_program
from k2lab.common.logs import LEVELS, configure_logging
from k2lab.common.shutdown import stop_event_asyncio
from k2lab.common.status import Health, StatusServer
from k2lab.feed_handler import adapters
from k2lab.feed_handler.backoff import Backoff
from k2lab.feed_handler.feed import Feed, Timing
from k2lab.feed_handler.monitor import Metrics, Status, health
from k2lab.feed_handler.publisher import ProducerLimits, Publisher, Topics

log = logging.getLogger(__name__)

_BACKOFF_BASE_S = 0.1


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="k2lab.feed_handler", description="Brings one exchange's trades into Kafka, raw and normalised."
    )
    parser.add_argument("--exchange", choices=adapters.EXCHANGES, required=True)
    parser.add_argument("--url", type=_url, required=True, help="ws:// or wss:// address of the exchange")
    parser.add_argument("--symbols", type=_symbols, required=True, help="as the exchange spells them, comma-separated")
    parser.add_argument("--bootstrap", type=options.host_port, required=True, help="Kafka bootstrap servers")
    parser.add_argument("--raw-topic", required=True)
    parser.add_argument("--topic", required=True, help="of the normalised trades")
    parser.add_argument("--dead-letter-topic", required=True)
    parser.add_argument("--http-port", type=options.port, required=True, help="/health and /metrics")
    options.add_host(parser)
    parser.add_argument(
        "--stale-after", type=options.positive, default=10.0, help="seconds without a trade until unhealthy"
    )
    parser.add_argument(
        "--idle-timeout", type=options.positive, default=6.0, help="seconds without any frame until reconnecting"
    )
    parser.add_argument(
        "--backoff-max", type=options.positive, default=5.0, help="longest wait for the next attempt, s"
    )
    parser.add_argument(
        "--delivery-timeout", type=options.positive, default=600.0, help="seconds a record may wait for the broker"
    )
    parser.add_argument("--stop-timeout", type=options.positive, default=8.0, help="seconds to flush on SIGTERM")
    parser.add_argument("--log-level", choices=LEVELS, default="info")
    return parser.parse_args(arguments)


def _url(text: str) -> URL:
    try:
        url = URL(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if url.scheme not in {"ws", "wss"} or not url.host:
        raise argparse.ArgumentTypeError(f"expected a ws:// or wss:// address, got {text!r}")
    return url


def _symbols(text: str) -> tuple[str, ...]:
    symbols = tuple(text.split(","))
    if not all(symbols) or len(set(symbols)) != len(symbols):
        raise argparse.ArgumentTypeError(f"expected different symbols, comma-separated, got {text!r}")
    return symbols


async def serve(options_read: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT; 0 when everything received was acknowledged, else 1."""
    stop = stop_event_asyncio()
    exchange: str = options_read.exchange
    metrics = Metrics(exchange)
    status = Status(started=time.monotonic())
    publisher = Publisher(
        exchange,
        options_read.bootstrap,
        Topics(options_read.raw_topic, options_read.topic, options_read.dead_letter_topic),
        ProducerLimits(delivery_timeout_s=options_read.delivery_timeout),
        metrics,
        status,
    )
    metrics.queue_depth.set_function(publisher.queue_depth)
    feed = Feed(
        exchange,
        options_read.url,
        options_read.symbols,
        publisher,
        Backoff(_BACKOFF_BASE_S, options_read.backoff_max, random.Random()),
        Timing(idle_s=options_read.idle_timeout),
        metrics,
        status,
    )

    def judge() -> Health:
        return health(status, str(options_read.url), options_read.stale_after, publisher.queue_depth)

    with StatusServer(f"feed-handler-{exchange}", options_read.http_port, judge, host=options_read.host):
        reading = asyncio.create_task(feed.run())
        stopping = asyncio.create_task(stop.wait())
        ends: set[asyncio.Future[Any]] = {reading, stopping, publisher.fatal}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        failure = _failure(reading, publisher)
        stopping.cancel()
        reading.cancel()
        await asyncio.gather(reading, stopping, return_exceptions=True)
        left = await publisher.close(options_read.stop_timeout)
    if failure is not None:
        raise failure
    if left:
        log.error("%d records were not acknowledged within %g s and are lost", left, options_read.stop_timeout)
        return 1
    log.info("stopped, everything received was acknowledged")
    return 0


def _failure(reading: asyncio.Task[None], publisher: Publisher) -> BaseException | None:
    """Why the handler ended by itself; None when it was told to."""
    if publisher.fatal.done():
        return publisher.fatal.result()
    if reading.done():
        return reading.exception() or LabError("to read for ever", "the reader ended", "report this defect")
    return None


def main() -> int:
    """Parse, set up logging, serve."""
    options_read = parse()
    configure_logging(options_read.log_level)
    return asyncio.run(serve(options_read))


if __name__ == "__main__":
    run_program(main)
