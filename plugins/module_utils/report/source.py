# SPDX-License-Identifier: Apache-2.0
"""Reads a recorded run as a whole, and refuses one that is incomplete, half written or mixed with another.

A report over such files would look like any other, so nothing is rendered from them. ``results.json`` is what other
files are held against: it is replaced as a whole and never half written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import K2Error
from ..verdict.rundir import EVIDENCE, RUN, SCHEMA, RunDir

# What the evidence of a gate and its entry in results.json must agree on.
_SHARED = ("verdict", "measured", "target", "reason")


class EvidenceError(K2Error):
    """What a run left behind cannot be told as one run."""


@dataclass(frozen=True)
class RecordedRun:
    """A run as plain data: ``results`` and ``facts`` are its results.json and run.json, ``evidence`` is by gate id."""

    path: Path
    results: Mapping[str, Any]
    facts: Mapping[str, Any]
    evidence: Mapping[str, Mapping[str, Any]]

    @property
    def run_id(self) -> str:
        """The run's own name for itself, wherever its directory lies now."""
        return str(self.results["run_id"])

    @property
    def gates(self) -> list[dict[str, Any]]:
        """Every gate, in the order of the catalogue."""
        return list(self.results["gates"])


def read_run(path: Path) -> RecordedRun:
    """The run at ``path``.

    Raises RunError when there is no run or its results.json is of another schema, EvidenceError when run.json or the
    evidence of a gate is missing, cannot be read, is of another schema or belongs to another run.
    """
    run = RunDir.open(path)
    results = run.results()
    facts = _read(run.path / RUN, "the facts of the run")
    _refuse_mixed(run.path / RUN, "run_id", facts.get("run_id"), results["run_id"])
    evidence = {}
    for gate in results["gates"]:
        own = f"{EVIDENCE}/{gate['id']}.json"
        if own not in gate["evidence"]:
            continue
        entry = _read(run.path / own, f"the evidence of gate {gate['id']}")
        _refuse_mixed(run.path / own, "id", entry.get("id"), gate["id"])
        for key in _SHARED:
            _refuse_mixed(run.path / own, key, entry.get(key), gate[key])
        began, recorded = results["started"], str(entry.get("recorded"))
        # RFC 3339 in UTC with six decimals throughout: the order of the texts is that of the times. What takes a day is
        # collected after the run that began it has ended, so there is no upper bound.
        if recorded < began:
            raise EvidenceError(
                f"{run.path / own} is of another run",
                expected=f"recorded after {began}",
                seen=f"recorded {recorded}",
                action="bring back the run's own file from where it was kept; nothing was rendered",
            )
        evidence[gate["id"]] = entry
    return RecordedRun(run.path, results, facts, evidence)


def _read(path: Path, what: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvidenceError(
            f"no readable {path}",
            expected=what,
            seen="no such file" if isinstance(error, FileNotFoundError) else f"{type(error).__name__}: {error}",
            action="bring it back from where the run was kept, or run again; nothing was rendered",
        ) from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(content, dict) or schema != SCHEMA:
        raise EvidenceError(
            f"{path} is of a schema that this release does not know",
            expected=f"schema {SCHEMA}",
            seen=f"schema {schema}" if isinstance(content, dict) else type(content).__name__,
            action="render it with the release that recorded it; nothing was rendered",
        )
    return content


def _refuse_mixed(path: Path, key: str, seen: object, expected: object) -> None:
    if seen != expected:
        raise EvidenceError(
            f"{path} and results.json are not of the same run",
            expected=f"{key} {expected!r}",
            seen=f"{key} {seen!r}",
            action="bring back the run's own file from where it was kept; nothing was rendered",
        )
