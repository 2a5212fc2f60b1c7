# SPDX-License-Identifier: Apache-2.0
"""`k2h report`: render the report of a recorded run again, from its evidence."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..report.render import render
from .options import add_run

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]

TEMPLATES = Path(__file__).resolve().parents[3] / "roles" / "report" / "templates"


def register(commands: Subcommands) -> None:
    """Add the command to the program."""
    parser = commands.add_parser("report", help="render a run's report again", description=__doc__)
    add_run(parser, "run_dir", "run directory")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Render, and print the files written."""
    for path in render(Path(options.run_dir), TEMPLATES):
        print(path)
    return 0
