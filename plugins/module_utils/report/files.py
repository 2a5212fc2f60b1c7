# SPDX-License-Identifier: Apache-2.0
"""Writes a report's files: each as a whole, and none before all of them are made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..core.errors import K2Error


class ReportError(K2Error):
    """A run cannot be rendered."""


def write_all(directory: Path, files: Mapping[str, str]) -> list[Path]:
    """Write ``files`` (content by name) into ``directory`` and return their paths.

    A reader never sees half of one, and what was there stays when one cannot be written. Raises ReportError.
    """
    written = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = directory / name
            beside = path.with_name(f".{name}.{os.getpid()}")
            beside.write_text(content, encoding="utf-8")
            beside.replace(path)
            written.append(path)
    except OSError as error:
        raise ReportError(
            f"cannot write the report to {directory}", expected="a writable directory with free space", seen=str(error)
        ) from error
    return written
