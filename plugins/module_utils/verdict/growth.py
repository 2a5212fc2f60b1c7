# SPDX-License-Identifier: Apache-2.0
"""Whether memory grows over a window: a slope with bounds. Needs numpy, so it runs on the controller.

Method: the least value of each stretch of ten minutes (what a garbage collector frees between is no growth), after a
warm-up of an hour; the median of all pairwise slopes (P. K. Sen, JASA 63, 1968); and its standard error by the
moving-block bootstrap of the residuals, blocks wrapping around (H. R. Kunsch, Annals of Statistics 17, 1989;
D. N. Politis and J. P. Romano, 1992): neighbours resemble each other, and blocks keep that. Within the bootstrap the
slope is that of least squares, whose error is no smaller. Bounds so made are too narrow where a block is short beside
the memory of the series, so they are widened by three times the share of the series that a block is: found by
simulation, and held there by the unit tests, on series that remember, have heavy tails, or are sawtooths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

WARM_UP_S = 3600.0
STRETCH_S = 600.0
# Fewer stretches make too few blocks for any bound.
NEEDED = 36
SHARE = 0.10
CONFIDENCE = 0.95
ROUNDS = 400
_WIDEN = 3.0
_SEED = 8


@dataclass(frozen=True)
class Growth:
    """A slope in bytes per second with its bounds, of ``n`` minima over ``seconds``; it began at ``baseline_bytes``.

    Shares are those of the baseline, grown over the window.
    """

    n: int
    seconds: float
    baseline_bytes: float
    slope: float
    low: float
    high: float

    def share(self, slope: float) -> float:
        """What ``slope`` adds over the window, as a share of the baseline."""
        return slope * self.seconds / self.baseline_bytes


def needed_s(warm_up_s: float = WARM_UP_S, stretch_s: float = STRETCH_S) -> float:
    """How long a window has to be for its growth to be bounded."""
    return warm_up_s + NEEDED * stretch_s


def minima(at_s: Any, values: Any, warm_up_s: float = WARM_UP_S, stretch_s: float = STRETCH_S) -> tuple[Any, Any]:
    """The middle of each stretch after the warm-up, and its least value; stretches without a value are left out.

    NaN among ``values`` is no value. A last stretch that is not whole is left out: its least value is too high.
    """
    import numpy as np

    times, levels = np.asarray(at_s, dtype=float), np.asarray(values, dtype=float)
    if not len(times):
        return np.empty(0), np.empty(0)
    last = math.floor((times[-1] - warm_up_s) / stretch_s + 1e-9)
    known = np.isfinite(levels) & (times >= warm_up_s) & (times < warm_up_s + max(0, last) * stretch_s)
    stretch = ((times[known] - warm_up_s) // stretch_s).astype(int)
    least = np.full(max(0, last), np.inf)
    np.minimum.at(least, stretch, levels[known])
    there = np.flatnonzero(np.isfinite(least))
    return warm_up_s + (there + 0.5) * stretch_s, least[there]


def bound_growth(at_s: Any, values: Any, seconds: float, confidence: float = CONFIDENCE) -> Growth:
    """The slope of ``values`` at ``at_s`` (ascending), with bounds that hold it with probability ``confidence``.

    :raises ValueError: there are fewer than ``NEEDED`` values.
    """
    import numpy as np
    from scipy.stats import t as student

    times, levels = np.asarray(at_s, dtype=float), np.asarray(values, dtype=float)
    n = len(times)
    if n < NEEDED:
        raise ValueError(f"{n} stretches are fewer than {NEEDED}")
    left, right = np.triu_indices(n, 1)
    apart = times[right] - times[left]
    slope = float(np.median((levels[right] - levels[left]) / apart))
    middle = float(np.median(levels - slope * times))
    residuals = levels - middle - slope * times
    residuals = residuals - residuals.mean()
    length = _block_length(residuals)
    # What the mean of a block takes from its variance.
    wide = residuals * math.sqrt(n / (n - length))
    rng = np.random.default_rng(_SEED)
    starts = rng.integers(0, n, size=(ROUNDS, math.ceil(n / length)))
    places = ((starts[:, :, None] + np.arange(length)) % n).reshape(ROUNDS, -1)[:, :n]
    centred = times - times.mean()
    slopes = (wide[places] * centred).sum(axis=1) / float((centred**2).sum())
    free = max(1.0, n / length - 1)
    reach = float(slopes.std(ddof=1) * student.ppf((1 + confidence) / 2, free)) * (1 + _WIDEN * length / n)
    baseline = max(1.0, middle + slope * float(times[0]))
    return Growth(n, seconds, baseline, slope, slope - reach, slope + reach)


def _block_length(residuals: Any) -> int:
    """How many neighbours are kept together: more, the longer the residuals remember, a quarter of the series at most.

    Three times the time over which their correlation sums up until it first vanishes.
    """
    n: int = len(residuals)
    power = float((residuals**2).sum())
    shortest, longest = max(2, round(math.pow(n, 1 / 3))), n // 4
    if power == 0:
        return shortest
    total = 1.0
    for lag in range(1, n // 2):
        correlation = float((residuals[lag:] * residuals[:-lag]).sum()) / power
        if correlation <= 0:
            break
        total += 2 * correlation
    return max(shortest, min(longest, math.ceil(3 * total)))
