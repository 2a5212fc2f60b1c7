# SPDX-License-Identifier: Apache-2.0
"""A measurement of latency as plain data, as modules return it, back to what it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .model import Cell, Cost, End, Latency, Quantiles, Refusal, Span, Start, WarmUp


def read_latency(plain: Mapping[str, Any]) -> Latency:
    """Read the result ``latency`` of ``k2_latency`` back.

    Raises KeyError, TypeError or ValueError when it is something else.
    """
    return Latency(
        window=Span(**plain["window"]),
        measured=Span(**plain["measured"]),
        warm_up=WarmUp(**plain["warm_up"]),
        start=Start(**plain["start"]),
        end=End(**plain["end"]),
        refused=tuple(Refusal(**refusal) for refusal in plain["refused"]),
        cells=tuple(_cell(cell) for cell in plain["cells"]),
        rows_in_window=int(plain["rows_in_window"]),
        cost=Cost(**plain["cost"]),
    )


def _cell(plain: Mapping[str, Any]) -> Cell:
    quantiles = plain["quantiles"]
    read = None if quantiles is None else Quantiles(**{key: tuple(values) for key, values in quantiles.items()})
    return Cell(
        **{
            **plain,
            "quantiles": read,
            "histogram": tuple(tuple(row) for row in plain["histogram"]),
            "series": tuple(tuple(row) for row in plain["series"]),
            "exceeding_levels": tuple(plain["exceeding_levels"]),
            "exceeding": tuple((second, n, tuple(above)) for second, n, above in plain["exceeding"]),
        }
    )
