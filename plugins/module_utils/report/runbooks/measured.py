# SPDX-License-Identifier: Apache-2.0
"""Measured numbers for documents: of each gate, the newest evidence that has one, with the run that it comes from.

Only runs against the same platform count. What was never measured is None: documents say so, and guess nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ...core.errors import K2Error
from ...verdict.rundir import EVIDENCE, RESULTS, RunDir


@dataclass(frozen=True)
class Measured:
    """One measurement, as its evidence file has it. ``low`` and ``high`` bound it, in ``unit``."""

    gate: str
    run_id: str
    recorded: str
    verdict: str
    low: Optional[float]
    high: Optional[float]
    measured: Optional[float]
    target: Optional[float]
    unit: str
    n: Optional[int]
    scale: str
    detail: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The number with its unit; an interval where it is one."""
        if self.low is not None and self.high is not None and self.low != self.high:
            return f"{_number(self.low)} to {_number(self.high)} {self.unit}"
        if self.high is not None and self.low is None:
            return f"at most {_number(self.high)} {self.unit}"
        value = self.measured if self.measured is not None else self.low
        return "" if value is None else f"{_number(value)} {self.unit}"


class Evidence:
    """The evidence of one platform: of a run, and of those before it."""

    def __init__(self, run_dir: Optional[Path], artifacts_dir: Path, platform: str) -> None:
        """:arg run_dir: the run that documents are made for; it comes first."""
        self._runs = tuple(_runs(run_dir, artifacts_dir, platform))

    @property
    def runs(self) -> tuple[str, ...]:
        """Ids of the runs, the newest first."""
        return tuple(path.name for path in self._runs)

    def newest(self, gate: str) -> Optional[Measured]:
        """The newest measurement of ``gate``; None where there is none.

        Raises K2Error for an evidence file that cannot be read.
        """
        for run in self._runs:
            path = run / EVIDENCE / f"{gate}.json"
            if not path.is_file():
                continue
            found = _read(path, run.name)
            if found.text:
                return found
        return None

    def gates(self, prefix: str) -> tuple[str, ...]:
        """Ids of the gates that begin so and have evidence, sorted."""
        found = {path.stem for run in self._runs for path in (run / EVIDENCE).glob(f"{prefix}*.json")}
        return tuple(sorted(found))

    def health(self, mode: str) -> Optional[tuple[float, float, str]]:
        """When the slowest health check noticed the failure mode (seconds from the fault, at least and at most), and
        in which run; None where none did.
        """
        for run in self._runs:
            path = run / EVIDENCE / f"S3.{mode}.detection.json"
            if not path.is_file():
                continue
            spans = (_read(path, run.name).detail.get("health") or {}).values()
            if spans and all(spans):
                worst = max(spans, key=lambda span: float(span["high_s"]))
                return float(worst["low_s"]), float(worst["high_s"]), run.name
        return None


def _runs(run_dir: Optional[Path], artifacts_dir: Path, platform: str) -> Iterator[Path]:
    own = None if run_dir is None else run_dir.resolve()
    if own is not None:
        yield own
    for path in sorted((each.parent for each in artifacts_dir.glob(f"*/{RESULTS}")), reverse=True):
        if path.is_symlink() or path.resolve() == own:
            continue
        try:
            results = RunDir.open(path).results()
        except K2Error:
            continue  # half written, or of another release: it tells nothing, and others may
        if results["profile"] == platform:
            yield path


def _read(path: Path, run_id: str) -> Measured:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        return Measured(
            gate=plain["id"],
            run_id=run_id,
            recorded=plain["recorded"],
            verdict=plain["verdict"],
            low=plain["low"],
            high=plain["high"],
            measured=plain["measured"],
            target=plain["target"],
            unit=plain["unit"],
            n=plain["n"],
            scale=plain["scale"],
            detail=plain["detail"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise K2Error(
            f"no readable evidence {path}",
            expected="a file that k2_gates has written",
            seen=f"{type(error).__name__}: {error}",
            action="remove the run that it belongs to, or render from another one",
        ) from error


def _number(value: float) -> str:
    return f"{value:,.3f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:,.0f}"
