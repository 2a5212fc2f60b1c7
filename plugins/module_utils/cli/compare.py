# SPDX-License-Identifier: Apache-2.0
"""`k2h compare`: two runs gate by gate. Ends 0 without a regression, 1 with one, 3 when nothing can be compared."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..report.compare import compare_runs, lines, render_comparison
from .exits import EXIT_CODES
from .options import add_run
from .report import TEMPLATES

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]


def register(commands: Subcommands) -> None:
    """Add the command to the program."""
    parser = commands.add_parser("compare", help="compare two runs", description=__doc__)
    add_run(parser, "before", "the earlier run", default=None)
    add_run(parser, "after", "the later run")
    parser.add_argument("--output", type=Path, help="directory for the pages (default: report/ of the later run)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare, write the pages, print what changed."""
    comparison = compare_runs(Path(options.before), Path(options.after))
    files = render_comparison(comparison, TEMPLATES, options.output)
    for line in [*lines(comparison), *map(str, files)]:
        print(line)
    return EXIT_CODES[comparison.verdict]
