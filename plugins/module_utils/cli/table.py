# SPDX-License-Identifier: Apache-2.0
"""Plain tables and figures for terminals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

MISSING = "-"


def render_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Columns padded to their widest cell; columns named in ``right`` are right-aligned. No trailing blanks."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    rendered = []
    for line in lines:
        cells = [
            cell.rjust(width) if name in right else cell.ljust(width) for cell, width, name in zip(line, widths, header)
        ]
        rendered.append("  ".join(cells).rstrip())
    return "\n".join(rendered)


def show_seconds(seconds: Optional[float]) -> str:
    """A duration in its two largest units."""
    if seconds is None:
        return MISSING
    whole = int(seconds)
    for unit, size, smaller, small in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size}{unit} {whole % size // small}{smaller}"
    return f"{whole}s"


def show_bytes(amount: Optional[int]) -> str:
    """An amount of memory in MiB or GiB."""
    if amount is None:
        return MISSING
    mib = amount / 1024**2
    return f"{mib:.0f} MiB" if mib < 1024 else f"{mib / 1024:.2f} GiB"
