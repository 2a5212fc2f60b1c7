# SPDX-License-Identifier: Apache-2.0
"""Run the lab's ClickHouse server until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
from pathlib import Path
from typing import NoReturn

from aiohttp import web

from k2lab.common.errors import run_program
from k2lab.common.logs import configure_logging
from k2lab.common.options import add_host, not_negative, port
from k2lab.common.shutdown import stop_event_asyncio

from .datadir import DataDirLock, InUseError, listen
from .engine import VERSION, Engine
from .queries import Queries
from .server import BodyLimits, Front
from .users import Users, UsersFileError

log = logging.getLogger("clickhouse_front")


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the process's exit code: 0 after a clean stop, 1 if it could not start."""
    options = _parser().parse_args(arguments)
    configure_logging()
    data_dir: Path = options.data_dir.absolute()
    try:
        users = Users.load(options.users)
        sock = listen(options.host, options.port)
        lock = DataDirLock(data_dir)
        engine = Engine(data_dir)
    except (UsersFileError, InUseError, ValueError, RuntimeError, OSError) as error:
        log.error("cannot start: %s", error)  # noqa: TRY400  # for whoever starts it: the reason, no traceback
        return 1
    ended = asyncio.run(_serve(engine, users, sock, options))
    if not ended:
        _leave_at_once()
    engine.close()
    lock.release()
    log.info("stopped")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m k2lab.clickhouse_front", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="directory of the tables; made if absent")
    add_host(parser)
    parser.add_argument("--port", type=port, required=True)
    parser.add_argument("--users", type=Path, required=True, help="JSON: [{name, password_sha256, readonly, settings}]")
    parser.add_argument(
        "--max-concurrent-queries", type=_positive, default=32, help="more get error 202 (default %(default)s)"
    )
    parser.add_argument("--max-body-bytes", type=_positive, default=128 << 20, help="unpacked (default %(default)s)")
    parser.add_argument(
        "--shutdown-timeout", type=not_negative, default=15.0, help="seconds that running queries get on SIGTERM"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, seen {number}")
    return number


async def _serve(engine: Engine, users: Users, sock: socket.socket, options: argparse.Namespace) -> bool:
    """Serve until a signal; returns whether every query has ended."""
    queries = Queries(engine, options.max_concurrent_queries)
    runner = web.AppRunner(
        Front(queries, users, BodyLimits(options.max_body_bytes)).app(),
        access_log=None,
        auto_decompress=False,  # aiohttp's own knows neither lz4 nor several frames
        handler_cancellation=True,  # a client that hangs up cancels its request, see Queries.run
        keepalive_timeout=60.0,
        shutdown_timeout=options.shutdown_timeout,
    )
    await runner.setup()
    stop = stop_event_asyncio()
    await web.SockSite(runner, sock).start()
    log.info("ClickHouse %s ready on http://%s:%d, data in %s", VERSION, *sock.getsockname()[:2], options.data_dir)
    await stop.wait()
    log.info("running queries have %.0f s to end", options.shutdown_timeout)
    await runner.cleanup()
    return await queries.stop_all()


def _leave_at_once() -> NoReturn:
    """End without waiting for query threads: tables are complete on disk at every moment, and SIGKILL would follow."""
    log.warning("a query did not stop; leaving without it")
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    run_program(main)
