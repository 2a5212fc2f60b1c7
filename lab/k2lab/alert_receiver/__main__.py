# SPDX-License-Identifier: Apache-2.0
"""Take alert notifications until SIGTERM: ``python -m k2lab.alert_receiver --help``."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path

from k2lab.alert_receiver.log import NotificationLog
from k2lab.alert_receiver.server import Receiver, Server
from k2lab.common.errors import run_program
from k2lab.common.logs import configure_logging
from k2lab.common.options import add_host, port
from k2lab.common.shutdown import stop_event_threading


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    parser = argparse.ArgumentParser(prog="k2lab.alert_receiver", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="where notifications are kept")
    parser.add_argument("--http-port", type=port, required=True, help="where to listen")
    add_host(parser)
    parser.add_argument("--max-bytes", type=int, default=10 << 20, help="size of a file (default %(default)s)")
    parser.add_argument("--backups", type=int, default=2, help="full files to keep (default %(default)s)")
    options = parser.parse_args(arguments)
    configure_logging()
    stop = stop_event_threading()
    notifications = NotificationLog(options.data_dir, options.max_bytes, options.backups)
    with Server(options.http_port, Receiver(notifications), options.host) as server:
        thread = threading.Thread(target=server.serve_forever, name="webhook", daemon=True)
        thread.start()
        stop.wait()
        server.shutdown()
        thread.join()
    return 0


if __name__ == "__main__":
    run_program(main)
