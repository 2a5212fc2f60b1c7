# SPDX-License-Identifier: Apache-2.0
"""Series in the notation of promtool's rule tests: a selector, and values a step apart.

https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules: ``1 2 _ 4``, ``0+10x5`` (0 to 50),
``7x3`` (four times 7), ``_x4``, ``stale``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Optional

from ...core.errors import K2Error
from ...platform.remote_write import STALE

_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|Inf|NaN)"
_RANGE = re.compile(rf"^(?P<start>{_NUMBER}|_)(?:(?P<step>[-+]\d+\.?\d*(?:[eE][-+]?\d+)?))?(?:x(?P<times>\d+))?$")
_SELECTOR = re.compile(r"^\s*(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)?\s*(?:\{(?P<labels>.*)\})?\s*$", re.DOTALL)
_LABEL = re.compile(r'\s*([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')


class SeriesNotationError(K2Error):
    """A series of a rule test cannot be read."""


def labels_of(selector: str) -> Mapping[str, str]:
    """The labels that a series is written with, its name as ``__name__``.

    :raises SeriesNotationError: it is none.
    """
    found = _SELECTOR.match(selector)
    if found is None or not (found["name"] or found["labels"]):
        raise SeriesNotationError("a series has no name", expected='name{label="value"}', seen=repr(selector))
    labels = {"__name__": found["name"]} if found["name"] else {}
    rest = found["labels"] or ""
    while rest.strip():
        label = _LABEL.match(rest)
        if label is None:
            raise SeriesNotationError("labels cannot be read", expected='label="value", ...', seen=repr(rest))
        labels[label[1]] = label[2].replace('\\"', '"').replace("\\\\", "\\")
        rest = rest[label.end() :]
    return labels


def values_of(notation: str) -> list[Optional[float]]:
    """One value for each step; None where there is none.

    :raises SeriesNotationError: it is not promtool's notation.
    """
    values: list[Optional[float]] = []
    for word in notation.split():
        if word == "stale":
            values.append(STALE)
            continue
        found = _RANGE.match(word)
        if found is None:
            raise SeriesNotationError(
                "values of a series cannot be read", expected="1, 0+10x5, 7x3, _, _x4 or stale", seen=repr(word)
            )
        times = int(found["times"] or 0)
        if found["start"] == "_":
            # Of gaps, x says how many there are; of values, how many more.
            values += [None] * max(1, times)
        else:
            start, step = float(found["start"]), float(found["step"] or 0.0)
            values += [start + step * number for number in range(times + 1)]
    return values
