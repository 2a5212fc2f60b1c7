# SPDX-License-Identifier: Apache-2.0
"""Move trades from Kafka into ClickHouse until SIGTERM: ``python -m k2lab.silver_processor --help``."""

from __future__ import annotations

import argparse

from k2lab.clickhouse_http import ClickHouse
from k2lab.common.errors import run_program
from k2lab.common.logs import configure_logging
from k2lab.common.options import add_host, host_port, port, positive
from k2lab.common.shutdown import stop_event_threading
from k2lab.common.status import StatusServer
from k2lab.schema.__main__ import password_from
from k2lab.silver_processor.processor import Processor, Settings
from k2lab.silver_processor.variants import Variant

_INSERT_TIMEOUT_S = 30.0


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging()
    stop = stop_event_threading()
    settings = Settings(
        bootstrap=options.bootstrap,
        topics=tuple(options.topics.split(",")),
        group=options.group,
        database=options.database,
        table=options.table,
        linger_ms=options.linger_ms,
        max_batch_rows=options.max_batch_rows,
        variant=options.variant,
        variant_rows=options.variant_rows,
    )
    password = password_from(options.password_env)
    with ClickHouse(options.clickhouse_url, options.user, password, _INSERT_TIMEOUT_S) as clickhouse:
        processor = Processor(settings, clickhouse, stop)
        with StatusServer("silver-processor", options.http_port, processor.health, host=options.host):
            processor.run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="k2lab.silver_processor", description=__doc__)
    parser.add_argument("--bootstrap", type=host_port, required=True, help="Kafka, host:port[,host:port...]")
    parser.add_argument("--topics", required=True, help="the raw topics, separated by commas")
    parser.add_argument("--group", default="silver-processor", help="consumer group (default %(default)s)")
    parser.add_argument("--clickhouse-url", required=True, help="http://host:port")
    parser.add_argument("--user", required=True)
    parser.add_argument("--password-env", required=True, metavar="VAR", help="environment variable with the password")
    parser.add_argument("--database", default="k2")
    parser.add_argument("--table", default="raw_trades")
    parser.add_argument("--http-port", type=port, required=True, help="for /health and /metrics")
    add_host(parser)
    parser.add_argument(
        "--linger-ms", type=positive, default=75.0, help="longest time to gather a batch (default %(default)s)"
    )
    parser.add_argument("--max-batch-rows", type=int, default=5000, help="(default %(default)s)")
    parser.add_argument(
        "--variant",
        type=Variant,
        choices=list(Variant),
        default=Variant.EXACTLY_ONCE,
        metavar="|".join(variant.value for variant in Variant),
        help="known-bad behaviour, for tests of the tool",
    )
    parser.add_argument("--variant-rows", type=int, default=0, help="rows to drop or double")
    return parser


if __name__ == "__main__":
    run_program(main)
