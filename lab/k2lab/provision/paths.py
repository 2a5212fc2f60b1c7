# SPDX-License-Identifier: Apache-2.0
"""Where set-up reads from and writes to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


def shared_cache(environ: Mapping[str, str]) -> Path:
    """Directory shared by every clone of this user: built tools, keyed by what they were built from."""
    chosen = environ.get("K2_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "k2-hardening"


@dataclass(frozen=True)
class Paths:
    """The clone, and the shared cache."""

    root: Path
    cache: Path

    @classmethod
    def discover(cls) -> Paths:
        """The clone this file belongs to, and the cache the environment names."""
        return cls(root=Path(__file__).resolve().parents[3], cache=shared_cache(os.environ))

    @property
    def venv(self) -> Path:
        """The clone's Python environment."""
        return self.root / ".venv"

    @property
    def venv_python(self) -> Path:
        """Its interpreter."""
        return self.venv / "bin" / "python"

    @property
    def requirements(self) -> Path:
        """Wishes (*.in) and pins (*.txt)."""
        return self.root / "requirements"

    @property
    def kafka_sources(self) -> Path:
        """What the broker's jars are made from."""
        return self.root / "lab" / "kafka"

    @property
    def go_sources(self) -> Path:
        """The pinned modules of the programs in Go, one directory each."""
        return self.root / "lab" / "go"

    @property
    def work(self) -> Path:
        """Logs, lock and timings of set-up itself; not part of any lab."""
        return self.root / ".cache"
