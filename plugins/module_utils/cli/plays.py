# SPDX-License-Identifier: Apache-2.0
"""`k2h audit`, `undo`, `burn-in`, `sign-off`: one playbook each. What follows `--` goes to ansible-playbook.

Ends 0 when the playbook succeeds, 1 FAIL and 3 INCONCLUSIVE as its modules tell, 2 with an error.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ..verdict.gate import GateResult, Verdict, run_verdict
from .exits import EXIT_CODES, EXIT_ERROR, EXIT_INTERRUPTED
from .options import add_artifacts, add_inventory
from .playing import PLAYBOOKS, play

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]

Extra = Callable[[argparse.Namespace], list[str]]
_STATES = {"start": "started", "status": "status", "collect": "collected"}


@dataclass(frozen=True)
class Play:
    """One command: its playbook, its help, options of its own, and the variables that it makes of them."""

    name: str
    playbook: str
    help: str
    add: Callable[[argparse.ArgumentParser], None] = lambda _parser: None
    variables: Extra = lambda _options: []


def _add_burn_in(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("state", choices=list(_STATES), help="start it, look how far it is, or collect what it found")


def _add_sign_off(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repository", required=True, help="checkout of the platform's git repository")
    parser.add_argument("--run", dest="run_dir", help="run to sign off (default: the newest)")
    parser.add_argument("--push", action="store_true", help="push the tag")


def _sign_off(options: argparse.Namespace) -> list[str]:
    found = [f"k2_sign_off_repository={options.repository}", f"k2_sign_off_push={str(options.push).lower()}"]
    return [*found, *([f"k2_sign_off_run={options.run_dir}"] if options.run_dir else [])]


PLAYS = (
    Play("audit", "audit.yml", "is every record in every tier, once? (reads only)"),
    Play("undo", "undo.yml", "put back what killed runs have left"),
    Play(
        "burn-in",
        "burn_in.yml",
        "start, look after or collect a burn-in",
        _add_burn_in,
        lambda options: [f"k2_burn_in_state={_STATES[options.state]}"],
    ),
    Play("sign-off", "sign_off.yml", "tag the platform's commit, or list what is missing", _add_sign_off, _sign_off),
)


def register(commands: Subcommands) -> None:
    """Add the commands to the program."""
    for one in PLAYS:
        if not (PLAYBOOKS / one.playbook).is_file():
            continue
        parser = commands.add_parser(one.name, help=one.help, description=f"{one.help}. {__doc__}")
        add_inventory(parser)
        add_artifacts(parser)
        parser.add_argument("--check", action="store_true", help="say what would be done, touch nothing")
        one.add(parser)
        parser.set_defaults(run=run, play=one)


def run(options: argparse.Namespace) -> int:
    """Play the command's playbook."""
    one: Play = options.play
    arguments = ["-i", options.inventory, "-e", f"k2_artifacts_dir={options.artifacts}"]
    for variable in one.variables(options):
        arguments += ["-e", variable]
    arguments += ["--check"] if options.check else []
    played = play(one.playbook, [*arguments, *options.arguments], verdict_of)
    if played.interrupted and played.code:
        return EXIT_INTERRUPTED
    if played.verdict is not None and (played.code == 0) == (played.verdict is Verdict.PASS):
        return EXIT_CODES[played.verdict]
    return EXIT_ERROR if played.code else 0


def verdict_of(action: str, result: dict[str, Any]) -> Optional[Verdict]:
    """What the result of a task says of the platform, by the name of its module; None for others."""
    if action == "k2_tier_audit" and "audit" in result:
        told = {"EXACT": Verdict.PASS, "INCONCLUSIVE": Verdict.INCONCLUSIVE}
        return told.get(result["audit"]["verdict"], Verdict.FAIL)
    if action == "k2_gates" and result.get("gates"):
        return run_verdict(GateResult.from_json(gate) for gate in result["gates"])
    if action == "k2_sign_off" and "missing" in result:
        return Verdict.FAIL if result["missing"] else Verdict.PASS
    if action == "k2_undo" and "entries" in result:
        return Verdict.FAIL if result.get("failed") else Verdict.PASS
    return None
