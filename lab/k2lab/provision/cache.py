# SPDX-License-Identifier: Apache-2.0
"""Entries of the shared cache: directories named after what they are made from, never seen half made.

An entry is built beside its final place and renamed into it in one step, under a lock, so that an interrupted build is
never mistaken for a finished one and two set-ups do not build the same thing.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path

from k2lab.provision.lock import exclusive
from k2lab.provision.process import Runner

LOCK_TIMEOUT_S = 1800.0
DIGEST_CHARACTERS = 12


class Made(Enum):
    """How an entry came to be there."""

    FOUND = "found"
    BY_ANOTHER = "made by another set-up meanwhile"
    BUILT = "built"


def recipe_digest(ingredients: Iterable[bytes]) -> str:
    """Short digest of everything an entry is made from, for its name."""
    digest = hashlib.sha256()
    for ingredient in ingredients:
        digest.update(ingredient)
    return digest.hexdigest()[:DIGEST_CHARACTERS]


def lock_of(entry: Path) -> Path:
    """The lock file beside an entry."""
    return entry.with_name(entry.name + ".lock")


def ensure_entry(
    entry: Path,
    build: Callable[[Path], None],
    *,
    is_complete: Callable[[Path], bool],
    runner: Runner,
    waiting: Callable[[str], None],
) -> Made:
    """Have the entry: build fills the empty directory it is given, unless a complete one is there.

    Raises what build raises, CancelledError, and SetupError when another set-up holds the entry for LOCK_TIMEOUT_S.
    """
    if is_complete(entry):
        return Made.FOUND
    with exclusive(lock_of(entry), timeout_s=LOCK_TIMEOUT_S, waiting=waiting, cancelled=lambda: runner.cancelled):
        if is_complete(entry):
            return Made.BY_ANOTHER
        _clear_half_built(entry)
        scratch = Path(tempfile.mkdtemp(prefix=entry.name + ".partial-", dir=entry.parent))
        try:
            build(scratch)
            scratch.chmod(0o755)
            scratch.rename(entry)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return Made.BUILT


def _clear_half_built(entry: Path) -> None:
    """Remove what an interrupted or damaged build left. Only called with the lock held."""
    for leftover in [entry, *entry.parent.glob(entry.name + ".partial-*")]:
        if leftover.exists():
            shutil.rmtree(leftover)
