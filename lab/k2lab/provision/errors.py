# SPDX-License-Identifier: Apache-2.0
"""The one error set-up raises: what was expected, what was seen, what to do."""

from __future__ import annotations


class SetupError(Exception):
    """A part of set-up cannot go on without the user."""

    def __init__(self, problem: str, *, seen: str = "", remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.seen = seen
        self.remedy = remedy

    @property
    def line(self) -> str:
        """Problem and remedy in one line, for a list."""
        return " ".join(f"{self.problem}; {self.remedy}".split())

    def __str__(self) -> str:
        lines = [self.problem]
        if self.seen:
            lines.append("seen: " + self.seen.replace("\n", "\n        "))
        lines.append("do:   " + self.remedy.replace("\n", "\n        "))
        return "\n  ".join(lines)


class CancelledError(Exception):
    """Set-up was interrupted, or another part failed, while this part was at work."""
