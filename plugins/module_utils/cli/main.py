# SPDX-License-Identifier: Apache-2.0
"""The program `k2h`: arguments in, exit code out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Optional

from ..core.errors import K2Error
from . import report, run, status, verdict

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
COMMANDS = (run, verdict, report, status)


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command of ``COMMANDS``."""
    parser = argparse.ArgumentParser(prog="k2h", description="Measure, break and prove a streaming platform.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.register(commands)
    return parser


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run one command; errors go to stderr as one message, and exit with 2."""
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except K2Error as error:
        print(f"k2h: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("k2h: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return code
