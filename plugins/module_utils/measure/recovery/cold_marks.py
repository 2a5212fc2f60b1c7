# SPDX-License-Identifier: Apache-2.0
"""Watermarks of the cold tier around a fault: which moved, which moved back, and what that says of the run it hit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from ...core.clock import rfc3339

Marks = Mapping[str, Optional[float]]


@dataclass(frozen=True)
class Looks:
    """The watermarks (seconds since the epoch by name) before the fault, while it was held, and at its end.

    ``after`` was read before any later run had begun; None where that cannot be had.
    """

    before: Marks
    during: tuple[Marks, ...] = ()
    after: Optional[Marks] = None

    @property
    def in_order(self) -> tuple[Marks, ...]:
        """All looks, the first first."""
        return (self.before, *self.during, *(() if self.after is None else (self.after,)))


def advanced(before: Marks, after: Marks) -> tuple[str, ...]:
    """The names whose watermark is further in ``after``; one that had none and has one now is further."""
    return tuple(sorted(name for name, at in after.items() if _at(at) > _at(before.get(name))))


def moved_back(looks: Sequence[Marks]) -> tuple[str, ...]:
    """The names whose watermark was seen to move back or vanish from one look to the next."""
    back = set()
    for earlier, later in zip(looks, looks[1:]):
        back |= {name for name, at in earlier.items() if _at(later.get(name)) < _at(at)}
    return tuple(sorted(back))


def partial_commit(looks: Looks, names: Sequence[str]) -> Optional[bool]:
    """Whether the run that was hit had moved some watermarks and not all; None where nobody can tell."""
    if looks.after is None:
        return None
    moved = set(advanced(looks.before, looks.after)) & set(names)
    return bool(moved) and moved != set(names)


def held(looks: Looks, missing: Optional[int], nothing_commits: bool) -> tuple[Optional[bool], str]:
    """Whether no watermark went past what was committed, and why; None where nobody can tell.

    ``missing`` counts the rows that the cold tier lacks up to the watermark after the next run, which starts from it:
    had the watermark gone too far, they would be missing for good. ``nothing_commits`` says that the fault leaves no
    way to commit, so that no watermark may move while it is held.
    """
    back = moved_back(looks.in_order)
    if back:
        return False, f"moved back: {', '.join(back)}"
    while_held = (*looks.during, *(() if looks.after is None else (looks.after,)))
    if nothing_commits and len(while_held) > 1:
        on = advanced(while_held[0], while_held[-1])
        if on:
            return False, f"moved on while nothing could be committed: {', '.join(on)}"
    if missing is not None:
        if missing:
            return False, f"{missing} rows up to the watermark are not in the cold tier"
        return True, "nothing is missing up to the watermark"
    if looks.after is None:
        return None, "a later run began before the watermarks could be read"
    on = advanced(looks.before, looks.after)
    if on:
        return None, f"moved on before the fault took hold, and nobody compared the rows: {', '.join(on)}"
    return True, "did not move"


def shown(marks: Marks) -> dict[str, Optional[str]]:
    """As times of day, for people."""
    return {
        name: None if at is None else rfc3339(round(at * 1e6)) if math.isfinite(at) else str(at)
        for name, at in sorted(marks.items())
    }


def _at(moment: Optional[float]) -> float:
    return -math.inf if moment is None else moment
