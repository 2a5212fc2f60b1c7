# SPDX-License-Identifier: Apache-2.0
"""`k2h run`: all steps or those named, the verdict as exit code. What follows `--` goes to ansible-playbook."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..verdict.catalogue import STEPS
from ..verdict.rundir import RunDir, RunError
from .exits import EXIT_INTERRUPTED, exit_code
from .options import add_artifacts, add_inventory
from .playing import play
from .verdict import render

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]


def register(commands: Subcommands) -> None:
    """Add the command to the program."""
    parser = commands.add_parser("run", help="run all steps, or those named, against a platform", description=__doc__)
    names = [step.lower() for step in STEPS]
    parser.add_argument(
        "steps", nargs="*", metavar="STEP", type=str.lower, help=f"steps to run: {' '.join(names)} (default: all)"
    )
    add_inventory(parser)
    add_artifacts(parser)
    parser.add_argument("--quick", action="store_true", help="a shortened run, labelled so")
    parser.add_argument("--check", action="store_true", help="say what would be done, touch nothing")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Play phase7.yml; 0 PASS, 1 FAIL, 3 INCONCLUSIVE, 2 when no run came to its end."""
    arguments = ["-i", options.inventory, "-e", f"k2_artifacts_dir={options.artifacts}"]
    known = [step.lower() for step in STEPS]
    unknown = [step for step in options.steps if step not in known]
    if unknown:
        raise RunError(f"no step {', '.join(unknown)}", expected=f"one of {', '.join(known)}")
    if options.steps:
        arguments += ["--tags", ",".join(dict.fromkeys(options.steps))]
    if options.quick:
        arguments += ["-e", "k2_quick=true"]
    if options.check:
        arguments.append("--check")
    played = play("phase7.yml", [*arguments, *options.arguments])
    if options.check and not played.run_dirs:
        return 2 if played.code else 0
    if not played.run_dirs:
        if played.interrupted:
            return EXIT_INTERRUPTED
        raise RunError("no run was recorded", expected=f"a new run below {options.artifacts}", action="see above")
    recorded = RunDir.open(played.run_dirs[-1])
    print(render(recorded))
    print(recorded.path / "report" / "index.html")
    return exit_code(recorded)
