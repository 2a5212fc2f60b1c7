# SPDX-License-Identifier: Apache-2.0
"""A place where a running platform is not as its profile says: told to people, decides nothing."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from ..core.errors import K2Error


class MismatchKind(enum.Enum):
    """What is not as described."""

    RUNTIME = "runtime"
    MISSING = "missing"
    AMBIGUOUS = "ambiguous"
    STATE = "state"
    RESTART = "restart"
    LIMIT = "limit"
    HEAP = "heap"
    NETWORK = "network"
    ADDRESS = "address"
    LABELS = "labels"
    TABLE = "table"
    COLUMN = "column"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Mismatch:
    """``subject`` (a service, a tier) differs in ``kind``: what the profile says, what is there, what to do."""

    subject: str
    kind: MismatchKind
    expected: str
    seen: str
    action: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.kind.value}; expected: {self.expected}; seen: {self.seen}; do: {self.action}"

    def as_dict(self) -> dict[str, Any]:
        """As plain data; ``text`` is the whole in one line."""
        return {
            "subject": self.subject,
            "kind": self.kind.value,
            "expected": self.expected,
            "seen": self.seen,
            "action": self.action,
            "text": str(self),
        }


def of_error(subject: str, kind: MismatchKind, error: K2Error) -> Mismatch:
    """What an error says, as a mismatch."""
    seen = f"{error.message}: {error.seen}" if error.seen else error.message
    return Mismatch(subject, kind, error.expected or "an answer", seen, error.action or "look at the runtime's log")
