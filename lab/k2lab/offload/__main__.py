# SPDX-License-Identifier: Apache-2.0
"""Move trades and candles from ClickHouse to the cold tier: ``python -m k2lab.offload --help``."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

from k2lab.common.errors import run_program
from k2lab.common.logs import configure_logging
from k2lab.common.options import add_host, not_negative, port, positive
from k2lab.offload.config import OffloadConfig, read_config

log = logging.getLogger("k2lab.offload")

# What each command needs is imported where it runs: a run starts once a minute, and most of its CPU time are imports.


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging()
    logging.getLogger("pyiceberg.io").setLevel(logging.WARNING)  # else a line per file system it opens
    command: Callable[[OffloadConfig, argparse.Namespace], None] = options.act
    command(read_config(options.config), options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="k2lab.offload", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def add(
        name: str, act: Callable[[OffloadConfig, argparse.Namespace], None], summary: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("--config", type=Path, required=True, metavar="FILE", help="offload.json of the lab")
        command.set_defaults(act=act)
        return command

    add("init", _init, "create bucket, catalog and tables in Postgres; safe to repeat")
    add("run", _run, "move what is new, all tables, once")
    maintain = add("maintain", _maintain, "join small files, let go of old snapshots, remove files that nothing names")
    maintain.add_argument(
        "--orphan-age-s",
        type=not_negative,
        default=3600.0,
        help="youngest file that may be removed (default %(default)s)",
    )
    maintain.add_argument("--keep-snapshots", type=_at_least_one, default=20, help="per table (default %(default)s)")
    add("deploy", _deploy, "tell Prefect's server what to run, when; changes only what differs")
    first_run = add("first-run", _first_run, "wait until all tables went through once, by Prefect's path")
    first_run.add_argument("--timeout", type=positive, default=90.0, help="seconds (default %(default)s)")
    exporter = add("exporter", _exporter, "serve /metrics and /health until SIGTERM")
    exporter.add_argument("--http-port", type=port, required=True)
    add_host(exporter)
    return parser


def _at_least_one(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return value


def _init(config: OffloadConfig, _: argparse.Namespace) -> None:
    from k2lab.offload.initialise import initialise

    initialise(config)


def _run(config: OffloadConfig, _: argparse.Namespace) -> None:
    from k2lab.offload.cycle import run_cycle

    report = run_cycle(config)
    log.info("run %s: %d rows of %d tables", report.run_id, report.rows, len(report.tables))
    report.raise_on_failure()


def _maintain(config: OffloadConfig, options: argparse.Namespace) -> None:
    from k2lab.offload.maintain import Limits, maintain

    maintain(config, Limits(snapshots=options.keep_snapshots, orphan_age_s=options.orphan_age_s)).raise_on_failure()


def _deploy(config: OffloadConfig, options: argparse.Namespace) -> None:
    from k2lab.offload.deploy import deploy

    changed = deploy(config.orchestrator, options.config.absolute())
    log.info("deployed: %s", ", ".join(changed) or "nothing, all is as wanted")


def _first_run(config: OffloadConfig, options: argparse.Namespace) -> None:
    from k2lab.offload.first_run import first_run

    first_run(config, options.timeout)


def _exporter(config: OffloadConfig, options: argparse.Namespace) -> None:
    from k2lab.common.shutdown import stop_event_threading
    from k2lab.offload.exporter import serve

    serve(config, (options.host, options.http_port), stop_event_threading())


if __name__ == "__main__":
    run_program(main)
