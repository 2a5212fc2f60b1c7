"""Run the lab's ClickHouse server until SIGTERM: ``python -m k2lab.clickhouse_front --data-dir DIR --port P --users FILE``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from aiohttp import web

from .engine import Engine
from .server import Front, Limits
from .users import Users, UsersFileError

log = logging.getLogger("clickhouse_front")


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the process's exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        users = Users.load(options.users)
        engine = Engine(options.data_dir.absolute())
    except (UsersFileError, ValueError, RuntimeError) as error:
        log.error("%s", error)
        return 1
    try:
        front = Front(engine, users, Limits(options.max_concurrent_queries, options.max_body_bytes))
        asyncio.run(_serve(front, options.host, options.port, options.shutdown_timeout))
    finally:
        engine.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="k2lab.clickhouse_front", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="directory of the tables; made if absent")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--users", type=Path, required=True, help="JSON list of name, password_sha256, readonly, settings")
    parser.add_argument("--max-concurrent-queries", type=int, default=32, help="beyond these: error 202 (default %(default)s)")
    parser.add_argument("--max-body-bytes", type=int, default=256 << 20, help="unpacked (default %(default)s)")
    parser.add_argument("--shutdown-timeout", type=float, default=15.0, help="seconds running queries get (default %(default)s)")
    return parser


async def _serve(front: Front, host: str, port: int, shutdown_timeout_s: float) -> None:
    runner = web.AppRunner(
        front.app(), auto_decompress=False, access_log=None, shutdown_timeout=shutdown_timeout_s, keepalive_timeout=60.0
    )
    await runner.setup()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await web.TCPSite(runner, host, port).start()
        log.info("ready on http://%s:%d", host, port)
        await stop.wait()
        log.info("stopping: running queries have %.0f s", shutdown_timeout_s)
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    sys.exit(main())
