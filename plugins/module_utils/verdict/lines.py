# SPDX-License-Identifier: Apache-2.0
"""A run's gates as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from .gate import GateResult, Verdict


def lines(gates: Iterable[GateResult]) -> list[str]:
    """A line for each gate; those that nobody chose for this run, and that block nothing, share one by their reason."""
    told: list[str] = []
    unchosen: dict[tuple[str, str], int] = {}
    for gate in gates:
        if gate.verdict is Verdict.NOT_RUN and not gate.spec.blocking and gate.measured is None:
            key = (gate.spec.step, gate.reason)
            unchosen[key] = unchosen.get(key, 0) + 1
        else:
            told.append(_line(gate.verdict, gate.spec.id, gate.reason))
    for (step, reason), count in unchosen.items():
        told.append(_line(Verdict.NOT_RUN, f"{count} {'gate' if count == 1 else 'gates'} of {step}", reason))
    return told


def _line(verdict: Verdict, name: str, reason: str) -> str:
    return f"{verdict!s:<14} {name}" + (f": {reason}" if reason else "")
