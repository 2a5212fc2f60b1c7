# SPDX-License-Identifier: Apache-2.0
"""Start the exchange simulator: python -m k2lab.exchange_simulator --help."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from k2lab.common import options
from k2lab.common.errors import run_program
from k2lab.common.logs import LEVELS, configure_logging
from k2lab.common.shutdown import stop_event_asyncio
from k2lab.exchange_simulator import dataset
from k2lab.exchange_simulator.control import Control
from k2lab.exchange_simulator.driver import Driver
from k2lab.exchange_simulator.exchange import Exchange, listen, listen_on
from k2lab.exchange_simulator.metrics import MetricFamilies
from k2lab.exchange_simulator.schedule import Arrival, Schedule
from k2lab.exchange_simulator.truth import TruthLog

_MIB = 1024 * 1024


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="k2lab.exchange_simulator",
        description="Replays real trades as Binance, Kraken and Coinbase would send them, and logs all it sends.",
    )
    parser.add_argument("--data", type=Path, required=True, help="CSV file of real trades")
    parser.add_argument("--truth-dir", type=Path, required=True, help="directory of the truth log (created)")
    for exchange in dataset.EXCHANGES:
        parser.add_argument(f"--{exchange}-port", type=options.port, required=True)
        parser.add_argument(
            f"--{exchange}-rate", type=options.not_negative, help="trades/s (default: a third of --rate)"
        )
    parser.add_argument("--control-port", type=options.port, required=True, help="control interface and metrics")
    options.add_host(parser)
    parser.add_argument("--rate", type=options.not_negative, default=50.0, help="trades/s of all exchanges together")
    parser.add_argument("--schedule", choices=[kind.value for kind in Arrival], default=Arrival.POISSON.value)
    parser.add_argument("--seed", type=int, default=1, help="of the Poisson gaps")
    parser.add_argument("--truth-segment-mib", type=options.positive, default=16.0, help="size of one log segment")
    parser.add_argument(
        "--truth-total-mib", type=options.positive, default=1024.0, help="cap of the log per exchange; the oldest goes"
    )
    parser.add_argument("--log-level", choices=LEVELS, default="info")
    options_read = parser.parse_args(arguments)
    if options_read.truth_total_mib < 2 * options_read.truth_segment_mib:
        parser.error("--truth-total-mib: expected at least twice --truth-segment-mib")
    return options_read


async def serve(options_read: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT."""
    stop = stop_event_asyncio()
    families = MetricFamilies()
    exchanges: dict[str, Exchange] = {}
    truths: list[TruthLog] = []
    for name, data in dataset.load(options_read.data).items():
        own_rate: float | None = getattr(options_read, f"{name}_rate")
        rate = options_read.rate / len(dataset.EXCHANGES) if own_rate is None else own_rate
        # Each exchange draws from a generator of its own, so the rate of one does not move the trades of another.
        schedule = Schedule(Arrival(options_read.schedule), rate, f"{options_read.seed}/{name}")
        truth = TruthLog(
            options_read.truth_dir,
            name,
            round(options_read.truth_segment_mib * _MIB),
            round(options_read.truth_total_mib * _MIB),
        )
        exchanges[name] = Exchange(data, schedule, truth, families.of(name))
        truths.append(truth)
    driver = Driver(exchanges)
    runners = []
    try:
        for name, exchange in exchanges.items():
            runners.append(await listen(exchange, options_read.host, getattr(options_read, f"{name}_port")))
        control = Control(exchanges, driver, families.registry)
        address = (options_read.host, options_read.control_port)
        runners.append(await listen_on(control.application(), address, "the control interface"))
        for exchange in exchanges.values():
            exchange.start()
        driver.start()
        await stop.wait()
    finally:
        driver.stop()
        for exchange in exchanges.values():
            exchange.cut()
        for runner in runners:
            await runner.cleanup()
        for truth in truths:
            truth.close()
    return 0


def main() -> int:
    """Parse, set up logging, serve."""
    options_read = parse()
    configure_logging(options_read.log_level)
    return asyncio.run(serve(options_read))


if __name__ == "__main__":
    run_program(main)
