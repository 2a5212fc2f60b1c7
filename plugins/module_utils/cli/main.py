# SPDX-License-Identifier: Apache-2.0
"""The program `k2h`: arguments in, exit code out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Optional

from ..core.errors import K2Error
from . import compare, completion, plays, report, run, status, verdict, watch
from .exits import EXIT_ERROR, EXIT_INTERRUPTED

COMMANDS = (run, watch, status, verdict, report, compare, plays, completion)


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command of ``COMMANDS``."""
    parser = argparse.ArgumentParser(prog="k2h", description="Measure, break and prove a streaming platform.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.register(commands)
    return parser


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run one command; errors go to stderr as one message, and exit with 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # What is not for this program is taken away first: argparse would look for its own arguments in it.
    cut = given.index("--") if "--" in given else len(given)
    parser = build_parser()
    _complete(parser)
    options = parser.parse_args(given[:cut])
    options.arguments = given[cut + 1 :]
    try:
        code: int = options.run(options)
    except K2Error as error:
        print(f"k2h: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("k2h: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return code


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks how to complete a line, and end; else do nothing."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(parser)
