# SPDX-License-Identifier: Apache-2.0
"""The lab's PostgreSQL: ``python -m k2lab.postgres init|serve|databases|ready``. Safe to repeat."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from k2lab.common import options
from k2lab.common.errors import LabError, run_program
from k2lab.common.logs import configure_logging
from k2lab.postgres.cluster import Cluster

log = logging.getLogger("k2lab.postgres")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code, except for `serve`, which becomes the server."""
    parser = argparse.ArgumentParser(prog="k2lab.postgres", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, summary in (
        ("init", "make the cluster unless it is there"),
        ("serve", "become the server"),
        ("databases", "wait for the server, then make the databases and the read-only role that are missing"),
        ("ready", "have the server answer a query of the read-only role, for a probe"),
    ):
        command = commands.add_parser(name, help=summary, description=summary)
        if name in ("databases", "ready"):
            command.add_argument("--host", default=options.LOOPBACK, help="of the server (default %(default)s)")
            command.add_argument("--port", type=options.port, required=True)
            command.add_argument("--database", action="append", required=True, metavar="NAME")
            command.add_argument("--reader-password-file", type=Path, required=True, metavar="FILE")
        if name == "databases":
            command.add_argument(
                "--timeout", type=options.positive, default=30.0, help="seconds to wait for the server"
            )
        if name in ("init", "serve"):
            command.add_argument("--server", type=Path, required=True, help="the program postgres; initdb is beside it")
            command.add_argument("--root", type=Path, required=True, help="directory that holds the cluster's own")
        if name == "serve":
            command.add_argument("--configuration", type=Path, required=True, metavar="FILE", help="postgresql.conf")
        if name in ("init", "databases"):
            command.add_argument("--password-file", type=Path, required=True, metavar="FILE", help="the superuser's")
    read = parser.parse_args(arguments)
    configure_logging()
    if read.command == "databases":
        _databases(read)
        return 0
    if read.command == "ready":
        from k2lab.postgres.databases import check_ready

        for database in read.database:
            check_ready(read.host, read.port, _secret(read.reader_password_file), database)
        return 0
    cluster = Cluster(read.server.absolute(), read.root.absolute())
    if read.command == "serve":
        command_line = cluster.serve_command(read.configuration.absolute())
        os.execv(command_line[0], command_line)  # noqa: S606 - the supervisor is to watch the server itself
    made = cluster.ensure(read.password_file)
    log.info("%s: %s", cluster.directory, "made" if made else "there already")
    return 0


def _databases(read: argparse.Namespace) -> None:
    from k2lab.postgres.databases import Access, ensure_databases

    access = Access(read.port, _secret(read.password_file), read.host)
    made = ensure_databases(access, read.database, _secret(read.reader_password_file), read.timeout)
    log.info("made: %s", ", ".join(made) or "nothing, all is there")


def _secret(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise LabError(f"a password in {path}", str(error), "run: make lab-up") from error


if __name__ == "__main__":
    run_program(main)
