# SPDX-License-Identifier: Apache-2.0
"""`k2h watch`: follow a run that is under way, from any terminal, until it ends; its verdict is the exit code."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..verdict.rundir import RunDir, RunState
from .exits import EXIT_ERROR, exit_code
from .options import add_run
from .screen import RunScreen, make_console
from .verdict import render

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]

_POLL_S = 0.5


def register(commands: Subcommands) -> None:
    """Add the command to the program."""
    parser = commands.add_parser("watch", help="follow a run that is under way", description=__doc__)
    add_run(parser, "run_dir", "run directory")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show the run until it ends; 0 PASS, 1 FAIL, 3 INCONCLUSIVE, 2 when it did not finish."""
    recorded = RunDir.open(Path(options.run_dir))
    screen = RunScreen(make_console(), recorded.path)
    with screen.live():
        while recorded.results()["state"] == RunState.RUNNING:
            owner = recorded.owner()
            if owner is None or not owner.alive:
                print(f"k2h: the process that drove run {recorded.run_id} is gone", file=sys.stderr)
                return EXIT_ERROR
            if not screen.console.is_terminal:
                for line in screen.plain_lines():
                    print(line, flush=True)
            time.sleep(_POLL_S)
    print(render(recorded))
    return exit_code(recorded)
