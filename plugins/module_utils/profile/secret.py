# SPDX-License-Identifier: Apache-2.0
"""Fields of the profile that nobody may read."""

from __future__ import annotations

from dataclasses import field
from typing import Any

MASK = "********"


def secret() -> Any:
    """A dataclass field that never appears in a repr, a digest or evidence."""
    return field(repr=False, metadata={"secret": True})
