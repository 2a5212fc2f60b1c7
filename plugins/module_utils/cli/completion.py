# SPDX-License-Identifier: Apache-2.0
"""`k2h completion`: a line for a shell's start-up file, so that it completes commands, runs and files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .screen import MissingPackage

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]

SHELLS = ("bash", "zsh", "fish")


def register(commands: Subcommands) -> None:
    """Add the command to the program."""
    parser = commands.add_parser("completion", help="shell code that completes k2h", description=__doc__)
    parser.add_argument("shell", choices=SHELLS, help='for bash: eval "$(k2h completion bash)"')
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the shell's code."""
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError as error:
        raise MissingPackage(error) from error
    print(shellcode(["k2h"], shell=options.shell))
    return 0
