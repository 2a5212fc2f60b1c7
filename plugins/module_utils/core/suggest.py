# SPDX-License-Identifier: Apache-2.0
"""Nearest known name for a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Optional


def nearest(name: str, known: Iterable[str]) -> Optional[str]:
    """The known name closest to ``name``, or None when none is near enough to be meant."""
    candidates = sorted(known)
    matches = difflib.get_close_matches(name.lower(), [c.lower() for c in candidates], n=1, cutoff=0.6)
    if not matches:
        return None
    return next(c for c in candidates if c.lower() == matches[0])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence for an error message: the nearest name, else all known names."""
    names = sorted(known)
    guess = nearest(name, names)
    if guess is not None:
        return f"did you mean {guess!r}?"
    return "known names: " + (", ".join(names) if names else "none")
