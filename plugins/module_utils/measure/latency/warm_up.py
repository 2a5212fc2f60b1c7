# SPDX-License-Identifier: Apache-2.0
"""Where a run's warm-up ends."""

from __future__ import annotations

from collections.abc import Sequence

BATCH = 5


def mser5(observations: Sequence[float]) -> int:
    """How many leading observations are warm-up, by MSER-5; a multiple of 5, at most half of all.

    White, "An effective truncation heuristic for bias reduction in simulation output", Simulation 69 (1997), with
    batches of 5 as in White, Cobb and Spratt, WSC 2000: the truncation point minimises the squared standard error of
    the mean of what is kept, over the means of batches of 5. A minimum in the second half says that the run is too
    short to tell, so only the first half is eligible.
    """
    means = [
        sum(observations[i : i + BATCH]) / BATCH for i in range(0, len(observations) - len(observations) % BATCH, BATCH)
    ]
    best, cut = None, 0
    kept, total, squares = 0, 0.0, 0.0
    # From the end, so that each truncation point adds one batch to the sums. Offsets from one mean keep them small.
    origin = sum(means) / len(means) if means else 0.0
    for index in range(len(means) - 1, -1, -1):
        offset = means[index] - origin
        kept, total, squares = kept + 1, total + offset, squares + offset * offset
        if index > len(means) // 2:
            continue
        error = max(0.0, squares - total * total / kept) / (kept * kept)
        if best is None or error <= best:
            best, cut = error, index
    return cut * BATCH
