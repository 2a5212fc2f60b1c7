# SPDX-License-Identifier: Apache-2.0
"""`k2h verdict`: the gates of a recorded run, and an exit code that scripts can branch on."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..verdict.gate import GateResult, Verdict
from ..verdict.rundir import RunDir
from .exits import exit_code
from .options import add_run
from .table import MISSING, render_table

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]

_HEADER = ("GATE", "VERDICT", "BLOCKING", "MEASURED", "EXPECTED", "N")


def register(commands: Subcommands) -> None:
    """Add the command to the program."""
    parser = commands.add_parser("verdict", help="gates and verdict of a run", description=__doc__)
    add_run(parser, "run_dir", "run directory")
    parser.add_argument("--json", action="store_true", help="print results.json instead of a table")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the run; 0 PASS, 1 FAIL, 3 INCONCLUSIVE, 2 when the run did not finish."""
    recorded = RunDir.open(Path(options.run_dir))
    results = recorded.results()
    if options.json:
        json.dump(results, sys.stdout, indent=2)
        print()
    else:
        print(render(recorded))
    return exit_code(recorded)


def render(recorded: RunDir) -> str:
    """A line per gate, the reasons of those that did not pass, and the run's verdict."""
    results = recorded.results()
    gates = recorded.gates()
    reasons = [f"  {gate.spec.id}: {gate.reason}" for gate in gates if gate.verdict is not Verdict.PASS]
    ending = f"{results['profile']} {recorded.run_id}: {results['verdict']} ({results['state']})"
    return "\n".join([render_table(_HEADER, [_row(gate) for gate in gates]), *reasons, ending])


def _row(gate: GateResult) -> tuple[str, ...]:
    spec = gate.spec
    return (
        spec.id,
        str(gate.verdict),
        "yes" if spec.blocking else "no",
        MISSING if gate.measured is None else f"{gate.measured:g}",
        MISSING if spec.target is None else f"{spec.op} {spec.target:g} {spec.unit}",
        MISSING if gate.n is None else str(gate.n),
    )
