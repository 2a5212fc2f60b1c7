# SPDX-License-Identifier: Apache-2.0
"""Bounds of a quantile from values that are not independent. Needs numpy and scipy, so it runs on the controller.

Method: the sign test, inverted. A value c at level u of the sample is no credible p-quantile where so many (or so few)
values at or below it would be too unlikely if it were one; by the binomial distribution, hence free of any assumption
about the distribution of the values (W. J. Conover, Practical Nonparametric Statistics, 3rd ed., 3.2). The size of that
binomial is not n but n / design effect (L. Kish, Survey Sampling, 1965), since values that were committed by one
insert, or met one slow spell, say little more than one value does:

- within an insert block values count as wholly dependent: design effect sum(block size squared) / n;
- between blocks, the variance of the share of values above c, taken over stretches of 1 s and of 3 s (batch means),
  over what independent values would give. It is measured at the threshold in question.

The larger of these decides. Coverage under heavy tails, unequal blocks and stalls is shown by simulation in the unit
tests. What no method can do: bound slow spells that are so rare that none came during the measurement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

CONFIDENCE = 0.95
# Seconds of the stretches over which slow spells are looked for.
STRETCHES_S = (1, 3)


@dataclass(frozen=True)
class Sample:
    """A sample by its order statistics.

    ``low`` and ``high`` bound the value at each of ``levels`` (shares of the sample, ascending); they are equal where
    values are known exactly. ``sum_squares`` is the sum of squared block sizes. ``beyond`` counts values that are known
    to exist and nothing else: they may be as large as they like. ``above`` tells for some levels, per second of the
    measurement, how many values there were and how many of them lay above the value of that level.
    """

    n: int
    sum_squares: float
    levels: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    above: Mapping[float, Sequence[tuple[int, int]]]
    beyond: int = 0

    @property
    def total(self) -> int:
        """All values, the unknown ones too."""
        return self.n + self.beyond


@dataclass(frozen=True)
class QuantileBounds:
    """A quantile's estimate and bounds in the sample's unit; None where the sample is too small to bound that side.

    ``n_effective`` is the number of independent values that the sample is worth at that quantile.
    """

    level: float
    estimate: Optional[float]
    low: Optional[float]
    high: Optional[float]
    n_effective: float


def needed_for_upper_bound(level: float, confidence: float = CONFIDENCE) -> int:
    """How many independent values there must be before the largest of them bounds the quantile from above."""
    return math.ceil(math.log((1 - confidence) / 2) / math.log(level))


def bound_quantile(sample: Sample, level: float, confidence: float = CONFIDENCE) -> QuantileBounds:
    """Bounds of the ``level`` quantile that hold together with probability ``confidence``."""
    import numpy as np
    from scipy.stats import binom

    if sample.n == 0:
        return QuantileBounds(level, None, None, None, 0.0)
    risk = (1 - confidence) / 2
    effects = _design_effects(sample)
    known = np.asarray(sample.levels)
    # Above: what lies beyond counts as slower than all. Below: it may lie anywhere, and is left out.
    shares = known * sample.n / sample.total
    sizes = np.floor(sample.total / effects(shares))
    # P(at least so many at or below the value), and P(at most so many), were the value the quantile.
    too_many = binom.sf(np.ceil(shares * sizes - 1e-9) - 1, sizes, level) <= risk
    own_sizes = np.floor(sample.n / effects(known))
    too_few = binom.cdf(np.floor(known * own_sizes + 1e-9), own_sizes, level) <= risk
    above = np.flatnonzero((shares >= level - 1e-12) & too_many)
    below = np.flatnonzero((known < level) & too_few)
    at = np.flatnonzero(shares >= level - 1e-12)
    return QuantileBounds(
        level,
        float(sample.high[at[0]]) if len(at) else None,
        float(sample.low[below[-1]]) if len(below) else None,
        float(sample.high[above[0]]) if len(above) else None,
        sample.total / float(effects(np.asarray([level]))[0]),
    )


def _design_effects(sample: Sample) -> Callable[[Any], Any]:
    """How many dependent values make an independent one, as a function of an array of shares below a threshold."""
    import numpy as np

    # The unknown values count as one block: nothing tells them apart.
    blocks = (sample.sum_squares + sample.beyond**2) / sample.total
    levels = sorted(sample.above)
    if not levels:
        return lambda shares: np.full(len(shares), blocks)
    spells = np.asarray([max(_spells(sample.above[level], stretch) for stretch in STRETCHES_S) for level in levels])

    def effects(shares: Any) -> Any:
        last = len(levels) - 1
        left = np.clip(np.searchsorted(levels, shares, side="right") - 1, 0, last)
        right = np.clip(np.searchsorted(levels, shares, side="left"), 0, last)
        measured = np.maximum(np.maximum(spells[left], spells[right]), blocks)
        # Above the greatest value there is nothing to measure clusters by.
        return np.where(shares >= 1, blocks, measured)

    return effects


def _spells(seconds: Sequence[tuple[int, int]], stretch: int) -> float:
    """Variance of the share above, over stretches of ``stretch`` seconds, relative to independent values."""
    import numpy as np

    counts = np.asarray(seconds, dtype=float)
    batches = np.add.reduceat(counts, np.arange(0, len(counts), stretch), axis=0)
    n, above = batches.sum(axis=0)
    if len(batches) < 2 or not 0 < above < n:
        return 1.0
    share = above / n
    residuals = batches[:, 1] - share * batches[:, 0]
    variance = (residuals**2).sum() / n**2 * len(batches) / (len(batches) - 1)
    return float(variance / (share * (1 - share) / n))
