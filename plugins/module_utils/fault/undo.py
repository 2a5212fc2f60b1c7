# SPDX-License-Identifier: Apache-2.0
"""Undoing what killed runs have left: each open entry of the journal whose maker is dead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from ..core.clock import Deadline
from .journal import Entry, Journal
from .steps import NOT_UNDONE, Outcome, undo_entry

# Per entry. A service may take most of a minute to start.
TIMEOUT_S = 120.0
# Loads need a client of what sends them, a layer above: measure/load/leftover.py ends them.
_LOAD = "load"


class State(str, Enum):
    """What became of an entry."""

    LEFT = "left"
    UNDONE = "undone"
    FAILED = "failed"
    REFUSED = "refused"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Undone:
    """One entry and what became of it: ``left`` when it was only looked at, ``refused`` because its maker lives;
    ``why`` tells the reason of what is not undone.
    """

    entry: Entry
    state: State
    why: str = ""
    outcomes: tuple[Outcome, ...] = ()

    def to_plain(self) -> Mapping[str, Any]:
        """As plain data, without the steps' bodies."""
        entry = self.entry
        return {
            "id": entry.id,
            "run_id": entry.run_id,
            "target": entry.target,
            "action": entry.action,
            "undo": entry.undo,
            "opened": entry.opened,
            "pid": entry.pid,
            "state": self.state.value,
            "why": self.why,
            "steps": [asdict(outcome) for outcome in self.outcomes],
        }


def undo_left(
    journal: Journal, *, only_look: bool, force: bool = False, timeout_s: float = TIMEOUT_S
) -> tuple[Undone, ...]:
    """Carry out, verify and close what was left, the newest first since later changes lie on earlier ones; with
    ``only_look`` list it. Entries of loads are left out.

    An entry whose maker lives is refused, except with ``force``. One that fails keeps none of the others from being
    undone; it stays open. ``timeout_s`` is for each. Raises JournalError when the journal cannot be read.
    """
    entries = [entry for entry in journal.open_entries() if entry.parameters.get("kind") != _LOAD]
    return tuple(_undo(journal, entry, only_look, force, timeout_s) for entry in reversed(entries))


def _undo(journal: Journal, entry: Entry, only_look: bool, force: bool, timeout_s: float) -> Undone:
    if entry.maker_lives and not force:
        return Undone(entry, State.REFUSED, f"process {entry.pid} that made it still runs and will undo it")
    if entry.deadline_ns is None and not entry.steps:
        # Not a fault's: nothing but its text says what to do, and nothing shows that it was done.
        return Undone(entry, State.FAILED, f"undo it by hand ({entry.undo}), then remove {journal.file(entry.id)}")
    if only_look:
        return Undone(entry, State.LEFT, journal.last_failure(entry.id))
    done = undo_entry(journal.file(entry.id), "undo", Deadline.after(timeout_s).at_ns)
    if done.code == NOT_UNDONE:
        return Undone(entry, State.FAILED, done.why, done.outcomes)
    # Where it was not there any more, its watchdog was faster.
    return Undone(entry, State.UNDONE, "", done.outcomes)
