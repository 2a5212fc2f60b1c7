# SPDX-License-Identifier: Apache-2.0
"""What an earlier run left open on a platform: undo entries and silences that nobody took back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ..core.errors import K2Error
from ..fault.journal import Journal
from ..platform.alertmanager import EXPIRED, AlertmanagerClient

# Silences that this tool makes carry this author, and only those are ever counted or removed.
SILENCE_AUTHOR = "k2.hardening"
TIMEOUT_S = 5.0
UNDO_HINT = "playbooks/undo.yml undoes what no running process holds"


@dataclass(frozen=True)
class Place:
    """One place that was searched: what lies open there, or why it could not be searched."""

    place: str
    open: tuple[str, ...]
    error: Optional[str] = None


def search_journal(path: Path) -> Place:
    """Open entries of the undo journal at ``path``; a journal that does not exist has none."""
    name = f"undo journal {path}"
    try:
        entries = Journal(path).open_entries()
    except K2Error as error:
        return Place(name, (), str(error))
    return Place(
        name, tuple(f"{e.action} of {e.target} by run {e.run_id}, undo: {e.undo}; {UNDO_HINT}" for e in entries)
    )


def search_silences(alertmanager_url: str) -> Place:
    """Active or pending silences of this tool in the Alertmanager at ``alertmanager_url``."""
    name = f"silences in {alertmanager_url}"
    try:
        silences = AlertmanagerClient(alertmanager_url, TIMEOUT_S).silences()
    except K2Error as error:
        return Place(name, (), f"cannot list silences: {error}")
    ours = [one for one in silences if one.created_by == SILENCE_AUTHOR and one.state != EXPIRED]
    return Place(name, tuple(f"silence {one.id} until {one.ends_at}: {one.comment}" for one in ours))
