# SPDX-License-Identifier: Apache-2.0
"""Loads whose maker was killed: their entries in the undo journal, and the end of what still runs."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ...core.clock import boot_id, utc_us
from ...core.errors import K2Error
from ...fault.journal import Entry, Journal
from .simulator import SimulatorClient

_KIND = "load"


def parameters(**own: object) -> Mapping[str, str]:
    """What an entry of a load has to say so that it can be told from others, and ended."""
    return {"kind": _KIND, "pid": str(os.getpid()), **{name: str(value) for name, value in own.items()}}


def end_left_loads(journal: Journal, *, only_look: bool) -> tuple[str, ...]:
    """End what killed makers of loads have left running, and close their entries; with ``only_look`` list them.

    A load whose maker lives is none of these.

    :raises JournalError: the journal cannot be read. :raises SimulatorError: a load may still run.
    """
    left = [entry for entry in journal.open_entries() if entry.parameters.get("kind") == _KIND and not _lives(entry)]
    if not only_look:
        for entry in left:
            _end(entry)
            journal.close(entry.id)
    return tuple(f"{entry.action}, begun at {entry.opened}" for entry in left)


def _lives(entry: Entry) -> bool:
    """Whether the process that made the entry, or one that has its number now, is there."""
    if entry.boot_id != boot_id():
        return False
    try:
        os.kill(int(entry.parameters.get("pid", "")), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def _end(entry: Entry) -> None:
    url = entry.parameters.get("url")
    if url is None:
        return  # its sending ended with its process
    client = SimulatorClient(url)
    try:
        running = client.look()
    except K2Error:
        if utc_us() > int(entry.parameters["end_us"]):
            return  # gone or not, its time is over
        raise
    if running is not None and running.id == entry.parameters["load_id"]:
        client.end(running.id)
