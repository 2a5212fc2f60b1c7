# SPDX-License-Identifier: Apache-2.0
"""Comparison of a run's p99s with those of an earlier one. Needs numpy, so it runs on the controller.

Every report writes ``baseline.json``; kept, it is what a later run is compared with. The ratio of two p99s gets an
interval by the bootstrap of order statistics: drawing m values from a sample and taking their k-th is drawing one value
at the level that a Beta(k, m + 1 - k) variable gives (H. A. David, Order Statistics, 3rd ed., 2.1), m being the number
of independent values that the sample is worth. Better or worse is what lies wholly beyond a margin of 10 %.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ..core.errors import K2Error
from ..verdict.quantiles import QuantileBounds, Sample

SCHEMA = 1
MARGIN = 0.1
LEVEL = 0.99
_DRAWS = 4000


class BaselineError(K2Error):
    """A baseline cannot be read."""


@dataclass(frozen=True)
class BaselineCell:
    """What an earlier run measured for one gate: order statistics, and how many independent values they are worth."""

    p99_ms: float
    n_effective: float
    levels: tuple[float, ...]
    values_ms: tuple[float, ...]


@dataclass(frozen=True)
class Baseline:
    """An earlier run's p99s by gate."""

    run_id: str
    cells: Mapping[str, BaselineCell]


@dataclass(frozen=True)
class Comparison:
    """``ratio`` of the new p99 to the old one with its bounds; ``verdict`` is better, same, worse or undecided."""

    run_id: str
    verdict: str
    p99_ms: Optional[float] = None
    ratio: Optional[float] = None
    low: Optional[float] = None
    high: Optional[float] = None


def baseline_of(run_id: str, evidence: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The content of ``baseline.json`` from a run's evidence: gates that measured a p99, whatever their verdict."""
    cells = {}
    for gate, entry in evidence.items():
        quantiles = entry["detail"].get("quantiles")
        if quantiles and quantiles["p99"]["estimate"] is not None and quantiles["p99"]["n_effective"]:
            grid = entry["detail"]["cell"]["quantiles"]
            cells[gate] = {
                "p99_ms": quantiles["p99"]["estimate"],
                "n_effective": quantiles["p99"]["n_effective"],
                "levels": list(grid["levels"]),
                "values_ms": list(grid["high_ms"]),
            }
    return {"schema": SCHEMA, "run_id": run_id, "cells": cells}


def read_baseline(path: Path) -> Baseline:
    """Read a ``baseline.json``.

    Raises BaselineError.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}")
        cells = {
            str(gate): BaselineCell(
                float(cell["p99_ms"]), float(cell["n_effective"]), tuple(cell["levels"]), tuple(cell["values_ms"])
            )
            for gate, cell in content["cells"].items()
        }
        return Baseline(str(content["run_id"]), cells)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaselineError(
            f"cannot compare with {path}",
            expected=f"a baseline.json of schema {SCHEMA}, from the report of an earlier run",
            seen=f"{type(error).__name__}: {error}",
            action="set k2_latency_baseline to such a file, or leave it out",
        ) from error


def compare(baseline: Baseline, gate: str, sample: Sample, p99: QuantileBounds) -> Comparison:
    """The p99 of ``sample`` beside that of the same gate in ``baseline``."""
    old = baseline.cells.get(gate)
    if old is None or p99.estimate is None or old.p99_ms <= 0:
        return Comparison(baseline.run_id, "undecided")
    import numpy as np

    # Seeded: the same evidence gives the same verdict.
    generator = np.random.default_rng(1)

    def replicates(levels: Sequence[float], values: Sequence[float], size: float) -> Any:
        m = max(1, int(size))
        k = min(m, int(np.ceil(LEVEL * m)))
        return np.interp(generator.beta(k, m + 1 - k, _DRAWS), levels, values)

    new_draws = replicates(sample.levels, sample.high, p99.n_effective)
    old_draws = replicates(old.levels, old.values_ms, old.n_effective)
    with np.errstate(divide="ignore"):
        low, high = (float(bound) for bound in np.quantile(new_draws / old_draws, [0.025, 0.975]))
    ratio = p99.estimate / old.p99_ms
    if not np.isfinite([low, high]).all():
        return Comparison(baseline.run_id, "undecided", old.p99_ms, ratio)
    return Comparison(baseline.run_id, _verdict(low, high), old.p99_ms, ratio, low, high)


def _verdict(low: float, high: float) -> str:
    if high < 1 - MARGIN:
        return "better"
    if low > 1 + MARGIN:
        return "worse"
    return "same" if low >= 1 - MARGIN and high <= 1 + MARGIN else "undecided"
