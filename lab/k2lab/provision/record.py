# SPDX-License-Identifier: Apache-2.0
"""What set-up did and how long each part took, kept in .cache/setup.json for reports."""

from __future__ import annotations

import datetime as dt
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from k2lab.common.clock import rfc3339

SCHEMA = 1


@dataclass(frozen=True)
class PartRecord:
    """One part of a set-up."""

    name: str
    seconds: float
    outcome: str  # "built", "reused", "failed", "unavailable", "waits" (failed a short while ago) or "cancelled"
    detail: str


@dataclass(frozen=True)
class SetupRecord:
    """One set-up."""

    purpose: str
    started: str  # RFC 3339, UTC
    seconds: float
    outcome: str  # "ok", "failed" or "interrupted"
    parts: tuple[PartRecord, ...]


def utc_now() -> str:
    """Now, as RFC 3339 with microseconds."""
    return rfc3339(dt.datetime.now(dt.UTC))


def write_record(path: Path, record: SetupRecord) -> None:
    """Keep the last set-up, and the last one that had something to do: a warm run must not hide a cold one's times."""
    try:
        kept = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        kept = {}
    entry = asdict(record)
    document = {"schema": SCHEMA, "last": entry, "last_build": kept.get("last_build")}
    if any(part.outcome not in {"reused", "waits"} for part in record.parts):
        document["last_build"] = entry
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(document, indent=2) + "\n")
    scratch.replace(path)
