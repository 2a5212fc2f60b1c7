# SPDX-License-Identifier: Apache-2.0
"""The errors of the engine: each tells what was expected, what was seen and what to do next."""

from __future__ import annotations


class K2Error(Exception):
    """Base of every error the engine raises on purpose.

    ``str(error)`` renders the whole of it on one line, so that a module's ``msg`` and a terminal say the same.
    """

    def __init__(self, message: str, *, expected: str = "", seen: str = "", action: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.seen = seen
        self.action = action

    def __str__(self) -> str:
        parts = [self.message.rstrip(".")]
        if self.expected:
            parts.append(f"expected: {self.expected}")
        if self.seen:
            parts.append(f"seen: {self.seen}")
        if self.action:
            parts.append(f"do: {self.action}")
        return "; ".join(parts)

    def as_dict(self) -> dict[str, str]:
        """The error as plain data, for evidence files and ``fail_json``."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "expected": self.expected,
            "seen": self.seen,
            "action": self.action,
        }


class DeadlineExceeded(K2Error):  # noqa: N818 - named after what happened, as KeyboardInterrupt is
    """A wait reached its deadline."""


class UnsupportedOperation(K2Error):  # noqa: N818 - named after what happened, as KeyboardInterrupt is
    """What was asked for cannot be done with this runtime or on this host; the message says why."""
