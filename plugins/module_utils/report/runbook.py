# SPDX-License-Identifier: Apache-2.0
"""What the report shows of runbooks that were followed: a row for each, and its commands with what they said.

From the evidence of the gates S5.runbook.<mode> alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

PREFIX = "S5.runbook."
Gate = Mapping[str, Any]
_PARTS = (("healthy", "on the healthy platform"), ("diagnosis", "diagnosis"), ("resolution", "resolution"))


@dataclass(frozen=True)
class CommandRow:
    """One command that was run: in which part, what was expected, and what came of it."""

    part: str
    title: str
    command: str
    expected: str
    ok: bool
    why: str
    output: str
    took_s: float
    runs: int


@dataclass(frozen=True)
class RunbookRow:
    """One runbook. ``page`` is its file beside the report, times are seconds; None where it was not followed so far."""

    name: str
    verdict: str
    reason: str
    page: str
    service: str
    action: str
    proof: str
    recovered: Optional[tuple[float, float]]
    diagnosed_s: Optional[float]
    resolved_s: Optional[float]
    undone_by: str
    commands: tuple[CommandRow, ...]


def runbook_rows(gates: Sequence[Gate], evidence: Mapping[str, Mapping[str, Any]]) -> tuple[RunbookRow, ...]:
    """The rows, in the order of the gates; empty where no runbook was followed.

    Raises ValueError for evidence of another shape.
    """
    own = [gate for gate in gates if gate["id"].startswith(PREFIX)]
    if not any(evidence.get(gate["id"], {}).get("detail", {}).get("trial") for gate in own):
        return ()
    try:
        return tuple(_row(gate, evidence.get(gate["id"])) for gate in own)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"evidence of a runbook of another shape: {type(error).__name__}: {error}") from error


def _row(gate: Gate, evidence: Optional[Mapping[str, Any]]) -> RunbookRow:
    trial = evidence["detail"].get("trial") if evidence is not None else None
    name = gate["id"].removeprefix(PREFIX)
    page = f"runbooks/{name}.md"
    if trial is None:
        return RunbookRow(name, gate["verdict"], gate["reason"], page, "-", "-", "-", None, None, None, "-", ())
    proof = trial["proof"]
    commands = tuple(
        CommandRow(
            words,
            step["title"],
            step["command"],
            "; ".join(step["expected"]),
            step["ok"],
            step["why"],
            step["output"].strip(),
            step["took_s"],
            step["runs"],
        )
        for part, words in _PARTS
        for step in trial[part]
    )
    return RunbookRow(
        name,
        gate["verdict"],
        gate["reason"],
        page,
        trial["service"],
        trial["action"],
        f"{'proven' if proof['proven'] else 'NOT PROVEN'}: {proof['what']}" if proof else "NOT PROVEN",
        None if trial["recovered_s"] is None else (trial["recovered_s"][0], trial["recovered_s"][1]),
        trial["diagnosed_s"],
        trial["resolved_s"],
        trial["undone_by"] or "-",
        commands,
    )
