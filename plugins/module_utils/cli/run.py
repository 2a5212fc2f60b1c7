# SPDX-License-Identifier: Apache-2.0
"""`k2h run`: the main job, with the verdict as exit code. Arguments after `--` go to ansible-playbook."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..verdict.rundir import LATEST, RunDir, RunError
from .verdict import exit_code, render

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]


def register(commands: Subcommands) -> None:
    """Add the command to the program."""
    parser = commands.add_parser("run", help="run all steps against a platform", description=__doc__)
    parser.add_argument("-i", "--inventory", required=True, help="inventory that describes the platform")
    parser.add_argument("--artifacts", default="artifacts", help="directory of the runs (default: %(default)s)")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="further arguments of ansible-playbook")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the playbook; 0 PASS, 1 FAIL, 3 INCONCLUSIVE, 2 when no run came to its end."""
    latest = Path(options.artifacts) / LATEST
    before = latest.resolve() if latest.exists() else None
    program = Path(sys.executable).with_name("ansible-playbook")
    command = [str(program), "-i", options.inventory, "k2.hardening.phase7"]
    command += ["-e", f"k2_artifacts_dir={options.artifacts}", *options.arguments]
    subprocess.run(command, check=False)
    if not latest.exists() or latest.resolve() == before:
        raise RunError("no run was recorded", expected=f"a new run below {options.artifacts}", action="see above")
    recorded = RunDir.open(latest)
    print(render(recorded))
    return exit_code(recorded)
