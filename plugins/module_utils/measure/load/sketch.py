# SPDX-License-Identifier: Apache-2.0
"""Mergeable quantiles: a DDSketch of values that are not negative, and its plain form.

Source: Masson, Rim, Lee: DDSketch, PVLDB 12 (2019), by its authors' library. Two merged sketches are the sketch of the
pooled values, bin for bin: quantiles of several load hosts are never averaged.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Mapping
from typing import Any, Optional

from ...core.errors import K2Error

RELATIVE_ACCURACY = 0.01


class SketchLibraryMissing(K2Error):  # noqa: N818 - see core.errors
    """The Python that runs this has no ddsketch."""


class SketchError(K2Error):
    """What should be a sketch is none, or one that cannot be merged with ours."""


class Sketch:
    """Counts values (milliseconds, wherever this collection has one); any quantile is within 1 % of a true one."""

    def __init__(self) -> None:
        """:raises SketchLibraryMissing: by its kind."""
        library, mapping, store = (_library(name) for name in ("ddsketch", "mapping", "store"))
        self._store = store.DenseStore()
        self._sketch = library.BaseDDSketch(
            mapping.LogarithmicMapping(RELATIVE_ACCURACY), self._store, store.DenseStore(), 0.0
        )
        self._sum = 0.0
        self._min = math.inf
        self._max = -math.inf

    @property
    def count(self) -> int:
        """How many values there are."""
        return int(self._sketch.count)

    def add(self, value: float, times: int = 1) -> None:
        """Count ``value``, ``times`` times.

        :raises SketchError: it is negative or no number.
        """
        if not 0 <= value < math.inf:
            raise SketchError("a value cannot be counted", expected="a number from 0", seen=repr(value))
        self._sketch.add(value, times)
        self._sum += value * times
        self._min = min(self._min, value)
        self._max = max(self._max, value)

    def merge(self, other: Sketch) -> None:
        """Take in the values of ``other``."""
        self._sketch.merge(other._sketch)
        self._sum += other._sum
        self._min = min(self._min, other._min)
        self._max = max(self._max, other._max)

    def quantile(self, level: float) -> Optional[float]:
        """The value at ``level`` (0 to 1), None of no values; the smallest and the largest are exact."""
        if not self.count:
            return None
        if level in (0, 1):
            return self._max if level else self._min
        return min(max(float(self._sketch.get_quantile_value(level)), self._min), self._max)

    def to_plain(self) -> dict[str, Any]:
        """As JSON carries it: bins by the index of DDSketch's logarithmic mapping, zeros beside them."""
        some = self.count > 0
        bins = {self._store.offset + place: round(count) for place, count in enumerate(self._store.bins) if count}
        return {
            "relative_accuracy": RELATIVE_ACCURACY,
            "count": self.count,
            "sum": self._sum,
            "min": self._min if some else None,
            "max": self._max if some else None,
            "zeros": self.count - round(self._store.count),
            "bins": {str(index): count for index, count in bins.items()},
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Sketch:
        """The sketch whose plain form this is.

        :raises SketchError: it is none, or its accuracy is not ours.
        """
        sketch = cls()
        try:
            if plain["relative_accuracy"] != RELATIVE_ACCURACY:
                raise SketchError(
                    "sketches of different accuracy cannot be merged",
                    expected=f"relative accuracy {RELATIVE_ACCURACY}",
                    seen=str(plain["relative_accuracy"]),
                )
            mapping = _library("mapping").LogarithmicMapping(RELATIVE_ACCURACY)
            if plain["zeros"]:
                sketch.add(0.0, int(plain["zeros"]))
            for index, count in plain["bins"].items():
                sketch.add(mapping.value(int(index)), int(count))
            if sketch.count:
                sketch._sum, sketch._min, sketch._max = (float(plain[name]) for name in ("sum", "min", "max"))
            wrong = "" if sketch.count == plain["count"] else f"bins of {sketch.count} values, count {plain['count']}"
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            raise SketchError("a sketch cannot be read", expected="the plain form of a DDSketch", seen=wrong)
        return sketch


def _library(name: str) -> Any:
    try:
        return importlib.import_module(f"ddsketch.{name}")
    except ImportError as error:
        raise SketchLibraryMissing(
            "latencies cannot be counted",
            expected=f"ddsketch for {sys.executable}",
            seen=str(error),
            action="pip install ddsketch for that Python, or set ansible_python_interpreter to a Python that has it",
        ) from error
