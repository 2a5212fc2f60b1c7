# SPDX-License-Identifier: Apache-2.0
"""What an earlier run left open on a platform: undo entries and silences that nobody took back."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ..core.errors import K2Error
from ..fault.journal import Journal

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
    """Active or pending silences of this tool in the Alertmanager at ``alertmanager_url`` (its API v2)."""
    name = f"silences in {alertmanager_url}"
    try:
        # The profile admits http and https only.
        with urllib.request.urlopen(f"{alertmanager_url.rstrip('/')}/api/v2/silences", timeout=TIMEOUT_S) as answer:  # noqa: S310
            silences = json.load(answer)
        ours = [s for s in silences if s["createdBy"] == SILENCE_AUTHOR and s["status"]["state"] != "expired"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Place(name, (), f"cannot list silences: {error}")
    return Place(name, tuple(f"silence {s['id']} until {s['endsAt']}: {s.get('comment', '')}" for s in ours))
