# SPDX-License-Identifier: Apache-2.0
"""Move trades and candles from ClickHouse to the cold tier: ``python -m k2lab.offload --help``."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

from k2lab.common.errors import run_program
from k2lab.common.logs import configure_logging
from k2lab.offload.config import OffloadConfig, read_config

log = logging.getLogger("k2lab.offload")

# What each command needs is imported where it runs: a run starts once a minute, and pyarrow alone costs 0.3 CPU-s.


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="k2lab.offload", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (_, summary) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("--config", type=Path, required=True, metavar="FILE", help="offload.json of the lab")
    options = parser.parse_args(arguments)
    configure_logging()
    _COMMANDS[options.command][0](read_config(options.config))
    return 0


def _run(config: OffloadConfig) -> None:
    from k2lab.offload.cycle import run_cycle

    report = run_cycle(config)
    log.info("run %s: %d rows of %d tables", report.run_id, report.rows, len(report.tables))
    report.raise_on_failure()


def _maintain(config: OffloadConfig) -> None:
    from k2lab.offload.maintain import maintain

    maintain(config).raise_on_failure()


_COMMANDS: dict[str, tuple[Callable[[OffloadConfig], None], str]] = {
    "run": (_run, "move what is new, all tables, once"),
    "maintain": (_maintain, "expire snapshots, compact small files, remove orphans"),
}


if __name__ == "__main__":
    run_program(main)
